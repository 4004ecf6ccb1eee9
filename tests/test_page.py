"""The page of a run: what is on it, that text stays text, and how it is made again."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from commands import SMALL
from jinja2 import Environment
from matplotlib.figure import Figure
from small_runs import ARGUMENTS, EFFORT, make_small, sketch
from test_hall import a_found
from test_report import a_result

from rulesearch.__main__ import main
from rulesearch.given_rule import load_rule
from rulesearch.notation import Pool, latex_of, load_pool, pool_from_plain, pool_to_plain
from rulesearch.records.plain import to_plain
from rulesearch.report import page as page_module
from rulesearch.report.mathml import mathml
from rulesearch.report.page import Again, page, without_paths
from rulesearch.report.spoken import spoken
from rulesearch.report.svg import svg_text
from rulesearch.result import GrowingRecord, JoiningRecord, Result, WorldRecord
from rulesearch.run_report import report_html
from rulesearch.runs import RunConfig, create_run, write_result
from rulesearch.search import Config
from rulesearch.search import config as config_module
from rulesearch.search.__main__ import main as search_main
from rulesearch.search.again import again, command_line
from rulesearch.search.arguments import read
from rulesearch.words import significant

VOID = {"meta", "link", "br", "wbr", "img", "hr", "input"}
HOSTILE = "<script>alert(1)</script>"


class Reader(HTMLParser):
    """Elements, ids, links and text of a page; faults are what is not closed in its order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.ids, self.links = [], [], [], []
        self.faults, self.said = [], []
        self.feed(text)
        self.faults += self.open

    def handle_starttag(self, tag, attributes):
        held = dict(attributes)
        self.tags.append(tag)
        self.ids += [held["id"]] if "id" in held else []
        self.links += [held[name] for name in ("href", "src", "xlink:href") if name in held]
        self.faults += [name for name in held if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.said.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.said).split())


def sound(text):
    """The page read, if it is one that needs nothing else and leads nowhere."""
    seen = Reader(text)
    assert not seen.faults
    assert len(seen.ids) == len({*seen.ids})
    assert {link for link in seen.links if not link.startswith("#")} == {"data:,"}
    assert {link[1:] for link in seen.links if link.startswith("#")} <= {*seen.ids}
    assert not {"script", "img", "iframe", "object"} & {*seen.tags}
    assert seen.tags.count("h1") == 1
    return seen


def of_a_search(**changes):
    """A result whose options are those of a search."""
    config = to_plain(replace(SMALL, **changes).resolved())
    return replace(a_found(), config=config)


def test_every_number_of_the_result_is_on_the_page():
    result = of_a_search()
    text = sound(page(result, {})).text
    numbers = [*result.theta.values(), *(e for i in result.theta_interval.values() for e in i)]
    for entry in result.evaluation.values():
        numbers += [entry.accuracy, *entry.accuracy_interval, entry.loss]
        assert f" {entry.lifetimes} {entry.diverged} " in text
    for step in result.elimination:
        numbers += [step.loss, step.cost, *step.cost_interval]
    for entry in result.hall:
        numbers.append(entry.loss)
        if entry.evaluation:
            numbers += [entry.evaluation.accuracy, *entry.evaluation.loss_interval]
    missing = [n for n in numbers if significant(n) not in text]
    assert not missing
    assert all(f"{use} {which}" in text for use, which in result.images.items())
    for entry in result.pool:
        assert entry.name in text
        assert entry.expression.replace(" ", "") in text.replace(" ", "")


def test_only_an_expression_breaks_within_a_word():
    cells = re.findall(r'class="([a-z ]+)" data-label="(\w+)"', page(of_a_search(), {}))
    assert {label for kinds, label in cells if "expression" in kinds.split()} == {"expression"}


def test_terms_that_the_rule_left_stand_behind_a_heading_of_their_own():
    result = of_a_search()
    left = [entry for entry in result.pool if entry.name not in result.support]
    text = page(result, {})
    rule, others = text.split(f"<summary>{len(left)} other term", 1)
    rule = rule[rule.index('id="table-coefficients"') :]
    others = others[: others.index("</details>")]
    for entry in result.pool:
        inside, outside = (f">{entry.name}</th>" in part for part in (rule, others))
        assert (inside, outside) == (entry not in left, entry in left)

    whole = replace(result, support=tuple(entry.name for entry in result.pool))
    assert "other term" not in page(whole, {})


