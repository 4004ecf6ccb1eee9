"""The words that options may be, for every room, and for a command line without torch."""

from __future__ import annotations

from typing import Literal, TypeAlias

ActivationName: TypeAlias = Literal["softplus", "tanh", "sigmoid", "relu", "identity"]
"""Of hidden neurons, see `rulesearch.operators.activations`."""

Device: TypeAlias = Literal["cpu", "cuda"]
DType: TypeAlias = Literal["float32", "float64"]

EffortLevel: TypeAlias = Literal["quick", "normal", "thorough"]
"""How much a search runs, as a multiple of what decides on a data set."""

KernelName: TypeAlias = Literal["auto", "einsum", "fused"]
"""How lifetimes are computed; `auto` is the fastest that can."""

Law: TypeAlias = Literal["uniform", "normal"]
"""Which of Glorot and Bengio's (2010) laws Xavier numbers are drawn from."""

LossName: TypeAlias = Literal["cross-entropy", "squared"]
"""What the errors are the derivative of, see `rulesearch.operators.losses`."""

Neurons: TypeAlias = Literal["shared", "separate"]
"""Whether activities and errors are in the same cells."""

PathwayName: TypeAlias = Literal["random", "symmetric", "direct", "sign-symmetric"]
"""How errors travel backward, see `rulesearch.pathways`."""

ProtocolName: TypeAlias = Literal["accepted", "robust", "paper"]
"""How coefficients are meta-learned, see `rulesearch.meta.protocols`."""
