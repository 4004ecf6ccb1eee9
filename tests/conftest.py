"""What holds for every test: shapes are checked as they pass, and examples may take their time."""

import torch
from hypothesis import settings
from jaxtyping import install_import_hook

# Checked here and in no user's loop. Not `kernels.fused`: Numba compiles its functions, and cannot
# compile a wrapper that checks. A name here takes in all modules below it, hence not `kernels`.
# Nor `lifetime`: it checks what it is given itself, in words that the tests compare.
ROOMS = (
    "rulesearch.data",
    "rulesearch.network",
    "rulesearch.observables",
    "rulesearch.pathways",
    "rulesearch.kernels.einsum",
    "rulesearch.population",
)
install_import_hook(ROOMS, "beartype.beartype")

# A deadline would be an assertion on seconds, and these run on shared machines.
settings.register_profile("rulesearch", deadline=None)
settings.load_profile("rulesearch")

# The tensors here are tiny. Threads that wait for each other on a busy machine cost a hundredfold.
torch.set_num_threads(1)