@pytest.mark.parametrize(
    "less",
    [
        {},
        {"hall": ()},
        {"hall": (), "elimination": (), "trials": ()},
        {"evaluation": {}},
        {"support": (), "theta": {}, "theta_interval": {}},
        {"config": {}},
    ],
    ids=lambda less: "without " + ", ".join(less) or "whole",
)
def test_a_run_that_lacks_parts_has_a_sound_page(less):
    seen = sound(page(replace(of_a_search(), **less), {}, Again("rulesearch search pool.toml", {})))
    assert "Run it again" in seen.text
    assert ("Hall of fame" in seen.text) == ("hall" not in less)
    assert ("Accuracy on images set aside" in seen.text) == ("evaluation" not in less)


def test_worlds_stand_apart_and_what_joined_is_told():
    result = of_a_search()
    joined = JoiningRecord(
        round=1, term="F9", agreement=4.25, step=0.5, gain=0.0625, chance=1e-4, joins=True
    )
    grown = GrowingRecord(base=("F0",), term="F2", agreement=4, step=0.5, gain=0.125, loss=1.25)
    worlds = {
        name: WorldRecord(sizes=(64, 6, 10), untrained=2.375, evaluation=result.evaluation)
        for name in ("digits", "cells")
    }
    text = sound(page(replace(result, worlds=worlds, joining=(joined,), growing=(grown,)), {})).text
    for said in ("Evaluation: digits", "Evaluation: cells", "Evaluation: all worlds", "2.375"):
        assert said in text
    assert "joins 1 F9 4.25 0.0625 0.000100" in text
    assert "2 F0 F2 0.125 1.25" in text


def hostile():
    """A result all of whose texts would be elements if they were not escaped."""
    result = of_a_search(dataset=f"/home/me/{HOSTILE.replace('/', '')}.npz", data_root="/home/me")
    entry = result.pool[0]
    evil = replace(entry, latex=r"\href{javascript:alert(1)}{x}", expression=HOSTILE)
    return replace(
        result,
        pool=(replace(evil, evidence={HOSTILE: HOSTILE}), *result.pool[1:]),
        message=f"{HOSTILE} and '\"><img src=x onerror=alert(2)>",
        images={HOSTILE: HOSTILE},
        versions={"numpy": HOSTILE},
        evaluation={**result.evaluation, HOSTILE: result.evaluation["rule"]},
    )


def test_hostile_names_stay_text():
    text = page(hostile(), {}, Again(HOSTILE, {HOSTILE: HOSTILE}, HOSTILE))
    seen = sound(text)
    assert seen.text.count(HOSTILE) >= 8
    assert "'\"><img src=x onerror=alert(2)>" in seen.text
    assert "/home" not in text
    assert "Content-Security-Policy" in text


def test_a_page_that_did_not_escape_would_be_found(monkeypatch):
    source = (Path(page_module.__file__).parent / "page.html.jinja").read_text()
    careless = Environment(autoescape=False, trim_blocks=True, lstrip_blocks=True)
    monkeypatch.setattr(page_module, "_template", lambda: careless.from_string(source))
    with pytest.raises(AssertionError):
        sound(page(hostile(), {}))


def test_where_the_data_lay_is_not_told():
    result = of_a_search(dataset="digits,/home/me/cells.npz", data_root="/home/me/data")
    config = without_paths(result).config
    assert (config["dataset"], config["data_root"]) == ("digits,cells.npz", "DATA")


# --- formulas, words, figures ---------------------------------------------------------------------


def test_formulas_are_presentation_alone():
    formula = mathml(r"n_{\mathrm{pre}} \left(\sum_{j'} W_{j'k} y_{j'}\right)^{2}")
    assert formula.startswith("<math")
    assert '<mi mathvariant="normal">pre</mi>' in formula
    assert mathml(r"x \href{javascript:alert(1)}{y}") == ""
    assert mathml(r"\frac{") == ""
    assert "<script" not in mathml(f"x {HOSTILE}")


@pytest.mark.parametrize(
    ("term", "words"),
    [
        ("-W", "minus the weight of the synapse"),
        ("y_post**2*y_pre/2", "the square of the activity of the post-neuron times the activity of "
         "the pre-neuron divided by 2"),
        ("tanh(z_post)*L", "tanh of the potential of the post-neuron times the loss of the step"),
        ("e_pre/(y_pre + 1)", "the error of the pre-neuron divided by (the activity of the "
         "pre-neuron, plus 1)"),
        ("sum_pre(W*e_pre)*y_post - W", "the activity of the post-neuron times the sum over all "
         "neurons before the layer, each in the place of the pre-neuron, of (the weight of the "
         "synapse times the error of the pre-neuron), minus the weight of the synapse"),
    ],
)  # fmt: skip
def test_terms_are_said_in_words(term, words):
    (made,) = Pool(T=term).terms
    assert spoken(made.expression) == words


