"""The console command around the search: what it imports, and when; subcommands; interrupts."""

import os
import signal
import subprocess
import sys
import time

import pytest
from commands import PAPER, ROOT, SMALL_FLAGS, TINY, python, small_defaults

from rulesearch.__main__ import SUBCOMMANDS
from rulesearch.__main__ import main as console
from rulesearch.search.__main__ import main as search

HEAVY = ("torch", "sympy", "scipy", "sklearn", "matplotlib", "numba", "networkx", "numpy", "rich")


def imported_by(arguments, cwd=ROOT):
    """Which heavy modules a command has imported when it ends, what it said, and its exit code."""
    code = f"""
import sys
from rulesearch.search.__main__ import main
try:
    code = main({arguments!r})
except SystemExit as end:
    code = end.code
print(code, *(m for m in {HEAVY} if m in sys.modules), sep=",")
"""
    done = python("-c", code, cwd=cwd)
    assert "Traceback" not in done.stderr
    *said, last = done.stdout.splitlines()
    exit_code, *heavy = last.split(",")
    return heavy, [*said, *done.stderr.splitlines()], int(exit_code)


# --- what is imported, and when ------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_and_version_import_nothing_heavy(arguments):
    heavy, said, code = imported_by(arguments)
    assert (heavy, code) == ([], 0)
    assert said


TYPOS = {
    "grammar": (
        ["grammar/papr_pool.py"],
        "grammar/papr_pool.py: no such file; give a grammar file such as grammar/paper_pool.py",
    ),
    "resume": (
        ["--resume", "rnus/bio"],
        "--resume rnus/bio: no such directory; give the directory that --out named",
    ),
    "data root": (
        [PAPER, "--dataset", "mnist", "--data-root", "dta"],
        "--dataset mnist: --data-root dta is not a folder; point it at one in torchvision's "
        "layout, or use --dataset digits, which needs no files",
    ),
    "npz": (
        [PAPER, "--dataset", "mine.npz"],
        "--dataset mine.npz: no such file; give a file that numpy.savez wrote",
    ),
    "data set": (
        [PAPER, "--dataset", "digit"],
        "--dataset digit: unknown data set; did you mean digits? (digits, emnist, mnist, "
        "fashion-mnist, or a file FILE.npz)",
    ),
    "out": (
        [PAPER, "--out", "file/run"],
        "--out file/run: file is not a directory; choose another --out; nothing was changed",
    ),
    "option": (
        [PAPER, "--sed", "1"],
        "unrecognized arguments: --sed 1; python -m rulesearch.search --help lists the options",
    ),
}


@pytest.mark.parametrize("case", TYPOS)
def test_a_typo_in_a_path_is_answered_before_anything_heavy_is_imported(case, tmp_path):
    arguments, line = TYPOS[case]
    (tmp_path / "file").touch()
    heavy, said, code = imported_by(arguments, cwd=tmp_path)
    assert (heavy, said, code) == ([], [line], 2)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_all_paths_that_are_not_there_are_named_at_once(tmp_path):
    arguments = ["a.py", "--dataset", "b.npz", "--out", "file/c"]
    (tmp_path / "file").touch()
    _, said, _ = imported_by(arguments, cwd=tmp_path)
    assert [line.split(": ")[0] for line in said] == ["a.py", "--dataset b.npz", "--out file/c"]


@pytest.mark.parametrize(
    "order",
    [
        "from rulesearch import search; import rulesearch.search.config as c; c.Config",
        "import rulesearch.search.config as c; from rulesearch import search; c.Config",
        "from rulesearch.search import Config, search; from rulesearch import search as other; "
        "import rulesearch.search.whole as w; assert w.search is search",
        "import rulesearch; search = rulesearch.search; import rulesearch.search.config; "
        "assert rulesearch.search.config.Config is rulesearch.Config",
        "from rulesearch import *; import rulesearch.search.stages",
    ],
)
def test_search_and_its_modules_can_be_imported_in_any_order(order):
    call = "\ntry:\n    search()\nexcept TypeError as error:\n    print('pool' in str(error))"
    done = python("-c", order + call)
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_the_options_are_known_without_torch():
    code = f"""
import sys
from rulesearch.search import Config
from rulesearch import search
assert callable(search) and Config(seed=3).seed == 3
print([m for m in {HEAVY} if m in sys.modules])
"""
    done = python("-c", code)
    assert (done.stdout, done.stderr) == ("[]\n", "")


# --- subcommands ---------------------------------------------------------------------------------


