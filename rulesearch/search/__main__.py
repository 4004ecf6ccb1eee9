"""`python -m rulesearch.search GRAMMAR`: the whole road from a grammar file to a rule."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from rich.console import Console
from rich.text import Text

from rulesearch.data import input_and_output, load_data
from rulesearch.errors import RuleSearchError
from rulesearch.figures import figures
from rulesearch.locality import classify, parse_needs, within
from rulesearch.lowering import lower_terms
from rulesearch.notation import Pool, load_pool, pool_from_plain, pool_from_text, pool_to_plain
from rulesearch.report import latex, print_pool, progress, result_text, trial_means
from rulesearch.result import Result
from rulesearch.runs import (
    RunConfig,
    create_run,
    default_directory,
    open_run,
    read_history,
    versions,
    write_result,
)
from rulesearch.search.arguments import Command, read
from rulesearch.search.config import Config, check, from_options, to_options
from rulesearch.search.engine import carry_out
from rulesearch.search.request import Request, prepare
from rulesearch.search.stages import Stages

DONE, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code.

    0 done, 1 the run failed (its state is kept), 2 the request cannot be met (nothing was
    written), 130 interrupted (its state is kept).
    """
    console, errors = Console(), Console(stderr=True)
    grammar = ""
    try:
        command = read(sys.argv[1:] if arguments is None else arguments)
        grammar = command.grammar or ""
        pool, config, run = _asked(command)
        check(config)
        if command.per_layer:
            pool = pool.per_layer(len(_sizes(config)) - 1)
        if command.explain:
            explain(console, pool, config, command)
            return DONE
        data = load_data(config.dataset, config.data_root, shape=config.shape)
        request = prepare(pool, data, config)
        if run is None:
            run = command.out or default_directory(_stem(command), _plain(config), config.seed)
            create_run(
                run,
                RunConfig(
                    pool=pool_to_plain(pool), options=to_options(config), versions=versions()
                ),
            )
    except RuleSearchError as error:
        _complain(errors, error, grammar)
        return REFUSED
    except KeyboardInterrupt:
        _say(errors, "interrupted before anything was written")
        return INTERRUPTED
    return _run(console, errors, request, run, command.quiet)


def _run(console: Console, errors: Console, request: Request, run: Path, quiet: bool) -> int:
    try:
        if not quiet:
            for message in request.messages:
                _say(console, message)
        with progress(console, quiet) as update:
            result = carry_out(request, Stages(run, update, update))
        _write(run, result)
    except RuleSearchError as error:
        _complain(errors, error)
        return FAILED
    except KeyboardInterrupt:
        _say(errors, f"interrupted; go on with --resume {run}")
        return INTERRUPTED
    console.print(result_text(result, run))
    if request.config.protocol == "paper" and (line := trial_means(read_history(run))):
        _say(console, line)
    return DONE


def _write(run: Path, result: Result) -> None:
    figures(read_history(run), result, run)
    (run / "rule.tex").write_text(latex(result), encoding="utf-8")
    write_result(run, result)  # last: where it is, the run is complete


def _asked(command: Command) -> tuple[Pool, Config, Path | None]:
    """Pool, configuration, and the run to go on with."""
    if command.resume:
        kept = open_run(command.resume)
        if (command.resume / "result.json").exists():
            raise RuleSearchError(
                f"--resume {command.resume}: is finished; its result is in result.json"
            )
        try:
            return pool_from_plain(kept.pool), from_options(kept.options), command.resume
        except (RuleSearchError, TypeError, LookupError) as error:
            raise RuleSearchError(
                f"--resume {command.resume}: config.json does not fit ({error}); begin a new run"
            ) from None
    return _pool(command), command.config, None


def _pool(command: Command) -> Pool:
    """The pool of the grammar file or of the terms, in the layers that --where says."""
    pool = load_pool(command.grammar) if command.grammar else None
    try:
        return pool.acting(command.where) if pool else pool_from_text(command.terms, command.where)
    except RuleSearchError as error:
        # What the pool calls where is here an option.
        lines = (f"--{line}" if line.startswith("where ") else line for line in error.lines)
        raise RuleSearchError(*lines) from None


def _sizes(config: Config) -> tuple[int, ...]:
    """The sizes of all layers, known before the data are read."""
    return config.sizes(*input_and_output(config.dataset))


def _stem(command: Command) -> str:
    return Path(command.grammar).stem if command.grammar else "terms"


def _plain(config: Config) -> str:
    return Path(config.dataset).stem


def _say(console: Console, line: str) -> None:
    console.print(Text(line), soft_wrap=True)


def _complain(errors: Console, error: RuleSearchError, grammar: str = "") -> None:
    for line in error.lines:
        # What is said of a term after the file was read: the file is named here.
        _say(errors, f"{grammar}, {line}" if grammar and line.startswith("term ") else line)


def explain(console: Console, pool: Pool, config: Config, command: Command) -> None:
    """Print the pool as a table, its plan, and what a step costs; runs nothing.

    With a kernel named, its generated source too.
    """
    within(pool, parse_needs(config.locality), config.neurons)
    sizes = _sizes(config)
    layers = list(pairwise(sizes))
    pool = pool.in_network(len(layers))
    plan = lower_terms(pool.distinct)
    print_pool(
        console,
        [
            (term.name, term.text, str(classify(term, config.neurons)), plan.how(place))
            for term, place in zip(pool, pool.places, strict=True)
        ],
        pool.where,
    )
    console.print()
    _say(console, str(plan))
    adds = [plan.multiply_adds(post, pre) for pre, post in layers]
    console.print()
    _say(
        console,
        f"about {sum(adds):,} multiply-adds a step for the update of "
        f"{'-'.join(map(str, sizes))}, {sum(a * b for a, b in layers):,} synapses",
    )
    if "kernel" in command.given and config.kernel != "auto":
        from rulesearch.lifetime import choose_kernel
        from rulesearch.pathways import pathway

        path = pathway(config.pathway, len(layers))
        kernel, note = choose_kernel(config.kernel, plan, sizes, path, on_cpu=True)
        console.print()
        if note:
            _say(console, note)
        console.print(Text(kernel.source), soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
