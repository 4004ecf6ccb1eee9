"""The written result, the progress line, and the figures."""

import io
import re
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from rulesearch.figures import figures, style
from rulesearch.figures.look import spread
from rulesearch.figures.run import accuracy_figure, alignment_figure, coefficient_figure
from rulesearch.figures.series import by_stage
from rulesearch.meta import StepRecord
from rulesearch.report import (
    Expression,
    Sheet,
    gap_closed,
    history_row,
    latex,
    pool_table,
    print_pool,
    progress,
    progress_line,
    result_text,
)
from rulesearch.result import EliminationRecord, EvaluationRecord, PoolEntry, Result, TrialRecord

F7 = "-e_post*y_pre*sum_post(y_post*sum_pre(W*e_pre))"
POOL = (
    PoolEntry(
        name="F0",
        expression="-e_post*y_pre",
        latex=r"- e_{\mathrm{post}} y_{\mathrm{pre}}",
        needs=(),
        evidence={},
    ),
    PoolEntry(
        name="F2",
        expression="-e_post*e_pre",
        latex=r"- e_{\mathrm{post}} e_{\mathrm{pre}}",
        needs=(),
        evidence={},
    ),
    PoolEntry(name="F3", expression="-W", latex="- W", needs=(), evidence={}),
    PoolEntry(name="F7", expression=F7, latex="F_7", needs=("global",), evidence={}),
    PoolEntry(
        name="F9",
        expression="y_post*y_pre - y_post*sum_post(y_post*W)",
        latex="F_9",
        needs=("dendritic", "retrograde"),
        evidence={},
    ),
)


def evaluation(accuracy, low, high, loss, diverged=0):
    return EvaluationRecord(
        accuracy=accuracy,
        accuracy_interval=(low, high),
        loss=loss,
        lifetimes=400,
        diverged=diverged,
    )


def attempt(dropped, support, loss, cost, interval, share, kept, arrived=True):
    return EliminationRecord(
        dropped=dropped,
        support=support,
        loss=loss,
        cost=cost,
        cost_interval=interval,
        share_of_gain=share,
        kept=kept,
        arrived=arrived,
    )


def trial(seed, support, failed=""):
    return TrialRecord(
        seed=seed,
        support=() if failed else support,
        theta={},
        diverged_lifetimes=0,
        meta_steps=9,
        failed=failed,
    )


def a_result(**changes):
    fields = {
        "pool": POOL,
        "support": ("F0", "F2", "F9"),
        "theta": {"F0": 0.01123, "F2": -0.05134, "F3": 0.0, "F7": 0.0, "F9": 1.2345e-5},
        "theta_interval": {
            "F0": (0.0105, 0.0119),
            "F2": (-0.0541, -0.0482),
            "F9": (-1.11e-05, -4.44e-06),
        },
        "frequency": {},
        "trials": [trial(0, ["F0", "F2", "F3", "F9"]), trial(1, ["F0", "F2", "F7", "F9"])],
        "elimination": [
            attempt("F7", ["F0", "F2", "F3", "F9"], 0.837, -4.11e-3, (-93e-4, 12e-4), -4e-3, True),
            attempt("F3", ["F0", "F2", "F9"], 0.848, 0.00732, (0.0011, 0.0142), 0.0076, True),
            attempt("F2", ["F0", "F9"], 0.931, 0.0911, (0.0812, 0.1004), 0.125, False),
            attempt("F9", ["F0", "F2"], np.inf, np.inf, (0.4812, np.inf), np.nan, False),
        ],
        "evaluation": {
            "rule": evaluation(0.7071, 0.6992, 0.7153, 0.8123),
            "backprop_sgd": evaluation(0.6861, 0.6782, 0.6943, 0.8514),
            "backprop_adam": evaluation(0.7914, 0.7843, 0.7981, 0.5713),
            "feedback_alignment": evaluation(0.2213, 0.2142, 0.2291, 1.791, diverged=2),
        },
        "images": {"final evaluation": "64 images of each class, set aside"},
        "config": {},
        "versions": {},
        "seconds": 812.0,
    }  # fmt: skip
    return Result(**(fields | changes))


