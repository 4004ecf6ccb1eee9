"""What tests notice: one small fault at a time in a copy of the tree, and the tests of its room.

    python -m benchmarks.mutants --count 300 --seed 0 --out DIR
    python -m benchmarks.mutants --out DIR --only 17 40

All that the operators of cosmic-ray (`pip install -e '.[quality]'`) change in the rooms is listed,
and `--count` of these mutants are drawn, each as likely as any other; DIR/sample.json keeps them.
Each is made in a copy of the tree in a temporary folder, and the fast tests of its room run there,
those of its module first, until one fails. Then it is killed; it is stopped where the clock ends it
and has survived where all pass. DIR/tried.jsonl has a line for each, and what has a line is not
tried again but by `--only`, and then the last line counts. Tests that fail in the tree as it
is say nothing, so those of every room run there first.

Not counted as mutants: what is no Python, what is the same program but for docstrings, comments
and annotations (those of records that a limit is read from are kept), and the operators that must
be told a name, VariableReplacer and VariableInserter.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import cache
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from queue import SimpleQueue
from typing import Any

ROOT = Path(__file__).parents[1]

#: The tests of each room, doctests of the room itself among them; those that say most stand first.
TESTS: Mapping[str, tuple[str, ...]] = {
    "notation": (
        "rulesearch/notation",
        "tests/test_notation_loading.py",
        "tests/test_notation_comparison.py",
        "tests/test_notation.py",
        "tests/test_own_quantities.py",
        "tests/test_notation_fuzz.py",
        "tests/test_frozen.py",
    ),
    "locality": (
        "rulesearch/locality.py",
        "tests/test_locality.py",
        "tests/test_step_locality.py",
        "tests/test_space.py",
        "tests/test_frozen.py",
    ),
    "lowering": (
        "rulesearch/lowering",
        "tests/test_lowering.py",
        "tests/test_step_locality.py",
        "tests/test_frozen.py",
    ),
    "selection": ("rulesearch/selection", "tests/test_selection.py", "tests/test_frozen.py"),
}

#: Tests of a module, in their order; those of its room come after them.
OF_MODULE: Mapping[str, tuple[str, ...]] = {
    "rulesearch/notation/canonical.py": ("tests/test_notation.py",),
    "rulesearch/notation/refusals.py": ("tests/test_notation.py",),
    "rulesearch/notation/meeting.py": ("tests/test_notation.py", "tests/test_where.py"),
    "rulesearch/notation/dependence.py": ("tests/test_dependence.py", "tests/test_notation.py"),
    "rulesearch/notation/description.py": ("tests/test_space.py",),
    "rulesearch/notation/joint.py": ("tests/test_feedback_pools.py",),
    "rulesearch/notation/layers.py": ("tests/test_where.py",),
    "rulesearch/notation/loading.py": (
        "tests/test_notation_loading.py",
        "tests/test_notation.py",
        "tests/test_feedback_pools.py",
        "tests/test_space.py",
    ),
    "rulesearch/notation/options.py": ("tests/test_notation.py", "tests/test_notation_loading.py"),
    "rulesearch/notation/plain.py": (
        "tests/test_notation_loading.py",
        "tests/test_notation.py",
        "tests/test_feedback_pools.py",
        "tests/test_space.py",
    ),
    "rulesearch/notation/measured.py": (
        "tests/test_dependence.py",
        "tests/test_notation.py",
        "tests/test_feedback_pools.py",
        "tests/test_own_quantities.py",
    ),
    "rulesearch/notation/drawn.py": ("tests/test_dependence.py", "tests/test_notation.py"),
    "rulesearch/notation/compact.py": ("tests/test_compact.py",),
    "rulesearch/notation/evening.py": ("tests/test_evening.py", "tests/test_compact.py"),
    "rulesearch/notation/naming.py": ("tests/test_space.py",),
    "rulesearch/notation/needs.py": ("tests/test_locality.py", "tests/test_space.py"),
    "rulesearch/notation/own.py": ("tests/test_own_quantities.py",),
    "rulesearch/notation/parsing.py": ("tests/test_notation.py",),
    "rulesearch/notation/pool.py": (
        "tests/test_notation.py",
        "tests/test_where.py",
        "tests/test_feedback_pools.py",
        "tests/test_space.py",
    ),
    "rulesearch/notation/space.py": ("tests/test_space.py",),
    "rulesearch/notation/term.py": (
        "tests/test_notation.py",
        "tests/test_notation_comparison.py",
        "tests/test_feedback_pools.py",
    ),
    "rulesearch/lowering/in_torch.py": ("tests/test_zeros.py",),
    "rulesearch/lowering/plan.py": (
        "tests/test_lowering.py",
        "tests/test_zeros.py::test_where_a_value_is_a_number",
        "tests/test_zeros.py::test_a_divisor_that_cannot_be_zero_is_left_alone",
        "tests/test_zeros.py::test_pools_of_moderate_terms_have_no_guards",
    ),
    "rulesearch/lowering/zeros.py": ("tests/test_zeros.py",),
    "rulesearch/selection/baseline.py": (
        "tests/test_evaluate.py::test_a_rate_is_found_from_anywhere",
        "tests/test_evaluate.py::test_a_rate_is_sought_an_octave_at_a_time",
        "tests/test_evaluate.py::test_a_rate_beside_one_that_was_tried_is_not_tried",
        "tests/test_evaluate.py::test_a_rate_comes_back_over_the_cliff",
        "tests/test_evaluate.py::test_a_rate_without_a_valley_says_so",
    ),
    "rulesearch/selection/effort.py": ("tests/test_premises.py",),
}

#: Of these files, what runs whole searches, compiles kernels or makes a thousand terms.
TOO_LONG = (
    "tests/test_dependence.py::test_a_pool_of_many_terms_is_checked_in_seconds",
    "tests/test_dependence.py::test_many_terms_of_few_products_are_told_with_their_weights_in_seconds",
    "tests/test_notation.py::test_grammar_files_load[space.py]",
    "tests/test_space.py::test_the_space_has_a_thousand_terms_of_few_factors",
    "tests/test_space.py::test_explain_says_how_many_terms_each_locality_allows",
    "tests/test_space.py::test_a_space_far_too_large_is_refused_at_once",
    "tests/test_where.py::test_lifetimes_are_those_of_the_unrolled_loop",
    "tests/test_where.py::test_equal_rules_in_every_layer_are_the_shared_rule[fused",
    "tests/test_where.py::test_the_gain_of_a_rule_per_layer_is_over_the_shared_reference",
    "tests/test_where.py::test_a_pseudo_gradient_of_some_layers_is_no_feedback_alignment",
    "tests/test_where.py::test_where_the_reference_is_the_answer_it_is_so_in_every_layer",
    "tests/test_where.py::test_a_search_of_a_mask",
    "tests/test_zeros.py::test_a_term_at_zero_changes_nothing[fused",
    "tests/test_zeros.py::test_a_term_at_zero_in_a_layer_or_a_lifetime_changes_nothing_there[fused",
    "tests/test_zeros.py::test_terms_with_infinite_derivatives_at_zeros[fused",
)

#: Third-party packages that are imported once, before a process is forked for each mutant.
IMPORTED = ("torch", "sympy", "numba", "sklearn", "hypothesis", "beartype", "jaxtyping", "pytest")

#: Operators of cosmic-ray that make no fault, or must be told a name.
LEFT_OUT = ("NoOp", "VariableReplacer", "VariableInserter")

#: Examples of a property that does not say how many it needs.
EXAMPLES = 25
#: How long the tests of a mutant may take: so many times what they take without it, and a while.
TIMES, A_WHILE = 1.5, 15.0
#: Bytes that they may ask for.
MOST_MEMORY = 8 * 2**30

SURVIVED, KILLED, STOPPED = "survived", "killed", "stopped"


@dataclass(frozen=True)
class Mutant:
    """One fault.

    Attributes:
        module: path of the file, from the top of the tree.
        line: where the fault begins, from 1.
        operator: cosmic-ray's name of what makes it.
        occurrence: which of those that the operator can make in the module, from 0.
    """

    module: str
    line: int
    operator: str
    occurrence: int


@dataclass(frozen=True)
class Sample:
    """What was drawn.

    Attributes:
        count: how many were asked for.
        seed: it was drawn with.
        rooms: it was drawn from.
        listed: how many there were to draw from, those that do not count among them.
        digests: SHA-256 of each module's text.
        mutants: in the order of the draw.
    """

    count: int
    seed: int
    rooms: tuple[str, ...]
    listed: int
    digests: dict[str, str]
    mutants: tuple[Mutant, ...]


@dataclass(frozen=True)
class Tried:
    """What became of a mutant.

    Attributes:
        number: its place in the sample, from 1.
        module, line, operator: see `Mutant`.
        diff: the lines that it changes.
        outcome: killed, survived or stopped.
        by: the first test that failed.
        seconds: that the tests took.
    """

    number: int
    module: str
    line: int
    operator: str
    diff: str
    outcome: str
    by: str
    seconds: float


# --- which mutants there are ----------------------------------------------------------------------


def modules(root: Path, room: str) -> list[str]:
    """The files of a room, by their paths from the top."""
    path = root / "rulesearch" / room
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
    return [file.relative_to(root).as_posix() for file in files]


@cache
def operators() -> dict[str, Any]:
    """Cosmic-ray's operators by name."""
    from cosmic_ray.plugins import get_operator, operator_names

    names = sorted(name for name in operator_names() if name.split("/")[-1] not in LEFT_OUT)
    return {name.split("/")[-1]: get_operator(name)() for name in names}


