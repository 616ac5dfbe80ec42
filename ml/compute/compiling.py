"""Functions compiled at their first call; the machine code is kept on disk beside their source."""

import hashlib
from collections.abc import Callable
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache, IndexDataCacheFile


class _Named(IndexDataCacheFile):
    """Files named after what they hold: signature, processor, code, constants, and the source.

    Numba numbers them, and keeps in an index of the function which number is whose. Of processes
    that compile at the same time, two may take the same number; then the index gives one of them
    the machine code that the other made for its own constants.
    """

    def save(self, key: Any, data: Any) -> None:
        self._save_data(self._data_name(key), data)  # type: ignore[no-untyped-call]

    def load(self, key: Any) -> Any:
        try:
            return self._load_data(self._data_name(key))  # type: ignore[no-untyped-call]
        except FileNotFoundError:
            return None

    def _data_name(self, key: Any) -> str:
        held = repr((key, self._source_stamp, self._version))
        pattern: str = self._data_name_pattern
        return pattern.replace("{number:d}", hashlib.sha256(held.encode()).hexdigest()[:32])


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function that holds no Python objects; it releases the GIL.

    Where no folder can be written to, every process compiles anew.
    """
    compiled: Any = njit(nogil=True, error_model="numpy")(function)
    try:
        cache = FunctionCache(function)  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        if "cannot cache function" not in str(error):
            raise
        return compiled
    locator = cache._impl.locator
    cache._cache_file = _Named(  # type: ignore[no-untyped-call]
        cache.cache_path, cache._impl.filename_base, locator.get_source_stamp()
    )
    compiled._cache = cache
    return compiled
