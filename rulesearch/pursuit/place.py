"""A rule on the way, and the means by which it is changed and judged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rulesearch.meta.descent import Descended, Descent
from rulesearch.meta.metric import TINY, Matrix, one_thread
from rulesearch.meta.protocols import Accepted
from rulesearch.selection.setting import Measure, Setting
from rulesearch.statistics import Scores

Descend = Callable[[Descent], Descended]
"""Carries a descent out; see `rulesearch.meta.descent.descend`."""

Differentiate = Callable[[str, tuple[float, ...]], Sequence[Sequence[float | None]]]
"""Derivatives of each lifetime's loss by all coefficients, raw, along lifetimes of its own: label,
raw coefficients [terms] -> [lifetimes, terms]; None where one is not finite."""

Needs = Callable[[Sequence[int]], frozenset[str]]
"""What terms, by their indices, need beyond their synapse."""

#: Kernels of no more terms than these are never compiled anew for fewer.
WIDE = 6
#: What is added to the diagonal of a second moment, as a share of its mean, before it is inverted.
RIDGE = 1e-3


@dataclass(frozen=True)
class Place:
    """A rule on the way.

    Attributes:
        support: indices of its terms, in the order of their keys.
        phi: coefficients as learned, [terms].
        second: the votes' second moment around it, [support, support]; empty where unknown.
        size: that a step would begin with, in phi; None for the protocol's.
    """

    support: tuple[int, ...]
    phi: tuple[float, ...]
    second: tuple[tuple[float, ...], ...] = ()
    size: float | None = None

    @property
    def moment(self) -> Matrix:
        """The second moment, [support, support]; where it is unknown, as if no two terms agreed."""
        return np.array(self.second) if self.second else np.eye(len(self.support))


@dataclass(frozen=True)
class Means:
    """What a pursuit works with.

    Attributes:
        setting: names, scales, keys, seed, effort of the search.
        protocol: of descents.
        pace: the size of the reference's best coefficient, in those learned.
        gain: nats that the search is about, as far as known: what steps and terms are worth.
        descend: carries descents out.
        measure: runs lifetimes forward.
        differentiate: by all terms, those at zero too.
        covering: the same means with kernels that cover these terms, so that one serves every rule
            that has no others: compiling takes seconds.
        covered: the terms that they cover.
        tests: seeds of the lifetimes on which terms are tried without.
        common: seeds of those on which rules are compared.
        on_compared: told of every rule that was compared, its raw coefficients, and what it did.
        needs: what terms need beyond their synapse.
    """

    setting: Setting
    protocol: Accepted
    pace: float
    gain: float
    descend: Descend
    measure: Measure
    differentiate: Differentiate
    covering: Callable[[Means, tuple[int, ...]], Means]
    tests: tuple[int, ...]
    common: tuple[int, ...]
    covered: tuple[int, ...] = ()
    on_compared: Callable[[Place, tuple[float, ...], Scores], None] = lambda *rule: None
    needs: Needs = lambda terms: frozenset()

    def over(self, terms: Iterable[int]) -> Means:
        """The same means with kernels that cover these terms."""
        every = self.in_order(terms)
        return replace(self.covering(self, every), covered=every)

    def narrowed(self, terms: Iterable[int]) -> Means:
        """The same means, with kernels of these terms where the ones at hand do not serve.

        So it is where they do not cover all of them, or twice as many: a term that is zero costs
        what one at work does.
        """
        wanted, covered = {*terms}, {*self.covered}
        wide = WIDE < len(covered) >= 2 * len(wanted)
        return self.over(wanted) if wide or not wanted <= covered else self

    def theta(self, phi: Sequence[float]) -> tuple[float, ...]:
        """Raw coefficients, [terms]."""
        return tuple(s * x for s, x in zip(self.setting.scales, phi, strict=True))

    def in_order(self, terms: Iterable[int]) -> tuple[int, ...]:
        """Terms in the order of their keys, which does not hang on the pool's."""
        return tuple(sorted(terms, key=self.setting.key))

    def tried(self, label: str, place: Place) -> Scores:
        """A rule on the lifetimes of tries."""
        (outcomes,) = self.measure({label: self.theta(place.phi)}, self.tests)
        return outcomes

    def all_tried(self, places: Mapping[str, Place]) -> list[Scores]:
        """Rules on the lifetimes of tries, by label, side by side."""
        return self.measure({n: self.theta(p.phi) for n, p in places.items()}, self.tests)

    def compared(self, label: str, place: Place) -> Scores:
        """A rule on the lifetimes on which rules are compared."""
        theta = self.theta(place.phi)
        (outcomes,) = self.measure({label: theta}, self.common)
        self.on_compared(place, theta, outcomes)
        return outcomes

    def in_units(self, scales: tuple[float, ...]) -> Means:
        """The same means with other units, `theta = scales * phi`, [terms]."""
        return replace(self, setting=replace(self.setting, scales=scales))

    def better(self, label: str, place: Place, steps: int) -> Place:
        """Accepted steps from a place, without a penalty; its zeros may become terms."""
        plan = Descent(
            label=label,
            support=place.support,
            scales=self.setting.scales,
            start=place.phi,
            seed=self.setting.seed,
            protocol=self.protocol,
            pace=self.pace,
            steps=steps,
            gain=self.gain,
            size=place.size,
            second=place.second,
            worlds=self.setting.worlds,
        )
        found = self.descend(plan)
        return Place(found.support, found.phi, found.second, found.size)