def listed(module: str, text: str) -> list[Mutant]:
    """All that the operators can make of a module, in the order of their names and places."""
    from cosmic_ray.ast import ast_nodes, get_ast

    nodes = list(ast_nodes(get_ast(text)))
    found: list[Mutant] = []
    for name, operator in operators().items():
        places = (start for node in nodes for start, _ in operator.mutation_positions(node))
        found += [Mutant(module, line, name, i) for i, (line, _) in enumerate(places)]
    return found


def mutated(text: str, mutant: Mutant) -> str:
    """A module's text with the fault."""
    from cosmic_ray.mutating import mutate_code

    return str(mutate_code(text, operators()[mutant.operator], mutant.occurrence))


class _Bare(ast.NodeTransformer):
    """A program without what is not run: docstrings, annotations."""

    def visit_body(self, node: Any) -> Any:
        self.generic_visit(node)
        if ast.get_docstring(node, clean=False) is not None:
            node.body[0] = ast.Pass()
        return node

    visit_Module = visit_ClassDef = visit_body  # noqa: N815 - ast's names

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        node.returns = None
        return self.visit_body(node)

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:
        # Annotated[int, Within(1, MOST)] is read where records are checked.
        if not any(isinstance(part, ast.Call) for part in ast.walk(node.annotation)):
            node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> Any:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = [ast.Pass()]
        return self.generic_visit(node)


