"""Kernels that are wrong on purpose: the properties of `test_kernels` must catch each."""

from dataclasses import replace

import pytest
from batches import (
    PAPER,
    TOLERANCE,
    gradient_error,
    paper_theta,
)
from batches import given as lifetimes_of

from rulesearch.kernels import KERNELS
from rulesearch.kernels.einsum import build, passes
from rulesearch.kernels.einsum import kernel as einsum_kernel
from rulesearch.lowering.in_torch import InTorch, compiled_source


def _flipped_group(plan, sizes, path):
    first, *others = plan.groups
    parts = tuple(replace(p, coefficient=-p.coefficient) for p in first.parts)
    return build(replace(plan, groups=(replace(first, parts=parts), *others)), sizes, path)


def _with_source(old, new, count=-1):
    """A builder of kernels in whose source one text stands for another."""

    def make(plan, sizes, path):
        kernel = build(plan, sizes, path)
        source = kernel.source.replace(old, new, count)
        assert source != kernel.source
        names = compiled_source(source)
        values = InTorch(source, names["values"], names["pull"])
        return replace(kernel, parts=(replace(kernel.parts[0], values=values),))

    return make


class _OffByOne(einsum_kernel.EinsumKernel):
    def replay(self, batch, K, state, times):
        steps = batch.x.shape[1]
        return super().replay(batch, K, state, [min(t + 1, steps - 1) for t in times])


def _replay_off_by_one(plan, sizes, path):
    kernel = build(plan, sizes, path)
    return _OffByOne(**{name: getattr(kernel, name) for name in kernel.__dataclass_fields__})


DEFECTS = {
    "one group with the other sign": _flipped_group,
    "a sum over the wrong vector": _with_source("torch.bmm(e_pre, W.mT)", "torch.bmm(y_pre, W.mT)"),
    "a sum whose weights are taken for constants": _with_source("pairs['W'].append(", "len("),
    "a function's derivative left out": _with_source(
        "add('y_post', (bar_", "add('y_post', 2 * (bar_"
    ),
    "replay one step late": _replay_off_by_one,
}


def gradient_is_wrong(kernel, path="random"):
    start = lifetimes_of(3, pathway=path, steps=5)
    return gradient_error(PAPER, paper_theta(start), start, kernel) > 1e3 * TOLERANCE


@pytest.mark.parametrize("defect", DEFECTS)
def test_defect_is_caught(defect, monkeypatch):
    monkeypatch.setitem(KERNELS, defect, DEFECTS[defect])
    assert gradient_is_wrong(defect)


def test_gate_taken_for_constant_is_caught(monkeypatch):
    whole = passes.gate

    def constant(activation):
        return replace(whole(activation), by_y=None)

    monkeypatch.setattr(passes, "gate", constant)
    assert gradient_is_wrong("einsum")


def test_signs_of_the_first_step_throughout_are_caught(monkeypatch):
    first = {}

    whole = passes.carried

    def stale(edge, state):
        return whole(edge, first.setdefault(edge.target, state))

    start = lifetimes_of(3, pathway="sign-symmetric", steps=8)
    for weight in start.weights:
        weight *= 0.1  # small beside what a step changes, so that signs change
    monkeypatch.setattr(passes, "carried", stale)
    assert gradient_error(PAPER, paper_theta(start), start, "einsum") > 1e3 * TOLERANCE


def test_feedback_taken_for_constant_is_caught(monkeypatch):
    """With a symmetric pathway the meta-gradient includes that B is Wᵀ."""
    whole = passes.carry

    def untied(name):
        return replace(whole(name), slopes={})

    monkeypatch.setattr(passes, "carry", untied)
    assert gradient_is_wrong("einsum", "symmetric")
