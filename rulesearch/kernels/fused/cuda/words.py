"""The few words of generated CUDA modules that numba lacks, on a GPU and in numba's simulator.

The simulator runs every thread of a block as one of Python's and has neither intrinsics nor words
that lanes of a warp exchange values by, so these stand-ins are all that differs there. Its warps
have few lanes: a test is then quick, and a row of a small layer still has several chunks.
"""

# Numba infers the types of these functions.
# mypy: disable-error-code="no-untyped-def,no-untyped-call,misc"
# ruff: noqa: ANN001, ANN201, ANN202

from __future__ import annotations

import math as _math
import os
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

#: Whether numba's simulator stands in for a GPU.
SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0")
#: Threads that work in step: lanes of a warp.
WARP = 4 if SIMULATED else 32
#: Threads of a block, which is a lifetime.
THREADS = 2 * WARP if SIMULATED else 512
#: Registers that they share.
REGISTERS = 65536

try:
    from numba import cuda as _cuda
except AttributeError as error:  # what numba-cuda imports has gone from NumPy
    raise ImportError(f"numba-cuda does not go with NumPy {np.__version__} ({error})") from None

cuda: Any = _cuda

#: Decorators of a kernel, and of what it calls.
kernel: Any
device: Any

if SIMULATED:
    _lock = threading.Lock()
    # The simulator's own threads know more than Python's.
    _current: Any = threading.current_thread

    def _itself(function: Callable[..., Any]) -> Callable[..., Any]:
        return function

    kernel, device = cuda.jit, _itself

    def thread():
        """The number of this thread in its block."""
        return _current().threadIdx.x

    def block():
        """How many threads a block has."""
        return _current()._manager._block_dim[0]

    def sync():
        """Wait for all threads of the block; what they have written can then be read."""
        _current().syncthreads()

    def sync_lanes():
        """Wait for the other lanes of the warp; what they have written can then be read."""
        _exchanged(None)

    def ld(array, place):
        """The value at a place of an array."""
        return array[place]

    def st(array, place, value):
        """Put a value to a place of an array."""
        array[place] = value

    def _exchanged(value):
        """What every lane of this warp has, in their order."""
        me, number = _current(), thread()
        with _lock:
            warps = me._manager.__dict__.setdefault("_warps", {})
            warp = number // WARP
            if warp not in warps:
                warps[warp] = threading.Barrier(WARP), [None] * WARP
        barrier, places = warps[warp]
        places[number % WARP] = value
        barrier.wait(60)
        every = list(places)
        barrier.wait(60)
        return every

    def _butterfly(value, join):
        every, distance = _exchanged(value), WARP // 2
        while distance:
            every = [join(x, every[i ^ distance]) for i, x in enumerate(every)]
            distance //= 2
        return every[thread() % WARP]

    def lane_sum(value):
        """The sum over the lanes of a warp, in a fixed order; every lane gets it."""
        return _butterfly(value, lambda a, b: a + b)

    def lane_max(value):
        """The largest over the lanes of a warp, of those that are numbers."""
        return _butterfly(value, lambda a, b: a if a >= b or b != b else b)

    def shared_type(dtype: str) -> Any:
        """The type of values in shared memory."""
        return np.dtype(dtype)

    #: Python's functions raise where a GPU's give infinity or no number.
    math: Any = SimpleNamespace(
        **{name: getattr(np, name) for name in ("exp", "log", "log1p", "expm1", "sqrt", "tanh")},
        **{name: getattr(np, name) for name in ("sin", "cos", "inf", "nan", "isnan", "isfinite")},
        atan=np.arctan,
        erf=lambda x: np.float64(_math.erf(x)),
    )

else:
    from numba.cuda import types as _types
    from numba.cuda.extending import intrinsic as _intrinsic

    math = _math
    intrinsic: Any = _intrinsic
    types: Any = _types
    _ALL_LANES = 0xFFFFFFFF

    # A block must not need more registers than there are.
    kernel, device = cuda.jit(max_registers=REGISTERS // THREADS), cuda.jit(device=True)

    @device
    def thread():
        """The number of this thread in its block."""
        return cuda.threadIdx.x

    @device
    def block():
        """How many threads a block has."""
        return cuda.blockDim.x

    @device
    def sync():
        """Wait for all threads of the block; what they have written can then be read."""
        cuda.syncthreads()

    @device
    def sync_lanes():
        """Wait for the other lanes of the warp; what they have written can then be read."""
        cuda.syncwarp()

    # Plain indexing would ask of every place whether it is negative.
    @intrinsic
    def ld(typingctx, array, place):
        """The value at a place of an array."""

        def codegen(context, builder, signature, arguments):
            start = context.make_array(signature.args[0])(context, builder, arguments[0]).data
            return builder.load(builder.gep(start, [arguments[1]]))

        return array.dtype(array, types.int64), codegen

    @intrinsic
    def st(typingctx, array, place, value):
        """Put a value to a place of an array."""

        def codegen(context, builder, signature, arguments):
            start = context.make_array(signature.args[0])(context, builder, arguments[0]).data
            builder.store(arguments[2], builder.gep(start, [arguments[1]]))
            return context.get_dummy_value()

        return types.void(array, types.int64, array.dtype), codegen

    @device
    def lane_sum(value):
        """The sum over the lanes of a warp, in a fixed order; every lane gets it."""
        value = value + cuda.shfl_xor_sync(_ALL_LANES, value, 16)
        value = value + cuda.shfl_xor_sync(_ALL_LANES, value, 8)
        value = value + cuda.shfl_xor_sync(_ALL_LANES, value, 4)
        value = value + cuda.shfl_xor_sync(_ALL_LANES, value, 2)
        return value + cuda.shfl_xor_sync(_ALL_LANES, value, 1)

    @device
    def _larger(a, b):
        return a if a >= b or b != b else b

    @device
    def lane_max(value):
        """The largest over the lanes of a warp, of those that are numbers."""
        value = _larger(value, cuda.shfl_xor_sync(_ALL_LANES, value, 16))
        value = _larger(value, cuda.shfl_xor_sync(_ALL_LANES, value, 8))
        value = _larger(value, cuda.shfl_xor_sync(_ALL_LANES, value, 4))
        value = _larger(value, cuda.shfl_xor_sync(_ALL_LANES, value, 2))
        return _larger(value, cuda.shfl_xor_sync(_ALL_LANES, value, 1))

    def shared_type(dtype: str) -> Any:
        """The type of values in shared memory."""
        return getattr(types, dtype)
