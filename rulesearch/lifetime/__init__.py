"""One online pass and its meta-gradient: the kernels' public face.

`run` is what people call, and what a population calls for each batch. What it is given is checked
in `given` (tensors) and `asked` (names); `working` says which terms are at work and which kernel
runs them; `carried` is what they leave and go on from, `observing` looks at networks on the way;
`modes` keeps the caller's torch and NumPy settings out, and `autograd` hands the gradient of theta
to torch.
"""

from rulesearch.lifetime.carried import Carried as Carried
from rulesearch.lifetime.run import Lifetimes as Lifetimes
from rulesearch.lifetime.run import compile_ahead as compile_ahead
from rulesearch.lifetime.run import run_lifetimes as run_lifetimes
from rulesearch.lifetime.working import choose_kernel as choose_kernel
from rulesearch.lifetime.working import compiled as compiled