def program(text: str) -> str | None:
    """What a text runs, docstrings and annotations aside; None of what is no Python."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        try:
            compile(text, "mutant", "exec")
        except (SyntaxError, ValueError):
            return None
        return ast.dump(_Bare().visit(ast.parse(text)))


def counts(text: str, changed: str) -> bool:
    """Whether a changed text is a mutant: another program, and one that is Python."""
    return program(changed) not in (None, program(text))


def draw(root: Path, rooms: Sequence[str], count: int, seed: int) -> Sample:
    """Draw mutants of the rooms that count, each as likely as any other."""
    texts = {m: (root / m).read_text() for room in rooms for m in modules(root, room)}
    everything = [mutant for m, text in texts.items() for mutant in listed(m, text)]
    shuffled = random.Random(seed).sample(everything, len(everything))
    fit = (m for m in shuffled if counts(texts[m.module], mutated(texts[m.module], m)))
    digests = {m: hashlib.sha256(text.encode()).hexdigest() for m, text in texts.items()}
    return Sample(count, seed, tuple(rooms), len(everything), digests, tuple(islice(fit, count)))


def difference(module: str, text: str, changed: str) -> str:
    """The lines that a mutant takes out and puts in."""
    lines = difflib.unified_diff(text.splitlines(), changed.splitlines(), module, module, n=0)
    return "\n".join(line for line in islice(lines, 2, None) if line[0] in "-+")


# --- trying one -----------------------------------------------------------------------------------


def copied(root: Path, to: Path) -> Path:
    """A copy of the tree without what is made in it."""
    left = shutil.ignore_patterns(".*", "runs", "__pycache__", "*.egg-info", "build", "dist")
    return Path(shutil.copytree(root, to / "tree", ignore=left))


def room_of(mutant: Mutant) -> str:
    """The room that its module belongs to."""
    return Path(mutant.module).parts[1].removesuffix(".py")


def suite(mutant: Mutant) -> tuple[str, ...]:
    """The tests that a mutant is tried by, in their order: those of its module first."""
    own = (mutant.module, *OF_MODULE.get(mutant.module, ()))
    return tuple(dict.fromkeys([*own, *TESTS[room_of(mutant)]]))


def passed(tree: Path, tests: Sequence[str], limit: float) -> tuple[str, str, float]:
    """Run tests in a copy, in a process of its own: what came out, what failed first, seconds."""
    said = tree.parent / "said"
    context = get_context("forkserver")
    context.set_forkserver_preload(list(IMPORTED))
    process = context.Process(target=_run_tests, args=(tree, tuple(tests), said))
    began = time.perf_counter()
    process.start()
    process.join(limit)
    late = process.is_alive()
    if process.pid is not None:
        try:
            os.killpg(process.pid, signal.SIGKILL)  # and whatever it has started
        except ProcessLookupError:
            process.kill()  # all gone, or not yet a group
    process.join()
    seconds = time.perf_counter() - began
    lines = said.read_text(errors="replace").splitlines() if said.exists() else []
    failed = [line for line in lines if line.startswith(("FAILED ", "ERROR "))]
    first = failed[0].split(" ", 1)[1].split(" - ")[0] if failed else "\n".join(lines[-1:])
    if late:
        return STOPPED, "", seconds
    return (KILLED, first, seconds) if process.exitcode else (SURVIVED, "", seconds)


def _run_tests(tree: Path, tests: Sequence[str], said: Path) -> None:
    """Run pytest in this process, on the copy and on nothing else; its exit code is pytest's."""
    os.setsid()
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))
    with said.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(tree)
    sys.path.insert(0, str(tree))
    os.environ |= {"PYTHONPATH": str(tree), "RULESEARCH_CACHE": str(tree.parent / "cache")}
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False  # what is not mutated is compiled once
    for name in [n for n in sys.modules if n.split(".")[0] in ("benchmarks", "rulesearch")]:
        del sys.modules[name]
    import hypothesis
    import pytest

    # The same few examples every time, and a failure as it is found, not made small.
    hypothesis.settings.register_profile(
        "mutants",
        deadline=None,
        derandomize=True,
        database=None,
        max_examples=EXAMPLES,
        phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
    )
    words = ["-x", "-q", "--tb=no", "-p", "no:cacheprovider", "-m", "not slow and not cuda"]
    words += ["--hypothesis-profile=mutants", *(f"--deselect={test}" for test in TOO_LONG)]
    code = int(pytest.main([*words, *tests]))
    package = sys.modules.get("rulesearch")
    if code == 0 and not Path(str(getattr(package, "__file__", ""))).is_relative_to(tree):
        raise AssertionError(f"the tests ran {package}, which is not in the copy")
    sys.stdout.flush()
    os._exit(code)


