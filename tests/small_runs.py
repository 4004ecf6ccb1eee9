"""Small runs of the command in processes of their own, forked so that imports cost nothing."""

import json
import os
import signal
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import beartype
import cattrs  # noqa: F401, imported before the fork, which shares it
import jaxtyping
import sklearn.datasets  # noqa: F401
import torch
from commands import SMALL
from matplotlib.figure import Figure
from moments import watch

import rulesearch.figures
import rulesearch.kernels.einsum
import rulesearch.search.command  # noqa: F401
from rulesearch.console import process
from rulesearch.search import __main__ as command
from rulesearch.search import config as config_module
from rulesearch.search import stages
from rulesearch.selection import Effort, baseline

EFFORT = Effort(
    common_tasks=2,
    ranking_tasks=2,
    full_steps=2,
    full_rounds=1,
    refit_steps=1,
    final_refits=2,
    final_steps=1,
    mean_steps=1,
    baseline_steps=1,
    baseline_tasks=2,
    evaluation_tasks=2,
)
CONFIG = replace(SMALL, shots=2, meta_steps=4, meta_batch=1, trials=None, effort=EFFORT)
#: The same on the command line, and a pool.
ARGUMENTS = [
    *("--term", "-e_post*y_pre", "--term", "-e_post*e_pre", "--layers", "6", "--kernel", "einsum"),
    *("--ways", "2", "--shots", "2", "--queries", "2", "--meta-batch", "1", "--meta-steps", "4"),
]


def began(folder, do=None, drawn=False):
    """A process that begins or goes on with a small run in a folder; what it says is beside it.

    Args:
        folder: of the run.
        do: called at every moment of the run, see `moments.watch`, or None.
        drawn: whether figures are drawn, which takes longer than all else, or sketched.

    Returns:
        Its id; to be waited for.
    """
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        torch.set_num_threads(1)
        jaxtyping.config.update("jaxtyping_disable", True)  # checks of shapes are for other tests
        beartype.beartype = lambda function: function
        config_module.QUICKER = EFFORT
        stages.CHECKPOINT_EVERY = 2
        make_small(setattr, drawn)
        log = os.open(said_in(folder), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(log, stream)
        sys.stdout, sys.stderr = (os.fdopen(n, "w", closefd=False) for n in (1, 2))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if do:
            watch(folder, do)
        resumed = (folder / "config.json").exists()
        arguments = ["--resume", str(folder)] if resumed else [*ARGUMENTS, "--out", str(folder)]
        process(lambda: command.main([*arguments, "--quiet"]))
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def make_small(put, drawn=False):
    """Have searches try two rates for a baseline, and sketch their figures.

    Args:
        put: sets an attribute, as `setattr` does.
        drawn: whether figures are drawn nevertheless.
    """
    put(baseline, "OCTAVES", 0)
    put(baseline, "WIDENINGS", 0)
    put(baseline, "optimize", SimpleNamespace(minimize_scalar=lambda loss, **_: loss(7.5)))
    if not drawn:
        put(Figure, "savefig", sketch)


def sketch(figure, target, metadata, **_):
    """The lines of a figure as numbers, in place of a drawing."""
    lines = [line.get_xydata().tolist() for axes in figure.axes for line in axes.lines]
    if hasattr(target, "write"):
        target.write(f"<svg>{lines}</svg>")
    else:
        Path(target).write_text(f"{sorted(metadata)} {lines}")


def ended(pid):
    """The exit code of a process, minus the signal's number where one killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def said_in(folder):
    """The file beside a run that takes what its processes say."""
    return folder.with_name(f"{folder.name}.log")


def content(folder):
    """All files of a run by name: bytes, or plain data without what time and digests say."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        if path.is_dir():
            continue
        held = path.read_bytes()
        if path.suffix == ".json":
            held = json.loads(held)
            for name in ("seconds", "digest", "command"):
                held.pop(name, None)
        found[str(path.relative_to(folder))] = held
    return found