def printed(renderable, width=80):
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(renderable)
    return console.file.getvalue()


def row_of(text, first, after=""):
    """The words of the first row, after the given heading, whose first cell is `first`."""
    lines = text[text.index(after) :].splitlines()
    return next(line.split() for line in lines if line.split()[:1] == [first])


# The written result ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def text():
    return printed(result_text(a_result(), Path("runs/bio")))


def test_it_says_how_its_loss_lies_beside_its_rivals_and_what_it_took():
    result = a_result()
    beside = {
        name: replace(entry, gained=0.2, gained_interval=(0.1, 0.3))
        for name, entry in result.evaluation.items()
    }
    took = {"gradient": 5258, "forward": 22406}
    told = printed(result_text(replace(result, evaluation=beside, lifetimes=took), Path("runs/x")))
    said = " ".join(told.split())
    assert "on the same lifetimes: backprop by SGD -0.200 [-0.300, -0.100], " in said
    assert "minus a rival's, on the same lifetimes: rule" not in said
    assert "lifetimes: 5,258 with derivatives, 22,406 without" in said


def test_it_fits_80_columns_and_has_no_colour_codes_when_piped(text):
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    assert "\x1b" not in text
    assert "…" not in text


def test_the_rule_comes_first_a_term_a_line(text):
    assert text.splitlines()[:3] == [
        "dW = 0.0112*(-e_post*y_pre)",
        "   - 0.0513*(-e_post*e_pre)",
        "   + 1.23e-05*(y_post*y_pre - y_post*sum_post(y_post*W))",
    ]


def test_a_short_rule_is_one_line_and_an_empty_one_is_zero():
    one = a_result(theta={"F0": 0.01, "F2": -0.05})
    assert printed(result_text(one, Path("r"))).splitlines()[0] == (
        "dW = 0.0100*(-e_post*y_pre) - 0.0500*(-e_post*e_pre)"
    )
    none = a_result(theta={"F0": 0.0}, support=())
    assert printed(result_text(none, Path("r"))).splitlines()[0] == "dW = 0"


def test_the_table_of_coefficients_has_every_number(text):
    assert row_of(text, "F0", "Coefficients")[-7:] == (
        ["-", "0.0112", "[0.0105,", "0.0119]", "2", "of", "2"]
    )
    assert "[-1.11e-05, -4.44e-06]  2 of 2" in text
    assert row_of(text, "F3", "Coefficients") == (["F3", "-W", "-", "0", "dropped", "1", "of", "2"])


def test_a_term_that_no_trial_kept_says_so():
    result = a_result(elimination=[], trials=[trial(0, ["F0", "F2", "F9"])])
    words = row_of(printed(result_text(result, Path("r"))), "F3", "Coefficients")
    assert words == ["F3", "-W", "-", "0", "zero", "in", "search", "0", "of", "1"]


def test_the_elimination_path_marks_what_was_chosen_and_shows_what_was_tried(text):
    path = text[text.index("Elimination") : text.index("Cost:")]
    rows = [line.split() for line in path.splitlines() if re.search("dropped|tried", line)]
    assert [row[:3] for row in rows] == [
        ["dropped", "F7", "F0,"],
        [">", "dropped", "F3"],
        ["tried", "F2", "F0,"],
        ["tried", "F9", "F0,"],
    ]
    for number in ("0.837", "-0.00411", "-0.40 %", "0.00732", "0.76 %", "0.0911", "12 %", "nan"):
        assert number in path
    for bound in ("-0.00930", "0.00120", "0.00110", "0.0142", "0.0812", "0.100", "0.481"):
        assert bound in path


def test_the_evaluation_shows_intervals_losses_and_diverged_lifetimes(text):
    assert row_of(text, "rule", "Evaluation") == [
        "rule",
        "0.707",
        "[0.699,",
        "0.715]",
        "0.812",
        "400",
        "0",
    ]
    assert row_of(text, "feedback", "Evaluation") == (
        ["feedback", "alignment", "0.221", "[0.214,", "0.229]", "1.79", "400", "2"]
    )


