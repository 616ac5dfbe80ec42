"""Functions compiled at their first call; the machine code is kept on disk beside their source."""

from collections.abc import Callable
from typing import Any

from numba import njit


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function that holds no Python objects; it releases the GIL.

    Where no folder can be written to, every process compiles anew.
    """
    try:
        return njit(nogil=True, error_model="numpy", cache=True)(function)
    except RuntimeError as error:
        if "cannot cache function" not in str(error):
            raise
        return njit(nogil=True, error_model="numpy")(function)