def _end_with(parent: int) -> None:
    """End this process and what it started when its parent has ended, as by an interrupt."""
    while os.getppid() == parent:
        time.sleep(1)
    os.killpg(0, signal.SIGKILL)


def tried(tree: Path, number: int, mutant: Mutant, limit: float) -> Tried:
    """Make a mutant in a copy, run its tests, and take the fault out again."""
    path = tree / mutant.module
    text = path.read_text()
    changed = mutated(text, mutant)
    _write(path, changed)
    try:
        outcome, by, seconds = passed(tree, suite(mutant), limit)
    finally:
        _write(path, text)
    diff = difference(mutant.module, text, changed)
    where = (mutant.module, mutant.line, mutant.operator)
    return Tried(number, *where, diff, outcome, by, round(seconds, 1))


def _write(path: Path, text: str) -> None:
    """Write a module later than it was, by a second at least: its compiled form goes by that."""
    later = path.stat().st_mtime + 2
    path.write_text(text)
    os.utime(path, (later, later))


# --- trying all -----------------------------------------------------------------------------------


def sampled(out: Path, rooms: Sequence[str], count: int, seed: int) -> Sample:
    """The sample of a folder, or one that is drawn and kept there."""
    file = out / "sample.json"
    if not file.exists():
        out.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(asdict(draw(ROOT, rooms, count, seed)), indent=1) + "\n")
    kept = json.loads(file.read_text())
    mutants = tuple(Mutant(**each) for each in kept["mutants"])
    sample = Sample(**{**kept, "rooms": tuple(kept["rooms"]), "mutants": mutants})
    if (sample.count, sample.seed, sample.rooms) != (count, seed, tuple(rooms)):
        drawn = f"--count {sample.count} --seed {sample.seed} --rooms {' '.join(sample.rooms)}"
        sys.exit(f"{file} was drawn with {drawn}; choose another --out")
    for module, digest in sample.digests.items():
        if hashlib.sha256((ROOT / module).read_bytes()).hexdigest() != digest:
            sys.exit(f"{module}: has changed since {file} was drawn; choose another --out")
    return sample