def test_it_ends_with_the_share_of_the_gap_the_images_and_the_directory(text):
    # (0.7071 - 0.2213) / (0.6861 - 0.2213) = 1.0452
    assert text.rstrip().splitlines()[-4:] == [
        "The rule closes 105 % of the gap from feedback alignment to backprop by SGD.",
        "",
        "images for final evaluation: 64 images of each class, set aside",
        "kept in runs/bio",
    ]


def test_the_message_comes_before_the_tables():
    text = printed(result_text(a_result(message="nothing beats F0"), Path("r")))
    assert text.index("nothing beats F0") < text.index("Coefficients")


@pytest.mark.parametrize(
    "changes",
    [
        {"backprop_sgd": evaluation(0.2, 0.1, 0.3, 1.0)},
        {"rule": evaluation(np.nan, 0.1, 0.3, 1.0)},
    ],
)
def test_there_is_no_share_of_a_gap_that_is_none(changes):
    assert gap_closed(a_result().evaluation | changes) is None
    assert gap_closed({}) is None


def test_no_part_of_a_long_path_is_lost():
    directory = Path("/data") / ("x" * 90) / "run"
    assert f"{directory}" in printed(result_text(a_result(), directory)).replace("\n", "")


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_expression_is_cropped_at_any_width(width):
    (entry,) = [entry for entry in POOL if entry.name == "F7"]
    text = printed(pool_table([("F7", entry.expression, "global", "s*y_pre")]), width)
    column = slice(text.splitlines()[1].index("expression"), text.splitlines()[1].index("needs"))
    assert "".join(line[column].strip() for line in text.splitlines()[3:]) == F7


def test_brackets_in_a_lowering_are_not_taken_for_markup():
    console = Console(file=io.StringIO(), width=80)
    print_pool(console, [("F0", "-e_post*y_pre", "", "[bold] u1 :smile:")])
    assert "[bold] u1 :smile:" in console.file.getvalue()


expressions = st.text(alphabet="xy_+-*(), ", max_size=60)


@given(expressions, st.integers(1, 40))
def test_a_broken_expression_is_the_same_expression(text, width):
    expression = Expression(text)
    lines = expression.lines(width)
    assert "".join(lines) == text
    longest = max(len(piece.rstrip()) for piece in expression.pieces)
    assert max(len(line.rstrip()) for line in lines) <= max(width, longest)


def test_a_power_is_not_broken():
    assert Expression("y_post**2*y_pre").pieces == ["y_post**", "2*", "y_pre"]


WIDTHS = (20, 40, 60, 66, 80, 120)


@pytest.mark.parametrize("width", WIDTHS)
def test_at_any_width_every_row_keeps_its_name_and_every_word_is_whole(width):
    text = printed(result_text(a_result(message="trial 1 was given up"), Path("r")), width)
    assert all(line == line.rstrip() for line in text.splitlines())
    assert max(len(line) for line in text.splitlines()) <= width
    tables = {
        "Coefficients": [entry.name for entry in POOL],
        "Elimination": ["dropped", "> dropped", "tried"],
        "Evaluation": ["rule", "backprop", "feedback"],
    }
    for title, names in tables.items():
        rows = [line.strip() for line in text[text.index(title) :].splitlines()]
        for name in names:
            assert any(row == name or row.startswith(f"{name} ") for row in rows), (title, name)
    wide = printed(result_text(a_result(message="trial 1 was given up"), Path("r")), 300)
    whole = set(re.findall(r"[\w.-]+", wide)) - {"-"}
    assert set(re.findall(r"[\w.-]+", text)) - {"-"} <= whole


cells = st.text(alphabet="ab ", max_size=12).map(str.strip)


