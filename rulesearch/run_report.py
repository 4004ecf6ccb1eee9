"""`rulesearch report RUN`: the page of a finished run, `report.html`, written again."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rulesearch.console import process
from rulesearch.errors import RuleSearchError
from rulesearch.flags import Given, Parser

CALLED = "python -m rulesearch.run_report"
DONE, REFUSED = 0, 2


def report_html(run: str | os.PathLike[str]) -> str:
    """The text of the page of a finished run; the same run gives the same text.

    Raises:
        RuleSearchError: no finished run there, a broken file, or one that has lost its stages.
    """
    from rulesearch.figures import drawn
    from rulesearch.report.page import page
    from rulesearch.result import Result
    from rulesearch.runs import open_run, read_history
    from rulesearch.search.again import again

    directory = Path(run)
    directory = directory.parent if directory.name == "result.json" else directory
    if directory.is_file():  # a result by itself has no history
        raise RuleSearchError(f"{directory}: a file; give the directory of a finished run")
    result = Result.load(directory)
    history = read_history(directory)
    told = directory / "history.jsonl"
    if not history and told.exists() and told.stat().st_size:
        raise RuleSearchError(
            f"{directory}: its stages are gone (stages/), which the figures of a page are drawn "
            "from; the page that is there stays"
        )
    figures = drawn(history, result)
    return page(result, figures, again(open_run(directory)))


def main(arguments: Sequence[str] | None = None, called: str = CALLED) -> int:
    """Run the command; returns its exit code, 0 done or 2 refused, when nothing was changed.

    Args:
        arguments: of the command line; None for those of the process.
        called: what the command was called as, for its help.
    """
    parser = Parser(
        called,
        "Write the page of a finished run: one file, to be read in a browser, sent, or printed.",
    )
    parser.add_argument(
        "run", type=Path, nargs="?", metavar="RUN", help="directory of a finished run"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="where to (RUN/report.html); replaced whole"
    )
    parser.add_config()
    given = Given({})
    try:
        given = parser.given(sys.argv[1:] if arguments is None else arguments)
        asked = given.values
        if "run" not in asked:
            raise RuleSearchError("no run; give the directory of a finished one")
        run: Path = asked["run"]
        run = run.parent if run.name == "result.json" else run
        target: Path = asked.get("out", run / "report.html")
        if target.is_dir():
            raise RuleSearchError(f"--out {target}: is a directory; give a file in it")
        if "out" in asked and not target.parent.is_dir():
            raise RuleSearchError(f"--out {target}: no directory {target.parent}; make it first")
        from rulesearch.records.documents import replace_file
        from rulesearch.runs import refuse_own

        refuse_own(target, "report.html")
        text = report_html(run)
        replace_file(target, text, "choose another --out")
    except RuleSearchError as error:
        for line in given.named(error).lines:
            print(line, file=sys.stderr)
        return REFUSED
    print(f"{target}: {len(text.encode()) / 1000:.0f} kB")
    return DONE


if __name__ == "__main__":
    process(main)
