"""Numbers that hang on no mode of the caller's: torch's and NumPy's, all set in one place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch


@contextmanager
def plain(device: str = "cpu") -> Iterator[None]:
    """A context, or a decorator, in which torch and NumPy compute as they do when just imported.

    Outside may be `inference_mode`, `no_grad`, `autocast`, another default device, or an
    `errstate` that raises: lifetimes divide by zero and overflow, and say so by what they give.
    The default dtype is a process's and not a thread's, so it cannot be set here: whatever makes
    a tensor below names its dtype.

    Args:
        device: the kind of device that is computed on, whose `autocast` is turned off.

    Example:
        >>> with torch.inference_mode(), plain():
        ...     torch.zeros(1).is_inference()
        False
    """
    with ExitStack() as modes:
        modes.enter_context(torch.inference_mode(False))
        modes.enter_context(torch.no_grad())
        modes.enter_context(torch.autocast(device, enabled=False))
        if torch.get_default_device().type != "cpu":
            modes.enter_context(torch.device("cpu"))  # it makes every call of torch a little slower
        modes.enter_context(np.errstate(all="ignore"))
        yield