def outcomes(out: Path) -> dict[int, Tried]:
    """What became of those that were tried, by their numbers; the last line of each."""
    file = out / "tried.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return {each.number: each for each in (Tried(**json.loads(line)) for line in lines)}


def limits(tree: Path, mutants: Sequence[Mutant]) -> dict[str, float]:
    """Seconds that the tests of each room may take, from what they take in the tree as it is."""
    suites: dict[str, dict[str, None]] = {}
    for mutant in mutants:
        suites.setdefault(room_of(mutant), {}).update(dict.fromkeys(suite(mutant)))
    found: dict[str, float] = {}
    for room, tests in sorted(suites.items()):
        outcome, by, seconds = passed(tree, tuple(tests), 3600)
        if outcome != SURVIVED:
            sys.exit(f"{room}: its tests fail as it is: {by}")
        print(f"{room}: its tests pass in {seconds:.0f} s", flush=True)
        found[room] = TIMES * seconds + A_WHILE
    return found


def run(out: Path, sample: Sample, numbers: Sequence[int], workers: int) -> Iterator[Tried]:
    """Try the mutants of these numbers; each gets its line as it is done."""
    chosen = [(n, sample.mutants[n - 1]) for n in numbers]
    with ExitStack() as stack:
        trees: SimpleQueue[Path] = SimpleQueue()
        for _ in range(workers):
            trees.put(copied(ROOT, Path(stack.enter_context(tempfile.TemporaryDirectory()))))
        first = trees.get()
        allowed = limits(first, [m for _, m in chosen])
        trees.put(first)

        def one(number: int, mutant: Mutant) -> Tried:
            tree = trees.get()
            try:
                return tried(tree, number, mutant, allowed[room_of(mutant)])
            finally:
                trees.put(tree)

        pool = stack.enter_context(ThreadPoolExecutor(workers))
        for done in pool.map(one, *zip(*chosen, strict=True)):
            with (out / "tried.jsonl").open("a") as file:
                file.write(json.dumps(asdict(done), ensure_ascii=False) + "\n")
            yield done


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw or go on, try, and say what survived."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300, help="how many are drawn")
    parser.add_argument("--seed", type=int, default=0, help="what they are drawn with")
    parser.add_argument("--rooms", nargs="+", choices=TESTS, default=list(TESTS))
    parser.add_argument("--out", type=Path, required=True, help="folder of sample and lines")
    parser.add_argument("--only", nargs="+", type=int, help="numbers of the sample to try again")
    parser.add_argument("--workers", type=int, choices=(1, 2), default=1)
    given = parser.parse_args(arguments)
    sample = sampled(given.out, given.rooms, given.count, given.seed)
    everything = range(1, len(sample.mutants) + 1)
    known = outcomes(given.out)
    numbers = given.only or [n for n in everything if n not in known]
    if strangers := [n for n in numbers if n not in everything]:
        parser.error(f"--only {strangers[0]}: the sample has 1 to {len(sample.mutants)}")
    for done in run(given.out, sample, numbers, given.workers) if numbers else ():
        print(f"{done.number} {done.module}:{done.line} {done.outcome} in {done.seconds} s")
        print(done.by if done.outcome == KILLED else done.diff, flush=True)
    known = outcomes(given.out)
    tally = Counter(each.outcome for each in known.values())
    print(f"{len(known)} of {len(sample.mutants)} tried, of {sample.listed} listed: {dict(tally)}")
    for each in sorted(known.values(), key=lambda each: each.number):
        if each.outcome == SURVIVED:
            print(f"\n{each.number} {each.module}:{each.line} {each.operator}\n{each.diff}")


if __name__ == "__main__":
    main()