def test_subcommands_are_listed_and_the_closest_is_named(capsys):
    assert console([]) == 0
    assert console(["--help"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert all(out.count(f"\n  {name} ") == 2 for name in SUBCOMMANDS)
    assert console(["serach", PAPER]) == 2
    assert console(["frobnicate"]) == 2
    assert capsys.readouterr() == (
        "",
        "serach: no subcommand; did you mean search? (rulesearch --help lists them)\n"
        f"frobnicate: no subcommand; give one of {', '.join(SUBCOMMANDS)} "
        "(rulesearch --help lists them)\n",
    )


@pytest.mark.parametrize(
    ("called", "name"),
    [
        (["-m", "rulesearch", "search"], "python -m rulesearch search"),
        (["-m", "rulesearch.search"], "python -m rulesearch.search"),
        (
            ["-c", "from rulesearch.__main__ import console_command as c; c()", "search"],
            "rulesearch search",
        ),
    ],
)
def test_help_names_the_command_as_it_was_called(called, name, tmp_path):
    assert python(*called, "--help", cwd=tmp_path).stdout.startswith(f"usage: {name} ")
    done = python(*called, "--sed", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == f"unrecognized arguments: --sed; {name} --help lists the options\n"


def test_files_of_the_current_folder_shadow_nothing_of_the_console_command(tmp_path):
    """A script's path begins with its own folder, and not with the current one, as with -m."""
    (tmp_path / "rich.py").write_text("raise SystemExit('shadowed')")
    (tmp_path / "sympy.py").write_text("raise SystemExit('shadowed')")
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "rulesearch"
    script.write_text("from rulesearch.__main__ import console_command as c; c()")
    done = python(str(script), "search", "--explain", "--term", "-e_post*y_pre", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "e_post" in done.stdout


# --- interrupts ----------------------------------------------------------------------------------


def test_an_interrupt_during_an_import_is_one_line(tmp_path):
    """A module that swallows whatever is raised while it is imported does not swallow this."""
    (tmp_path / "sympy.py").write_text(
        "import pathlib, time\n"
        "try:\n"
        "    pathlib.Path('reached').touch()\n"
        "    time.sleep(60)\n"
        "except BaseException:\n"
        "    pass\n"
    )
    search = subprocess.Popen(
        [sys.executable, "-m", "rulesearch.search", PAPER],
        cwd=tmp_path,
        env={"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]), "PATH": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 30
    while not (tmp_path / "reached").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    search.send_signal(signal.SIGINT)
    _, err = search.communicate(timeout=30)
    assert (search.returncode, err) == (130, "interrupted before anything was written\n")
    assert not (tmp_path / "runs").exists()


# --- nobody who reads ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "beside"),
    [(["--help"], False), (["--term", "-e_post*y_pre"], False), (["nowhere.py"], True)],
    ids=["help", "a search", "an error on the same pipe"],
)
def test_a_command_whose_output_nobody_reads_ends_without_a_word(arguments, beside, tmp_path):
    """As before `| head -1`, which has gone when the second line comes."""
    read, write = os.pipe()
    os.close(read)
    command = subprocess.run(
        [sys.executable, "-m", "rulesearch.search", *arguments],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        stdout=write,
        stderr=write if beside else subprocess.PIPE,
        check=False,
        timeout=60,
    )
    os.close(write)
    assert (command.returncode, command.stderr or b"") == (1, b"")
    assert list(tmp_path.iterdir()) == []


# --- a finished run ------------------------------------------------------------------------------


def test_a_finished_run_can_be_shown_again_at_any_width(tmp_path, monkeypatch, capsys):
    """Its text is that of the search, from result.json alone, and nothing is computed."""
    monkeypatch.chdir(tmp_path)
    small_defaults(monkeypatch, TINY)
    assert search(["--term", "-e_post*y_pre", *SMALL_FLAGS, "--out", "run", "--quiet"]) == 0
    text = capsys.readouterr().out
    for path in (tmp_path / "run").iterdir():
        if path.is_file() and path.name != "result.json":
            path.unlink()
    assert search(["--show", "run"]) == 0
    assert capsys.readouterr().out == text
    monkeypatch.setenv("COLUMNS", "50")
    assert search(["--show", "run"]) == 0
    narrow = capsys.readouterr().out
    assert max(map(len, narrow.splitlines())) <= 50
    assert all(line == line.rstrip() for line in (text + narrow).splitlines())
    code = """
import sys
from rulesearch.search.__main__ import main
main(["--show", "run"])
print("torch" in sys.modules, "sympy" in sys.modules)
"""
    assert python("-c", code, cwd=tmp_path).stdout.splitlines()[-1] == "False False"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nowhere"], "nowhere/result.json: no such file; give the directory of a finished run"),
        (["."], "result.json: no such file; give the directory of a finished run"),
        (["run", "--seed", "1"], "--show run: runs nothing; leave out --seed"),
        (["run", "--resume", "run"], "--show run: runs nothing; leave out --resume"),
        (["run", "a.py", "--explain"], "--show run: runs nothing; leave out grammar, --explain"),
    ],
)
def test_what_cannot_be_shown_is_one_line(arguments, line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert search(["--show", *arguments]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(line)


def test_the_plan_has_no_spaces_at_the_ends_of_lines(capsys):
    for kernel in ("einsum", "fused"):
        assert search([PAPER, "--explain", "--kernel", kernel]) == 0
    out = capsys.readouterr().out
    assert all(line == line.rstrip() for line in out.splitlines())


def test_the_compiled_kernels_are_deleted_where_that_is_asked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RULESEARCH_CACHE", str(tmp_path))
    (tmp_path / f"kernel_{'1' * 24}.forward.nbc").write_bytes(bytes(3 * 2**20))
    (tmp_path / "notes.txt").write_text("mine")
    assert search(["--clear-cache"]) == 0
    assert capsys.readouterr().out == f"{tmp_path}: 3.0 MB of compiled kernels deleted\n"
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    assert search(["--clear-cache", "--seed", "1", "--explain"]) == 2
    line = "--clear-cache: runs nothing; leave out --seed, --explain\n"
    assert capsys.readouterr().err == line
