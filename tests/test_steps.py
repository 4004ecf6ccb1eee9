"""Whole steps by the kernels: any model, traces, plastic feedback, biases, noise, bounds."""

import batches
import steps
from hypothesis import HealthCheck, given, settings

from rulesearch.kernels import KERNELS, Batch
from rulesearch.lowering import lower_terms
from rulesearch.pathways import pathway

TOLERANCE = batches.TOLERANCE

drawn = settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def batch_of(case):
    """The case as a kernel takes it."""
    start, model = case.start, case.model
    query_x, answers = start.query
    asked, targets, labels = (), None, answers
    if answers.is_floating_point():
        asked, targets, labels = (start.train[0].shape[1],), answers[:, None], answers.argmax(-1)
    return Batch(
        case.theta,
        start.weights,
        start.feedback,
        *start.train,
        query_x,
        labels,
        targets,
        asked,
        noise=case.xi if model.noise else None,
    )


def run(case, kernel="einsum", **more):
    """What a kernel gives for a case."""
    sizes = tuple(case.start.weights[0].shape[-1:])
    sizes += tuple(w.shape[1] for w in case.start.weights)
    path = pathway(case.start.pathway, len(sizes) - 1)
    made = KERNELS[kernel](lower_terms(case.terms, case.model), sizes, path)
    return made(batch_of(case), gradient=range(len(case.terms)), keep_weights=True, **more)


def distance(case, kernel="einsum"):
    """How far a kernel is from autograd through the unrolled loop, in units of what is compared."""
    found = run(case, kernel)
    loss, gradient, carried = steps.reference(case)
    pairs = [(found.loss, loss), (found.gradient, gradient)]
    pairs += zip(found.weights, carried.weights, strict=True)
    if found.feedback is not None:
        pairs += zip(found.feedback, carried.feedback, strict=True)
    if found.biases is not None:
        pairs += zip(found.biases, carried.biases, strict=True)
    return max(
        float((a - b).abs().max() / b.abs().max().clamp(min=1.0)) for a, b in pairs if a.numel()
    )


@drawn
@given(steps.cases())
def test_drawn_steps_are_the_references(case):
    assert distance(case) <= TOLERANCE
