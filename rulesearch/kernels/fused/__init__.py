"""The fused kernel: Numba source made from a plan, one lifetime to a core at a time.

A lifetime's weights stay in its core's cache, and every pass reads each row of them once for all
that is wanted of it (design, section 6). `schedule` orders a plan, `layout` places its vectors,
`program` and `loops` write the source, `cache` keeps it, `kernel` runs it; what follows from plan,
network and pathway for whatever runs it is in `work`.
"""

from rulesearch.kernels.fused.kernel import FusedKernel, build, gpu_code

__all__ = ["FusedKernel", "build", "gpu_code"]
