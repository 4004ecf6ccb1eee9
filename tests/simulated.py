"""Lifetimes in numba's CUDA simulator, in a process of its own: `python tests/simulated.py NAME …`.

For each case a line of JSON: how far the outcome is from einsum's in float64, and how many accesses
of memory race: two threads at one place, one of them writing, with nothing that lets one wait for
the other.
"""

import dataclasses
import json
import sys
import threading
import warnings

import batches
import hypothesis
import numpy as np
import steps
import test_fused_models as models
import torch

from rulesearch.kernels import Unsupported
from rulesearch.kernels.fused.cuda import words
from rulesearch.kernels.fused.cuda.words import WARP
from rulesearch.model import PAPER, Model
from rulesearch.notation import Pool, load_pool, trace
from rulesearch.notation.pool import Term
from rulesearch.operators.activations import ACTIVATIONS
from rulesearch.operators.losses import LOSSES

#: Two widths of rows; a lane has one chunk or two.
SIZES = (6, 9, 4, 3)


class Races:
    """Reads and writes of one block, and those that race.

    A place is one of memory, whichever array it is seen through. What a thread did is forgotten
    when all have waited for each other; within a warp, when its lanes have.
    """

    def __init__(self):
        self.found, self.seen, self._lock = 0, {}, threading.Lock()
        self.block, self.warps = 0, {}

    def note(self, array, place, writes):
        array = getattr(array, "_item", array)
        array = getattr(array, "_ary", array)
        key = array.__array_interface__["data"][0] + int(place) * array.itemsize
        me = words.thread()
        warp = me // WARP
        mine = me, warp, self.warps.get(warp, 0), writes
        with self._lock:
            others = self.seen.setdefault(key, set())
            self.found += any(
                other != me and (writes or wrote) and (of != warp or time == mine[2])
                for other, of, time, wrote in others
            )
            others.add(mine)

    def record(self):
        """Put what notes accesses in the place of the words that make them."""
        ld, st, sync, sync_lanes = words.ld, words.st, words.sync, words.sync_lanes

        def noting_ld(array, place):
            self.note(array, place, writes=False)
            return ld(array, place)

        def noting_st(array, place, value):
            self.note(array, place, writes=True)
            st(array, place, value)

        def noting_sync():
            sync()
            if words.thread() == 0:
                self.seen = {}
            sync()

        def noting_sync_lanes():
            sync_lanes()
            if words.thread() % WARP == 0:
                warp = words.thread() // WARP
                self.warps[warp] = self.warps.get(warp, 0) + 1
            sync_lanes()

        words.ld, words.st = noting_ld, noting_st
        words.sync, words.sync_lanes = noting_sync, noting_sync_lanes


def case(terms, model=PAPER, path="random", answers="labels", count=3, seed=0):
    """Two lifetimes of the small network, some pixels dark throughout, or in one of them."""
    start = batches.given(seed, SIZES, path, lifetimes=2, steps=count, queries=3)
    for x in (start.train[0], start.query[0]):
        x[..., :2] = 0
        x[0, ..., 2] = 0
    made = steps.case(terms, model, start, seed, answers)
    return dataclasses.replace(made, theta=0.04 * made.theta)


def grammar(name, **more):
    pool = load_pool(f"grammar/{name}.py")
    return case(pool.terms, **more)


def traces():
    """Traces of neurons, of a layer, of synapses and of biases."""
    known = {
        made.name: made
        for made in (
            trace("slow_post", "e_post*z_post", decay=0.5),
            trace("slow_pre", "y_pre", decay=0.7, initial="first"),
            trace("slow", "W*y_pre", decay=0.5),
            trace("bias_post", "b_post", decay=0.5, initial="first"),
        )
    }
    terms = (
        Term.of("A", "-slow_post*slow_pre", quantities=known),
        Term.of("B", "-slow*e_post", quantities=known),
        Term.of("C", "-slow_post*bias_post", quantities=known, changes="b"),
    )
    return case(terms, Model(bias=True))


CASES = {
    "paper": lambda: grammar("paper_pool", count=2),
    "direct": lambda: grammar("paper_pool", path="direct"),
    "symmetric": lambda: grammar("paper_pool", path="symmetric"),
    "hebbian": lambda: grammar("hebbian", path="sign-symmetric"),
    "plastic feedback": lambda: grammar("feedback"),
    "normalised": lambda: grammar("normalised"),
    "bounds": lambda: case(models.PAPER_TERMS, Model(bounds=(("W", -0.2, 0.3),))),
    "traces": traces,
    "own activation and loss": lambda: case(
        (*models.SOME_TERMS, *models.BIAS_TERMS),
        Model(models.BENT, models.ODD, bias=True, noise=0.1),
        "symmetric",
        "given",
    ),
    "probabilities": lambda: case(models.SOME_TERMS, path="direct", answers="given"),
    "biases": lambda: case(models.BIAS_TERMS, Model(bias=True)),
    "noise": lambda: case(models.READING, Model(ACTIVATIONS["sigmoid"], bias=True, noise=0.3)),
    "wild": lambda: case(
        models.WILD_TERMS, Model(ACTIVATIONS["tanh"], LOSSES["squared"]), "sign-symmetric"
    ),
}


