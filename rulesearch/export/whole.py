"""A rule as the text of a target, found to be the same rule before it is given."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Collection, Mapping
from importlib.util import find_spec
from typing import Any

from rulesearch.errors import RuleSearchError, closest
from rulesearch.export.in_arrays import in_arrays
from rulesearch.export.in_latex import in_latex
from rulesearch.export.in_sympy import faults_of, in_sympy
from rulesearch.export.in_torch import in_torch
from rulesearch.export.proof import AGREES, refuse_deviation, trial_of
from rulesearch.export.running import batch_off, run_jax, run_numpy, run_torch
from rulesearch.export.targets import TARGETS, Target
from rulesearch.export.written import Written, written
from rulesearch.given_rule import Given, load_rule
from rulesearch.records.documents import layout
from rulesearch.rule import Rule, rule_from_plain, rule_to_plain, toml_of


def export(
    rule: Given,
    to: Target,
    terms: int | Collection[str] | None = None,
) -> str:
    """The text of a rule for a target, once it has been found to be the same rule.

    Code is run over 20 steps of a drawn network in float64, beside the einsum kernel, and every
    weight, feedback, bias and trace is compared after each step, up to where a weight passes 1000;
    `toml` and `json` are read again; the expressions of `sympy` are compared with the rule's. LaTeX
    nothing can read again.

    Args:
        rule: what `load_rule` takes.
        to: toml, torch, numpy, jax, latex, sympy or json.
        terms: of a run, another rule of its hall of fame, see `load_rule`.

    Raises:
        RuleSearchError: no such rule or target; what the target cannot hold; an export that is not
            the kernel's to 1e-10, and by how much.

    Example:
        >>> print(export("kolen-pollack", "toml").splitlines()[3])
        [terms]
    """
    if to not in TARGETS:
        raise RuleSearchError(f"--to {to}: no target{closest(to, TARGETS)} ({', '.join(TARGETS)})")
    found = load_rule(rule, terms)
    if to in ("toml", "json"):
        return _as_document(found, to)
    step = written(found)
    text = _CODE[to](step)
    check(text, to, step)
    return text


_CODE: Mapping[str, Callable[[Written], str]] = {
    "numpy": lambda step: in_arrays(step, "numpy"),
    "jax": lambda step: in_arrays(step, "jax"),
    "torch": in_torch,
    "sympy": in_sympy,
    "latex": in_latex,
}
_RUN = {"numpy": run_numpy, "jax": run_jax, "torch": run_torch}


def check(text: str, to: Target, step: Written) -> None:
    """Refuse an export that is not the rule.

    Raises:
        RuleSearchError: what is other, and by how much; JAX is not installed.
    """
    what = f"{step.rule.name} to {to}"
    if to == "jax" and find_spec("jax") is None:
        raise RuleSearchError(
            f"{what}: JAX is not installed, so that the export cannot be checked; "
            "pip install jax, or export to numpy"
        )
    if to in _RUN:
        trial = trial_of(step)
        refuse_deviation(what, trial, _RUN[to](text, trial))
        if to == "torch" and not (off := batch_off(text, trial)) <= AGREES:
            raise RuleSearchError(
                f"{what}: not written, for a batch is not the mean of its examples: it is off by "
                f"{off:.2g}, and {AGREES:g} is allowed; this is a fault of rulesearch, please "
                "report it with the rule"
            )
    if to == "sympy" and (faults := [*faults_of(text, step)]):
        raise RuleSearchError(f"{what}: not written, for it is another rule: {faults[0]}")


def _as_document(rule: Rule, to: Target) -> str:
    plain = rule_to_plain(rule)
    text = toml_of(rule) if to == "toml" else layout(plain)
    again: Any = tomllib.loads(text) if to == "toml" else json.loads(text)
    back = rule_from_plain(again)
    if back.theta != rule.theta or rule_to_plain(back) != plain:
        raise RuleSearchError(
            f"{rule.name} to {to}: not written, for it reads back as another rule"
        )
    return text