@pytest.mark.parametrize("name", ["paper_pool", "normalised", "bcm", "three_factor", "feedback"])
def test_every_term_of_a_grammar_can_be_said_and_set(name):
    for term in load_pool(Path(__file__).parents[1] / "grammar" / f"{name}.py"):
        for _, form in term.updates:
            assert not re.search(
                r"[*_^]|sum_p", spoken(form).replace("_post", "").replace("_pre", "")
            )
            assert mathml(latex_of(form)).startswith("<math")


def test_a_figure_in_a_page_has_text_ids_of_its_own_and_the_pages_black():
    def drawn():
        figure = Figure(figsize=(2, 1))
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color="#000000", marker="o", label=HOSTILE)
        axes.legend()
        return svg_text("small", figure, "a <line>")

    one = drawn()
    assert one == drawn()
    seen = Reader(one)
    assert not seen.faults
    assert HOSTILE in seen.text
    assert all(name.startswith("small-") for name in seen.ids)
    assert {link[1:] for link in seen.links} <= {*seen.ids}
    assert "stroke: currentColor" in one
    assert not re.search("#000000|#ffffff|<metadata|<style|xlink", one)
    assert "url(#small-" in one or "clip-path" not in one


def test_a_figure_too_large_for_a_page_is_left_to_its_file(monkeypatch):
    monkeypatch.setattr(Figure, "savefig", sketch)
    monkeypatch.setattr(page_module, "LARGEST_FIGURE", 10)
    text = sound(page(of_a_search(), {"coefficients": Figure()})).text
    assert "it is in coefficients.pdf" in text


# --- again ----------------------------------------------------------------------------------------

ASKED = [
    Config(),
    Config(dataset="emnist,mnist", data_root="x", layers=((20, 10), (5,)), seed=3, ways=10),
    Config(protocol="robust", trials=5, l1=0.5, meta_steps=7, bias=True, noise=0.25, scale=True),
    Config(protocol="paper", effort="quick", pathway="symmetric", dtype="float64", ways=3),
    Config(effort="thorough", meta_batch=8, locality="dendritic,retrograde", parsimony=0.1),
]


@pytest.mark.parametrize("config", ASKED, ids=lambda c: f"{c.protocol} {c.effort}")
def test_the_command_line_asks_for_the_same_search(config):
    kept = RunConfig(pool={}, options=to_plain(config.resolved()), versions={})
    words = again(kept).command.split()
    assert words[:3] == ["rulesearch", "search", "pool.toml"]
    asked = read(words[2:]).config
    assert replace(asked.resolved(), data_root=config.data_root) == config.resolved()


def test_a_rule_that_a_search_began_at_is_a_file_beside_the_pool(tmp_path):
    rule = replace(load_rule("paper"), source="/home/me/runs/paper")
    kept = RunConfig(pool={}, options=to_plain(Config(begin=rule).resolved()), versions={})
    told = again(kept)
    assert told.command == "rulesearch search pool.toml --from from.toml"
    assert "/home" not in told.files["from.toml"]
    (tmp_path / "from.toml").write_text(told.files["from.toml"])
    begun = load_rule(tmp_path / "from.toml")
    assert (begun.pool, begun.theta) == (rule.pool, rule.theta)
    result = replace(of_a_search(), config=kept.options, machine={"processor": "Z80"})
    text = page(result, {}, told)
    assert "/home" not in text
    assert "Z80" in sound(text).text


def test_an_effort_of_its_own_is_said():
    kept = RunConfig(pool={}, options=to_plain(SMALL.resolved()), versions={})
    assert "--effort" not in again(kept).command
    assert "by its numbers" in again(kept).note


def test_files_are_named_without_their_folders_and_quoted():
    config = Config(dataset="/home/me/my cells.npz")
    assert command_line(config.resolved()) == (
        "rulesearch search pool.toml --dataset 'my cells.npz'"
    )


@pytest.mark.parametrize("name", ["normalised", "feedback", "per_layer", "hebbian"])
def test_the_pool_on_the_page_is_the_pool(name, tmp_path):
    pool = load_pool(Path(__file__).parents[1] / "grammar" / f"{name}.py")
    kept = RunConfig(pool=pool_to_plain(pool), options=to_plain(Config().resolved()), versions={})
    (tmp_path / "pool.toml").write_text(again(kept).files["pool.toml"])
    assert load_pool(tmp_path / "pool.toml") == pool_from_plain(kept.pool) == pool