@given(st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=4), st.integers(20, 60))
def test_a_table_of_any_words_has_them_all_at_any_width(rows, width):
    sheet = Sheet("T", {"": "name", "what": "text", "how": "interval"})
    for number, row in enumerate(rows):
        sheet.add(f"{number}:", " ".join(row[:2]).strip(), row[2])
    lines = printed(sheet, width).splitlines()
    assert all(len(line) <= width and line == line.rstrip() for line in lines)
    expected = sorted(word for row in rows for word in " ".join(row).split())
    assert sorted(re.findall("[ab]+", " ".join(lines[1:]).replace("what", ""))) == expected


FATES = {
    # what trials kept F3, which failed, elimination steps that dropped it, terms that fail -> fate
    "no trial": ([[], []], [], False, "zero in search", "0 of 2"),
    "one of two, dropped": ([["F3"], []], [], True, "dropped", "1 of 2"),
    "one of three": ([["F3"], [], []], [], False, "in too few trials", "1 of 3"),
    "all, nothing beats the reference": ([["F3"], ["F3"]], [], False, "gains nothing", "2 of 2"),
    "one of one, and nothing beats it": ([["F3"]], [], False, "gains nothing", "1 of 1"),
    "the other trial was given up": ([["F3"], []], [1], False, "gains nothing", "1 of 1"),
}  # fmt: skip


@pytest.mark.parametrize("case", FATES)
def test_each_term_is_told_one_thing(case):
    kept, failed, dropped, fate, count = FATES[case]
    trials = [
        trial(number, ["F0", "F2", "F9", *names], failed="exploded" if number in failed else "")
        for number, names in enumerate(kept)
    ]
    steps = [attempt("F3", ["F0", "F2", "F9"], 0.8, 0.0, (0, 0), 0.0, True)] if dropped else []
    result = a_result(trials=trials, elimination=steps)
    text = printed(result_text(result, Path("r")), 100)
    assert " ".join(row_of(text, "F3", "Coefficients")) == f"F3 -W - 0 {fate} {count}"


def test_of_a_large_pool_what_was_zero_in_search_is_counted():
    more = tuple(replace(POOL[2], name=f"Z{i}") for i in range(1_000))
    result = a_result(pool=(*POOL, *more), fails={"Z7": (1, 7)})
    text = " ".join(printed(result_text(result, Path("r")), 100).split())
    table = text[text.index("Coefficients") : text.index("Elimination")]
    assert re.findall(r"\bZ\d+", table) == ["Z7"]
    assert all(f" {name} " in table for name in ("F0", "F2", "F9"))
    zero = 1_000 - 1 + sum(f" {entry.name} " not in table for entry in POOL)
    assert f"{zero:,} more terms were zero in search." in table
    assert "more terms" not in printed(result_text(a_result(), Path("r")), 100)


def test_a_term_that_could_not_be_differentiated_is_told_so():
    result = a_result(fails={"F3": (1, 7)})
    text = printed(result_text(result, Path("r")), 100)
    assert "not finite" in " ".join(row_of(text, "F3", "Coefficients"))


def test_a_try_whose_refit_has_not_arrived_says_so():
    late = attempt("F2", ["F0"], 0.9, 0.5, (0.4, 0.6), 1.37, False, arrived=False)
    text = printed(result_text(a_result(elimination=[late]), Path("r")))
    assert "0.500 ?" in text
    assert "? no refit has arrived" in " ".join(text.split())
    assert "no refit has arrived" not in printed(result_text(a_result(), Path("r")))


def test_what_does_not_learn_is_no_rule():
    rule = replace(evaluation(0.097, 0.09, 0.1, 2.5, diverged=192), learns=False)
    result = a_result(
        evaluation=a_result().evaluation | {"rule": rule}, message="rule does not learn: ..."
    )
    text = printed(result_text(result, Path("r")))
    assert text.splitlines()[:2] == [
        "no rule: what was selected does not learn",
        "rule does not learn: ...",
    ]
    assert "dW" not in text
    assert "closes" not in text
    # Costs are nats all the same, but shares of nothing are none.
    assert all(line.endswith("-") for line in text.splitlines() if line.startswith("  tried"))
    assert row_of(text, "rule", "Evaluation") == (
        ["rule", "0.0970", "[0.0900,", "0.100]", "2.50", "400", "192"]
    )
    assert "dW" not in str(result)
    assert latex(result).startswith("% no rule: what was selected does not learn\n\\begin")