def turned(place: Place, old: Sequence[float], new: Sequence[float]) -> Place:
    """The same rule in other units.

    The votes' second moment is turned as if all lifetimes' gradients had one size; the size of a
    step is left to the protocol.

    Args:
        place: the rule.
        old: its units, [terms],
        new: and those wanted; zero where the old ones are.
    """
    phi = tuple(x * a / b if x else 0.0 for x, a, b in zip(place.phi, old, new, strict=True))
    if phi == place.phi:
        return place
    factors = np.array([new[term] / old[term] for term in place.support])
    second = np.array(place.second)
    if len(second):
        second = factors[:, None] * second * factors
        second /= max(float(np.trace(second)), TINY)
    return Place(place.support, phi, tuple(map(tuple, second.tolist())))


def saliences(place: Place) -> np.ndarray:
    """What each term is worth by the second moment, if all others take over its work, [support].

    That is phi**2 over the inverse's diagonal, as in optimal brain surgery (Hassibi & Stork 1993),
    with the second moment of votes in place of a curvature: it ranks, and measures nothing.
    """
    inverse = _inverse(place)
    return np.array(place.phi)[list(place.support)] ** 2 / np.diag(inverse)


def without(place: Place, gone: Sequence[int]) -> Place:
    """The rule without some terms, whose work the others take over.

    Their part is projected onto the others in the metric H of the second moment:
    phi - H⁻¹[:, r] (H⁻¹[r, r])⁻¹ phi_r.

    Args:
        place: the rule.
        gone: indices of the terms that go.
    """
    out = [i for i, term in enumerate(place.support) if term in gone]
    left = [i for i in range(len(place.support)) if i not in out]
    support = list(place.support)
    phi = np.zeros(len(place.phi))
    values = np.array(place.phi)[support]
    inverse = _inverse(place)
    with one_thread():
        share = np.linalg.solve(inverse[np.ix_(out, out)], values[out])
        phi[support] = values - np.einsum("ij,j->i", inverse[:, out], share)
    phi[[support[i] for i in out]] = 0.0
    second = place.second and tuple(tuple(place.second[i][j] for j in left) for i in left)
    kept = tuple(support[i] for i in left)
    return Place(kept, tuple(phi.tolist()), second, place.size)


def plainly_without(place: Place, gone: Sequence[int]) -> Place:
    """The rule without some terms, the others as they are."""
    phi = tuple(0.0 if term in gone else x for term, x in enumerate(place.phi))
    return replace(without(place, gone), phi=phi)


def _inverse(place: Place) -> np.ndarray:
    second = place.moment
    with one_thread():
        return np.linalg.inv(second + RIDGE * np.trace(second) / len(second) * np.eye(len(second)))
