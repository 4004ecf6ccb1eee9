"""What a rule can be exported to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Target = Literal["toml", "torch", "numpy", "jax", "latex", "sympy", "json"]

TARGETS: Mapping[Target, str] = {
    "toml": "a rule.toml, which every command reads",
    "torch": "a class that trains a torch.nn.Sequential in place; needs torch alone",
    "numpy": "a step as one function of arrays; needs NumPy alone",
    "jax": "the same for JAX, which can compile it",
    "latex": "equations and a table of coefficients with intervals",
    "sympy": "SymPy expressions; needs SymPy alone",
    "json": "what a rule.toml says, as JSON",
}
