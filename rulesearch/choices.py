"""The words that options may be, for every room, and for a command line without torch."""

from __future__ import annotations

from typing import Literal, TypeAlias

ActivationName: TypeAlias = Literal["softplus", "tanh", "sigmoid", "relu", "identity"]
"""Of hidden neurons, see `rulesearch.operators.activations`."""

Device: TypeAlias = Literal["cpu", "cuda"]
DType: TypeAlias = Literal["float32", "float64"]

EffortLevel: TypeAlias = Literal["quick", "normal", "thorough"]
"""How much a search runs, as a multiple of what decides on a data set."""

FeedbackLaw: TypeAlias = Literal["uniform", "normal", "transposed"]
"""What feedback begins as: Xavier numbers by a law, or the weights' own transposed."""

KernelName: TypeAlias = Literal["auto", "einsum", "fused"]
"""How lifetimes are computed; `auto` is the fastest that can."""

Law: TypeAlias = Literal["uniform", "normal"]
"""Which of Glorot and Bengio's (2010) laws Xavier numbers are drawn from."""

LogName: TypeAlias = Literal["tensorboard"]
"""Whose files meta-steps are written to as well."""

LossName: TypeAlias = Literal["cross-entropy", "squared"]
"""What the errors are the derivative of, see `rulesearch.operators.losses`."""

Neurons: TypeAlias = Literal["shared", "separate"]
"""Whether activities and errors are in the same cells."""

PathwayName: TypeAlias = Literal["random", "symmetric", "direct", "sign-symmetric"]
"""How errors travel backward, see `rulesearch.pathways`."""

ProtocolName: TypeAlias = Literal["accepted", "robust", "paper"]
"""How coefficients are meta-learned, see `rulesearch.meta.protocols`."""

RatesFrom: TypeAlias = Literal["here", "own", "both"]
"""Where a rival's rate is found: where it is tried, or where the rule was searched for."""

RivalName: TypeAlias = Literal[
    "untrained",
    "last-layer",
    "random-rules",
    "feedback-alignment",
    "direct-feedback-alignment",
    "sign-symmetric",
    "kolen-pollack",
    "backprop-sgd",
    "backprop-adam",
]
"""What a rule is tried beside, see `rulesearch.evaluate.rivals`."""
