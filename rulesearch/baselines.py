"""What a rule is compared with that is no rule of a pool: backprop by Adam.

By SGD, backprop is the pseudo-gradient on a symmetric pathway, and feedback alignment the same on
a random one: populations like any other, with one term.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from rulesearch.kernels import Batch
from rulesearch.kernels.fused.adam import AdamKernel
from rulesearch.lifetime import Lifetimes
from rulesearch.population import Chunk, Population, own_memory


@dataclass(frozen=True, eq=False)
class ByAdam(Population):
    """Networks that learn by backprop and Adam; their one coefficient is its rate.

    Tasks and initial weights are those of any population with the same images, sizes and seeds.
    All is done on the CPU, whatever kernel or device is asked for.
    """

    @property
    def _in_torch(self) -> bool:
        return False

    def _run(self, chunk: Chunk) -> Lifetimes:
        assert not chunk.gradient, "a rate is searched forward"
        tasks = self.tasks(chunk.seeds, own_memory)
        weights, _ = self.networks(chunk.seeds, own_memory)
        rates = chunk.theta[:, None, :].expand(-1, len(weights), -1).to(self.dtype)
        lived = AdamKernel(self.sizes)(
            Batch(
                rates,
                weights,
                None,
                tasks.x.to(self.dtype),
                tasks.labels,
                tasks.query_x.to(self.dtype),
                tasks.query_labels,
            )
        )
        return Lifetimes(lived.loss, lived.accuracy, lived.initial_loss)


def by_adam(like: Population) -> ByAdam:
    """The population that learns the same tasks by Adam."""
    asked = {f.name: getattr(like, f.name) for f in fields(like)}
    return ByAdam(**asked | {"pathway": "symmetric", "device": "cpu", "compile_for": ()})
