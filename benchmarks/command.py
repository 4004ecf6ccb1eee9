"""How soon the command answers, beside a Python that does nothing and a bare `import torch`.

    python -m benchmarks.command

Medians of several runs, in turn; a row for each question a person may ask.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

RUNS = 7
SEARCH = ("-m", "rulesearch.search")
GRAMMAR = "grammar/paper_pool.py"

#: What is timed: until the first line where that is all that is waited for, else until the end.
CASES: dict[str, tuple[tuple[str, ...], bool]] = {
    "python -c pass": (("-c", "pass"), False),
    "import torch": (("-c", "import torch"), False),
    "--help": ((*SEARCH, "--help"), False),
    "a typo in a path": ((*SEARCH, "grammar/papr_pool.py"), False),
    "first line of a search, piped": ((*SEARCH, GRAMMAR), True),
}


def seconds(arguments: tuple[str, ...], first_line: bool) -> float:
    """How long a Python with these arguments takes, or until its first line; then it is ended."""
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        if first_line:
            process.stdout.readline()
            took = time.perf_counter() - began
            process.kill()
            return took
        process.communicate()
        return time.perf_counter() - began


def main() -> None:
    """Time every case in turn, and print the medians."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None).parse_args()
    runs = [{name: seconds(*case) for name, case in CASES.items()} for _ in range(RUNS)]
    for name in CASES:
        print(f"{name:<32}{statistics.median(run[name] for run in runs):6.2f} s")


if __name__ == "__main__":
    main()