def test_diverged_is_explained_where_it_stands(text):
    assert "diverged, which is to end worse than untrained" in " ".join(text.split())
    lines = shown([a_step(step=50), a_step(step=100, diverged=1), a_step(step=150, diverged=1)])
    assert [line.split()[0] for line in lines.splitlines()] == ["trial", "diverged:"] + [
        "trial"
    ] * 2


# LaTeX -------------------------------------------------------------------------------------------


def test_latex():
    assert latex(a_result()) == (
        "\\begin{align*}\n"
        "  \\Delta W ={}& 0.0112 \\left(- e_{\\mathrm{post}} y_{\\mathrm{pre}}\\right) \\\\\n"
        "  & - 0.0513 \\left(- e_{\\mathrm{post}} e_{\\mathrm{pre}}\\right) \\\\\n"
        "  & + 1.23 \\times 10^{-5} \\left(F_9\\right)\n"
        "\\end{align*}\n"
    )


def test_latex_of_a_rule_that_begins_with_a_minus_and_of_none():
    assert "={}& - 0.0513 \\left(- e" in latex(a_result(theta={"F2": -0.05134}))
    assert "\\Delta W ={}& 0\n" in latex(a_result(theta={}))


# Progress ----------------------------------------------------------------------------------------


def a_step(**changes):
    fields = {
        "label": "trial 0",
        "step": 180,
        "steps": 300,
        "loss": 0.8434,
        "accuracy": 0.7,
        "theta": {"F0": 1.12e-2, "F2": -5e-7, "F3": 0.0},
        "diverged": 0,
        "left_out": 0,
    }
    return StepRecord(**(fields | changes))


def test_the_progress_line_shows_what_is_not_zero_in_the_order_asked_for():
    assert progress_line(a_step(), ["F2", "F3", "F0"]) == (
        "trial 0  180/300  loss 0.843  accuracy 0.700  F2 -5.00e-07, F0 0.0112"
    )


def test_the_progress_line_counts_what_went_wrong():
    line = progress_line(a_step(diverged=2, left_out=1, loss=None, theta={}), ["F0"])
    assert line == "trial 0  180/300  loss nan  accuracy 0.700  2 diverged  1 left out"


def test_the_line_of_a_descent_says_whether_its_step_was_accepted_and_who_voted():
    assert progress_line(a_step(taken=True, voted=32), ["F0"]) == (
        "trial 0  180/300  accepted, 32 voted  loss 0.843  accuracy 0.700  F0 0.0112"
    )
    assert "  not accepted, 64 voted  " in progress_line(a_step(taken=False, voted=64), ["F0"])


def test_what_ends_before_its_last_step_leaves_its_last_line():
    early = [a_step(step=step, steps=40, taken=True) for step in range(1, 14)]
    other = [a_step(label="leaving/2 terms", step=step, steps=5, taken=True) for step in (1, 2)]
    told = [*early, "common/2 terms", *other]
    assert [" ".join(line.split()[:4]) for line in shown(told).splitlines()] == [
        "trial 0 10/40 accepted,",
        "trial 0 13/40 accepted,",
        "leaving/2 terms 2/5 accepted,",
    ]
    lines = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", shown(told, terminal=True))
    assert "trial 0  13/40  accepted" in lines


def shown(steps, terminal=False, **options):
    console = Console(file=io.StringIO(), width=80, force_terminal=terminal)
    with progress(console, **options) as update:
        for step in steps:
            update(step)
    return console.file.getvalue()


def test_a_file_gets_a_line_now_and_then_and_the_last_of_each_stage():
    steps = [a_step(step=step, steps=110) for step in range(1, 111)]
    counts = [line.split()[2] for line in shown(steps).splitlines()]
    assert counts == ["50/110", "100/110", "110/110"]


