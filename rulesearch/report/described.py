"""What each term of a rule does and needs, in words, and what it reads of the grammar's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup
from sympy import Expr, Symbol

from rulesearch.errors import RuleSearchError
from rulesearch.notation import Pool, latex_of
from rulesearch.notation.compact import compact
from rulesearch.notation.own import own_symbols
from rulesearch.notation.views import PLACES
from rulesearch.operators import OwnSymbol, Parameter, definition_of, definitions_of
from rulesearch.report.mathml import mathml
from rulesearch.report.spoken import spoken
from rulesearch.result import PoolEntry, Result, layers_text
from rulesearch.rule import Rule, toml_of
from rulesearch.words import interval_text, significant

_CHANGED: Mapping[Parameter, str] = {"W": "weight", "B": "feedback weight", "b": "bias"}


@dataclass(frozen=True)
class DescribedTerm:
    """A term of a rule.

    Attributes:
        name: of the term.
        formulas: parameter -> its expression, as MathML.
        sentences: what it does to each parameter, in words; or where it acts, if its expression
            cannot be read.
        theta: the coefficient,
        interval: and its interval; "" where there is none.
        evidence: need -> why it has it; none for a synaptic term.
    """

    name: str
    formulas: dict[str, Markup]
    sentences: tuple[str, ...]
    theta: str
    interval: str
    evidence: dict[str, str]


@dataclass(frozen=True)
class Definition:
    """Something of the grammar's own that the rule's terms read or call.

    Attributes:
        name: as terms write it.
        formula: it, and what it is, as MathML.
        words: what it is, in words.
    """

    name: str
    formula: Markup
    words: str


@dataclass(frozen=True)
class Described:
    """The rule in words.

    Attributes:
        terms: of the rule.
        definitions: what they read and call of the grammar's own; each after those it reads.
        bounds: parameter -> what its values are kept between, in words.
        toml: the text of its `rule.toml`, with every digit; "" where it is no rule.
    """

    terms: tuple[DescribedTerm, ...]
    definitions: tuple[Definition, ...] = ()
    bounds: Mapping[str, str] = field(default_factory=dict)
    toml: str = ""


def described(result: Result) -> Described:
    """The rule of a result in words; without words where its records cannot be read again."""
    try:
        rule: Rule | None = result.rule() if result.config and result.support else None
    except RuleSearchError:
        rule = None
    entries = [entry for entry in result.pool if entry.name in result.support]
    terms = tuple(_term(result, entry, rule) for entry in entries)
    if rule is None:
        return Described(terms)
    bounds: dict[str, str] = {
        parameter: f"{low:g} to {high:g}" for parameter, low, high in rule.pool.bounds
    }
    return Described(terms, _definitions(rule.pool), bounds, toml_of(rule))


def _term(result: Result, entry: PoolEntry, rule: Rule | None) -> DescribedTerm:
    terms = {} if rule is None else {term.name: term for term in rule.pool}
    forms = dict(terms[entry.name].updates) if entry.name in terms else {}
    interval = result.theta_interval.get(entry.name)
    layers = "all layers"
    if entry.layers:
        layers = f"layer{'s' * (len(entry.layers) > 1)} {layers_text(entry.layers)}"
    return DescribedTerm(
        name=entry.name,
        formulas={
            p: Markup(mathml(entry.changes_latex.get(p, entry.latex))) or Markup.escape(text)
            for p, text in entry.updates.items()
        },
        sentences=tuple(
            _sentence(parameter, form, result.theta.get(entry.name) or 0.0, layers)
            for parameter, form in forms.items()
        )
        or (f"Acts in {layers}.",),
        theta=significant(result.theta.get(entry.name)),
        interval=interval_text(interval) if interval else "",
        evidence=dict(entry.evidence),
    )


def _sentence(parameter: Parameter, form: Expr, theta: float, layers: str) -> str:
    """What a term with this coefficient does, with the signs of both in one word.

    Example:
        >>> from rulesearch.notation import W
        >>> _sentence("W", -W, 0.01, "all layers")
        'Takes from each weight, in all layers, 0.0100 times the weight of the synapse.'
    """
    takes = theta < 0
    if not form.is_Add and form.could_extract_minus_sign():
        takes, form = not takes, -form
    words = f"({spoken(form)})" if form.is_Add else spoken(form)
    verb = "Takes from" if takes else "Adds to"
    size = significant(abs(theta))
    return f"{verb} each {_CHANGED[parameter]}, in {layers}, {size} times {words}."


def _definitions(pool: Pool) -> tuple[Definition, ...]:
    expressions = [form for term in pool for _, form in term.updates]
    own = own_symbols(expressions)
    called = definitions_of([*expressions, *map(definition_of, own.values())])
    operators = [_operator(name, *each) for name, each in called.items()]
    return (*operators, *map(_quantity, own.values()))


def _operator(name: str, arguments: Sequence[Symbol], body: Expr) -> Definition:
    call = rf"\operatorname{{{_plain(name)}}}\left({', '.join(map(latex_of, arguments))}\right)"
    return Definition(name, _formula(f"{call} = {latex_of(body)}"), spoken(body))


def _quantity(symbol: OwnSymbol) -> Definition:
    definition, memory = compact(definition_of(symbol)), symbol.row.memory
    of = PLACES[symbol.row.index]
    if memory is None:
        formula = rf"{latex_of(symbol)} = {latex_of(definition)}"
        return Definition(symbol.name, _formula(formula), f"{spoken(definition)}; of {of}")
    kept, new = f"{memory.decay:g}", f"{1 - memory.decay:g}"
    formula = (
        rf"{latex_of(symbol)} \leftarrow {kept}\, {latex_of(symbol)} + "
        rf"{new} \left({latex_of(definition)}\right)"
    )
    begins = "its first value" if memory.initial is None else f"{memory.initial:g}"
    words = (
        f"a running mean of {spoken(definition)}, of which {kept} is kept in each step, beginning "
        f"at {begins}; of {of}"
    )
    return Definition(symbol.name, _formula(formula), words)


def _formula(latex: str) -> Markup:
    return Markup(mathml(latex))


def _plain(name: str) -> str:
    return name.replace("_", r"\_")