def off(found, expected):
    """The largest error, relative to the largest value; what is below 1e-6 counts as that."""
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-6))


def apart(made, keep_weights=True):
    """How far the simulator's outcome is from einsum's, every term and layer by itself."""
    from rulesearch.kernels.fused.cuda.kernel import run

    weights = made.start.weights
    models.SIZES = (weights[0].shape[2], *(w.shape[1] for w in weights))
    fused, einsum = models.kernels(made)
    batch, terms = models.given_batch(made), range(len(made.terms))
    found = run(fused, batch, gradient=terms, keep_weights=keep_weights)
    expected = einsum(batch, gradient=terms, keep_weights=keep_weights)
    pairs = [(getattr(found, n), getattr(expected, n)) for n in ("loss", "initial_loss")]
    pairs += [(found.accuracy, expected.accuracy)]
    pairs += zip(found.gradient.unbind(-1), expected.gradient.unbind(-1), strict=True)
    for name in ("weights", "biases", "feedback"):
        layers = getattr(found, name) or [], getattr(expected, name) or []
        pairs += zip(*layers, strict=True)
    for key, memory in found.memories.items():
        # einsum has those of biases in the name of their plan.
        pairs.append((memory, expected.memories.get(key, expected.memories.get(("b", *key[1:])))))
    return max(off(a, b) for a, b in pairs)


def broken(text):
    """A module that does not wait for what `vectors` writes."""
    begin = text.index("def vectors(")
    end = text.index("\n    sync()\n", begin)
    return text[:end] + text[end:].replace("\n    sync()\n", "\n", 1)


def diverged():
    """How far, as a share of its own size, a gradient in float32 is whose weights grow."""
    from rulesearch.kernels.fused.cuda.kernel import run

    pool = Pool(F="-e_post*y_pre", O="y_post*y_pre")
    start = batches.given(0, (8, 9, 3), lifetimes=2, steps=12, queries=3)
    models.SIZES = (8, 9, 3)
    # The first lifetime ends no worse than it began.
    theta = torch.tensor([[0.01, 0.0], [0.1, 4.0]], dtype=torch.float64)
    made = steps.case(pool.terms, PAPER, start)
    made = dataclasses.replace(made, theta=theta[:, None].expand_as(made.theta).contiguous())
    single = dataclasses.replace(made, start=start.to(torch.float32), theta=made.theta.float())
    terms = range(len(pool))
    expected = models.kernels(made)[1](models.given_batch(made), gradient=terms)
    found = run(
        models.kernels(single)[0], models.given_batch(single), gradient=terms, keep_weights=False
    )
    assert (expected.loss > expected.initial_loss).tolist() == [False, True]
    apart = (found.gradient.double() - expected.gradient).flatten(1).norm(dim=1)
    return float((apart / expected.gradient.flatten(1).norm(dim=1)).max())


@words.kernel
def _each(out):
    """What the words between threads give each thread; a row of `out` each."""
    i = words.thread()
    out[0, i] = words.lane_sum(float(i))
    out[1, i] = words.lane_max(np.nan if i == 1 else float(-i))
    words.st(out[2], i, float(i))
    words.sync()
    out[3, i] = words.ld(out[2], words.THREADS - 1 - i)
    words.sync()
    words.st(out[2], i, float(2 * i))
    words.sync_lanes()
    out[4, i] = words.ld(out[2], i ^ 1)


def stand_ins():
    """The largest error of the words between threads."""
    out, every = np.zeros((5, words.THREADS)), np.arange(words.THREADS)
    _each[1, words.THREADS](out)
    warps = every.reshape(-1, WARP)
    expected = [
        np.repeat(warps.sum(1), WARP),
        np.repeat(-warps[:, 0], WARP),
        2 * every,
        every[::-1],
        2 * (every ^ 1),
    ]
    return float(np.abs(out - expected).max())


def main(names):
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    sys.setswitchinterval(1e-4)  # threads wait for each other all the time
    races = Races()
    if "races" in names:
        races.record()
    if "broken" in names:
        from rulesearch.kernels.fused.cuda import kernel

        loaded = kernel.loaded
        kernel.loaded = lambda text: loaded(broken(text))
    if "undone" in names:
        from rulesearch.kernels.fused.cuda import kernel

        kernel.GROWTH = np.inf
    for name in names:
        if name in CASES:
            far = apart(CASES[name](), keep_weights=not {"races", "quick"} & {*names})
            print(json.dumps({"case": name, "apart": far, "races": races.found}))
        if name == "stand-ins":
            print(json.dumps({"case": name, "apart": stand_ins(), "races": 0}))
        if name == "diverged":
            print(json.dumps({"case": name, "apart": diverged(), "races": 0}))
    if "random" in names:

        @hypothesis.settings(
            max_examples=6, derandomize=True, database=None, deadline=None, phases=["generate"]
        )
        @hypothesis.given(steps.cases(steps=2, lifetimes=1))
        def each(made):
            try:
                far = apart(made)
            except Unsupported:  # as on the CPU
                hypothesis.reject()
            print(json.dumps({"case": str(made.terms), "apart": far, "races": 0}))

        each()


if __name__ == "__main__":
    main(sys.argv[1:])