def test_a_long_line_in_a_file_is_not_broken():
    wide = {f"F{index}": 0.5 for index in range(40)}
    assert len(shown([a_step(step=50, theta=wide)]).splitlines()) == 1


def test_a_terminal_keeps_the_last_line_of_each_stage():
    text = shown([a_step(step=299), a_step(step=300)], terminal=True)
    kept = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", text)
    assert "trial 0  300/300  loss 0.843" in kept


@pytest.mark.parametrize("terminal", [False, True])
def test_quiet_shows_nothing(terminal):
    assert shown([a_step(step=300)], terminal=terminal, quiet=True) == ""


def test_a_history_row_has_what_the_figures_read(tmp_path):
    row = history_row(a_step(observed={"angle": (80.0, 38.0)}))
    assert row == {
        "stage": "trial 0",
        "step": 180,
        "of": 300,
        "loss": 0.8434,
        "accuracy": 0.7,
        "theta": {"F0": 1.12e-2, "F2": -5e-7, "F3": 0.0},
        "diverged": 0,
        "left_out": 0,
        "angles": [80.0, 38.0],
        "taken": None,
        "voted": 0,
    }
    assert len(figures([row], a_result(), tmp_path)) == 6
    assert history_row(a_step())["angles"] == []


# Figures -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def history():
    rows = []
    for number in range(2):
        for step in range(1, 61):
            part = step / 60
            rows.append(
                {
                    "stage": f"trial {number}",
                    "step": step,
                    "of": 60,
                    "loss": None if step == 7 else 3.8 - 3 * part,
                    "accuracy": 0.7 * part,
                    "theta": {"F0": 0.011 * part, "F2": -0.05 * part, "F9": 1e-5 * part},
                    "diverged": int(step == 7),
                    "left_out": 0,
                    "angles": [90 - 10 * part, 90 - 50 * part],
                }
            )
    rows.append({"stage": "backprop", "step": 1, "of": 1, "loss": 9.0, "accuracy": 0.1})
    return rows


def texts(figure):
    """All that a reader reads in a figure, without the numbers of the ticks."""
    found = [artist.get_text() for artist in figure.findobj(mpl.text.Text)]
    return [text for text in found if re.search("[a-z]", text)]


def test_each_figure_is_written_as_pdf_and_png(tmp_path, history):
    written = figures(history, a_result(), tmp_path / "figures")
    assert [path.name for path in written] == [
        f"{name}.{kind}"
        for name in ("accuracy", "coefficients", "alignment")
        for kind in ("pdf", "png")
    ]
    for path in written:
        start = b"%PDF-" if path.suffix == ".pdf" else b"\x89PNG"
        assert path.read_bytes().startswith(start)
    for path in written[1::2]:
        pixels = mpl.image.imread(path)
        assert 0.01 < np.mean(pixels[..., :3].min(axis=-1) < 0.9) < 0.9  # ink, and paper


def test_figures_leave_the_callers_settings_alone(tmp_path, history):
    before = dict(mpl.rcParams)
    figures(history, a_result(), tmp_path)
    assert dict(mpl.rcParams) == before


def test_without_angles_there_is_no_alignment_figure(tmp_path, history):
    rows = [{**row, "angles": []} for row in history]
    written = figures(rows, a_result(), tmp_path)
    assert {path.stem for path in written} == {"accuracy", "coefficients"}


def test_stages_of_a_round_are_those_of_its_name(history):
    rounds = [{**row, "stage": f"round 1/{row['stage']}"} for row in history]
    assert list(by_stage([*history, *rounds], "trial ")) == (
        ["trial 0", "trial 1", "round 1/trial 0", "round 1/trial 1"]
    )


