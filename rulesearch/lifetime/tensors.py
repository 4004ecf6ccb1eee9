"""What a caller gives as a tensor: arrays too, and for `theta` lists of numbers."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rulesearch.errors import RuleSearchError

INTEGERS = (
    *(torch.int64, torch.int32, torch.int16, torch.int8),
    *(torch.uint64, torch.uint32, torch.uint16, torch.uint8),
)

#: What a tensor may be given as.
Numbers: TypeAlias = Tensor | NDArray[Any]

#: x [lifetimes, examples, inputs] and labels [lifetimes, examples].
Examples: TypeAlias = tuple[Tensor, Tensor]


def tensor_of(name: str, value: Any, shape: str) -> Tensor:
    """A tensor or a NumPy array as a tensor.

    Args:
        name: of what is given, for messages.
        value: what it is.
        shape: that it should have, for messages.

    Raises:
        RuleSearchError: something else, a sparse one, or one of no numbers.
    """
    if isinstance(value, Tensor):
        if value.layout is not torch.strided:
            raise RuleSearchError(f"{name}: a sparse tensor; give {name}.to_dense()")
        return value
    if not isinstance(value, np.ndarray):
        raise RuleSearchError(f"{name}: {_kind(value)}; give a tensor or an array {shape}")
    try:
        # torch takes no array that is read backward, or of another machine's byte order, and warns
        # of one that it must not write.
        native = value.dtype.newbyteorder("=")
        # An axis of one that is read backward NumPy calls contiguous.
        value = value.copy() if any(stride < 0 for stride in value.strides) else value
        return torch.from_numpy(np.require(value, native, requirements=["C", "W"]))
    except TypeError:
        raise RuleSearchError(f"{name}: an array of {value.dtype}; give numbers") from None


def _kind(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def tensors_of(name: str, values: Any, shape: str) -> list[Tensor]:
    """One for each layer, as `tensor_of` reads them.

    Raises:
        RuleSearchError: no list, or as of `tensor_of`.
    """
    if not isinstance(values, (list, tuple)):
        raise RuleSearchError(
            f"{name}: {_kind(values)}; give a list with one tensor {shape} for each layer"
        )
    return [tensor_of(f"{name}[{i}]", value, shape) for i, value in enumerate(values)]


def pair_of(name: str, examples: Any) -> Examples:
    """Examples and their labels, as `tensor_of` reads them.

    Raises:
        RuleSearchError: no two, or as of `tensor_of`.
    """
    if not isinstance(examples, (list, tuple)) or len(examples) != 2:
        raise RuleSearchError(
            f"{name}: {_kind(examples)}; give two tensors, x [lifetimes, examples, inputs] and "
            "labels [lifetimes, examples]"
        )
    return (
        tensor_of(f"{name} x", examples[0], "[lifetimes, examples, inputs]"),
        tensor_of(f"{name} labels", examples[1], "[lifetimes, examples]"),
    )


def coefficients_of(theta: Any) -> Tensor:
    """Coefficients in float64, from numbers, lists, arrays or tensors.

    Raises:
        RuleSearchError: what is no real number, or as of `tensor_of`.
    """
    shape = "[terms], [layers, terms] or [lifetimes, layers, terms]"
    if isinstance(theta, (list, tuple)):
        try:
            return _stacked(theta)
        except (TypeError, ValueError, RuntimeError):
            raise RuleSearchError(f"theta: {theta!r} is not all numbers; give {shape}") from None
    found = tensor_of("theta", theta, shape)
    if not found.is_floating_point() and found.dtype not in INTEGERS:
        raise RuleSearchError(f"theta: dtype {found.dtype}; give real numbers")
    return found.double()


def _stacked(theta: Any) -> Tensor:
    """Numbers in lists as a tensor; where some are tensors, their gradients stay theirs."""
    if isinstance(theta, (list, tuple)) and any(map(_has_tensor, theta)):
        return torch.stack([*map(_stacked, theta)])
    return torch.as_tensor(theta, dtype=torch.float64)


def _has_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) or (
        isinstance(value, (list, tuple)) and any(map(_has_tensor, value))
    )