# --- of a run -------------------------------------------------------------------------------------


@pytest.fixture
def sketched(monkeypatch):
    make_small(monkeypatch.setattr)
    monkeypatch.setattr(config_module, "QUICKER", EFFORT)


@pytest.mark.slow
def test_a_search_writes_the_page_that_the_command_writes_again(sketched, tmp_path, capsys):
    run, elsewhere = tmp_path / "run", tmp_path / "page.html"
    assert search_main([*ARGUMENTS, "--out", str(run), "--quiet"]) == 0
    kept = (run / "report.html").read_text()
    seen = sound(kept)
    assert "rulesearch search pool.toml --layers 6 --ways 2" in seen.text
    assert "Coefficient paths" in seen.text
    assert report_html(run) == kept
    capsys.readouterr()
    assert main(["report", str(run), "--out", str(elsewhere)]) == 0
    assert elsewhere.read_text() == kept
    assert capsys.readouterr().out.startswith(f"{elsewhere}: ")


@pytest.fixture
def run(tmp_path):
    """A finished run as its records alone."""
    pool = Pool(F0="-e_post*y_pre", F2="-e_post*e_pre")
    options = to_plain(SMALL.resolved())
    create_run(tmp_path / "run", RunConfig(pool=pool_to_plain(pool), options=options, versions={}))
    write_result(tmp_path / "run", of_a_search())
    return tmp_path / "run"


def test_the_command_writes_the_page_beside_the_result(run, sketched, capsys):
    assert main(["report", str(run)]) == 0
    text = (run / "report.html").read_text()
    assert "rulesearch search pool.toml" in sound(text).text
    assert report_html(run) == text
    assert capsys.readouterr().out == f"{run / 'report.html'}: {len(text.encode()) / 1000:.0f} kB\n"


def test_a_broken_run_leaves_the_page_that_was_there(run, capsys):
    (run / "report.html").write_text("before")
    (run / "result.json").write_text("{")
    assert main(["report", str(run)]) == 2
    assert capsys.readouterr().err.startswith(f"{run / 'result.json'}: not JSON")
    assert (run / "report.html").read_text() == "before"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere/result.json: no such file; give the directory of a finished run"),
        (["."], "result.json: no such file; give the directory of a finished run"),
        ([".", "--out", "."], "--out .: is a directory; give a file in it"),
        ([".", "--out", "no/page.html"], "--out no/page.html: no directory no; make it first"),
        (["a", "b"], "unrecognized arguments: b; rulesearch report --help lists the options"),
        ([], "no run; give the directory of a finished one"),
    ],
)  # fmt: skip
def test_what_is_no_run_is_refused_in_a_line(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["report", *arguments]) == 2
    assert capsys.readouterr().err == f"{said}\n"
    assert not [*tmp_path.iterdir()]


def test_no_file_that_a_run_keeps_is_written_over(run, sketched, capsys):
    before = {path: path.read_bytes() for path in run.iterdir() if path.is_file()}
    for words in (["report", str(run)], ["export", str(run), "--to", "toml"]):
        for name in ("config.json", "result.json", "hall_of_fame.csv"):
            assert main([*words, "--out", str(run / name)]) == 2
            said = f"--out {run / name}: what the run keeps; give another name\n"
            assert capsys.readouterr().err == said
    assert before == {path: path.read_bytes() for path in run.iterdir() if path.is_file()}


def test_a_file_is_no_run(tmp_path, capsys):
    for name, text in {"a.txt": "mine", "alone.json": of_a_search().to_json()}.items():
        (tmp_path / name).write_text(text)
        assert main(["report", str(tmp_path / name)]) == 2
        said = f"{tmp_path / name}: a file; give the directory of a finished run\n"
        assert capsys.readouterr().err == said
    assert (tmp_path / "a.txt").read_text() == "mine"


def test_a_result_read_back_gives_the_same_page():
    result = replace(of_a_search(), hall=(), elimination=())
    assert page(Result.from_json(result.to_json()), {}) == page(result, {})
    assert page(a_result(), {}) == page(a_result(), {})


def test_a_page_stays_where_its_figures_have_nothing_to_be_drawn_from(run, sketched, capsys):
    assert main(["report", str(run)]) == 0
    page = (run / "report.html").read_text()
    (run / "history.jsonl").write_text("{}\n")  # there were steps, and their stages are gone
    capsys.readouterr()
    assert main(["report", str(run)]) == 2
    assert "its stages are gone" in capsys.readouterr().err
    assert (run / "report.html").read_text() == page