def test_what_goes_on_is_the_end_of_what_it_goes_on_from():
    stages = ("trial 0", "trial 0, on 1", "round 1/trial 0", "round 1/trial 0, on 1")
    rows = [
        {"stage": stage, "step": step, "loss": 10 * number + step}
        for number, stage in enumerate(stages)
        for step in (2, 1, 3)
    ]
    found = by_stage(rows, "trial ")
    told = {stage: [(row["step"], row["loss"]) for row in each] for stage, each in found.items()}
    assert told == {
        "trial 0": [(1, 1), (2, 2), (3, 3), (4, 11), (5, 12), (6, 13)],
        "round 1/trial 0": [(7, 21), (8, 22), (9, 23), (10, 31), (11, 32), (12, 33)],
    }
    figure = accuracy_figure({"trial 0": found["trial 0"]}, a_result())
    (legend,) = figure.legends
    assert "mean of the trials, smoothed" not in [text.get_text() for text in legend.texts]


def test_a_run_without_trials_still_has_its_figures(tmp_path):
    assert len(figures([], a_result(trials=()), tmp_path)) == 4


def test_the_accuracy_figure_names_axes_baselines_and_what_diverged(history):
    figure = accuracy_figure(by_stage(history, "trial "), a_result())
    assert {
        "meta-step",
        "query accuracy (share correct)",
        "query loss (nats)",
        "rule 0.707",
        "backprop by SGD 0.686",
        "backprop by Adam 0.791",
        "feedback alignment 0.221",
        "feedback alignment 1.79",
    } <= set(texts(figure))
    assert "2 lifetimes diverged, 0 left out" in figure.get_suptitle()


def test_only_trials_are_drawn_and_a_loss_that_is_not_finite_is_a_gap(history):
    lower = accuracy_figure(by_stage(history, "trial "), a_result()).axes[1]
    thin = [line for line in lower.lines if len(line.get_xdata()) == 60]
    assert len(thin) == 2
    for line in thin:
        assert np.flatnonzero(np.isnan(line.get_ydata())).tolist() == [6]
    mean = next(line for line in lower.lines if line.get_label().startswith("mean"))
    steps = np.array([*range(1, 7), *range(8, 61)])  # the gap is in every trial
    np.testing.assert_array_equal(mean.get_xdata(), steps)


def test_smoothing_leaves_a_straight_line_as_it_is_to_its_ends(history):
    upper = accuracy_figure(by_stage(history, "trial "), a_result()).axes[0]
    mean = next(line for line in upper.lines if line.get_label().startswith("mean"))
    # sums of 60 numbers below 1, subtracted: 60 eps each
    np.testing.assert_allclose(
        mean.get_ydata(), 0.7 * np.arange(1, 61) / 60, atol=60 * 60 * np.finfo(float).eps
    )


@pytest.mark.parametrize("every", [60, 4])
def test_exploded_losses_flatten_neither_the_figure_nor_the_mean(history, every):
    rows = [
        {**row, "loss": 1e30} if row["stage"] == "trial 0" and row["step"] % every == 0 else row
        for row in history
    ]
    assert any(row["loss"] == 1e30 for row in rows)
    lower = accuracy_figure(by_stage(rows, "trial "), a_result()).axes[1]
    top = lower.get_ylim()[1]
    assert top < 10
    mean = next(line for line in lower.lines if line.get_label().startswith("mean"))
    assert max(mean.get_ydata()) <= top


def test_each_kept_term_has_a_panel_with_its_coefficient(history):
    figure = coefficient_figure(by_stage(history, "trial "), {}, a_result())
    titles = [axes.get_title("left") for axes in figure.axes if axes.get_visible()]
    assert titles == [
        "F0: final 0.0112",
        "F2: final -0.0513",
        "F3: not in the rule",
        "F7: not in the rule",
        "F9: final 1.23e-05",
    ]
    assert {"meta-step", "coefficient theta (raw)"} <= set(texts(figure))
    first = figure.axes[0].lines[0]
    np.testing.assert_allclose(first.get_ydata(), 0.011 * np.arange(1, 61) / 60)


def test_the_alignment_figure_names_layers_and_marks_90_degrees(history):
    figure = alignment_figure(by_stage(history, "trial "), {})
    assert {"layer 1", "layer 2", "alignment angle (degrees)"} <= set(texts(figure))
    (axes,) = figure.axes
    assert any(list(line.get_ydata()) == [90, 90] for line in axes.lines)


@pytest.fixture(scope="module")
def refits():
    """Two final refits, which end on either side of the rule's coefficients."""
    theta = a_result().theta
    return [
        {
            "stage": f"final refit {number}",
            "step": step,
            "of": 20,
            "loss": 0.8,
            "accuracy": 0.7,
            "theta": {name: value * (0.5 + 0.025 * step) * (0.99 + 0.02 * number)
                      for name, value in theta.items()},
            "diverged": 0,
            "left_out": 0,
            "angles": [80.0, 40.0],
        }
        for number in range(2)
        for step in range(1, 21)
    ]  # fmt: skip


def test_the_coefficients_that_are_drawn_last_are_those_of_the_rule(history, refits):
    """The trials' are shrunk by the penalty; the refits, drawn after them, end at the rule's."""
    stages = by_stage(history, "trial "), by_stage(refits, "final refit ")
    result = a_result()
    figure = coefficient_figure(*stages, result)
    for axes, name in zip(figure.axes, ["F0", "F2", "F3", "F7", "F9"], strict=False):
        lines = [line for line in axes.lines if len(line.get_xdata()) == 20]
        assert len(lines) == 2
        assert all(line.get_xdata()[0] == 61 for line in lines)  # after the 60 of the trials
        ends = np.mean([line.get_ydata()[-1] for line in lines])
        assert ends == pytest.approx(result.theta[name])
        dots = [line for line in axes.lines if line.get_marker() == "o"]
        inside = name in result.support
        assert [(d.get_xdata()[0], d.get_ydata()[0]) for d in dots] == (
            [(80, result.theta[name])] if inside else []
        )


def test_the_alignment_of_the_rule_stands_beside_that_of_the_trials(history, refits):
    stages = by_stage(history, "trial "), by_stage(refits, "final refit ")
    figure = alignment_figure(*stages)
    assert [axes.get_title() for axes in figure.axes] == ["trials", "final refits"]
    assert len(alignment_figure(stages[0], {}).axes) == 1


def boxes(figure, artists):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure).draw()
    renderer = figure.canvas.get_renderer()
    return [artist.get_window_extent(renderer) for artist in artists]


@pytest.mark.parametrize("draw", ["accuracy", "coefficients", "alignment"])
def test_no_label_lies_over_a_curve_or_a_tick(draw, history, refits):
    trials, last = by_stage(history, "trial "), by_stage(refits, "final refit ")
    drawn = {
        "accuracy": lambda: accuracy_figure(trials, a_result()),
        "coefficients": lambda: coefficient_figure(trials, last, a_result()),
        "alignment": lambda: alignment_figure(trials, last),
    }
    with style():
        figure = drawn[draw]()
        axes = [each for each in figure.axes if each.get_visible()]
        inside = [box.padded(-2) for box in boxes(figure, [a.patch for a in axes])]
        labels = [
            text
            for each in axes
            for text in [*each.texts, each.yaxis.get_offset_text(), each._left_title, each.title]
            if text.get_text()
        ]
        # Behind the panels, and not over each other.
        found = boxes(figure, labels)
        ticks = boxes(figure, [t for a in axes for t in a.get_yticklabels() if t.get_text()])
    assert found
    for number, box in enumerate(found):
        assert not any(box.overlaps(panel) for panel in inside), labels[number].get_text()
        others = [*found[:number], *found[number + 1 :]]
        assert not any(box.padded(-1).overlaps(other.padded(-1)) for other in others), labels[
            number
        ].get_text()
        assert not any(box.padded(-1).overlaps(tick.padded(-1)) for tick in ticks), labels[
            number
        ].get_text()


@given(st.lists(st.floats(-10, 10), max_size=8), st.floats(0.01, 2))
def test_labels_are_spread_in_their_order_and_about_their_values(values, gap):
    places = spread(values, gap)
    order = np.argsort(values, kind="stable")
    # places are rounded to 12 decimals
    assert (np.diff(np.array(places)[order]) >= gap - 2e-12).all()
    assert np.sum(places) == pytest.approx(np.sum(values), abs=1e-9)
