"""Which targets go with which: cosine by the sources that they share."""

from collections.abc import Iterator

import numpy as np
from scipy import sparse

from ml.graph.graph import Ints, Pairs

MAX_PRODUCTS = 20_000_000
"""Σ (targets of a source)² over the sources that are compared; beyond it some are drawn."""


def cosine(
    pairs: Pairs,
    num_sources: int,
    num_targets: int,
    generator: np.random.Generator,
    *,
    max_products: int = MAX_PRODUCTS,
) -> sparse.csr_array:
    """Cosine similarity of targets by their sources, as in item-kNN. Shape: [targets, targets]."""
    seen = incidence(pairs, num_sources, num_targets)
    size = np.diff(seen.indptr).astype(np.int64)
    drawn = generator.permutation(num_sources)
    rows = np.sort(drawn[np.cumsum(size[drawn] ** 2) <= max_products])
    compared = sparse.csr_array(seen[rows])
    norm = np.sqrt(np.maximum(np.bincount(compared.indices, minlength=num_targets), 1))
    scaled = sparse.csr_array(compared.multiply((1 / norm.astype(np.float32))[None, :]))
    return sparse.csr_array(scaled.T @ scaled)


def incidence(pairs: Pairs, num_sources: int, num_targets: int) -> sparse.csr_array:
    """1 for each pair. Shape: [sources, targets]."""
    ones = np.ones(len(pairs), np.float32)
    return sparse.csr_array((ones, (pairs.src, pairs.dst)), shape=(num_sources, num_targets))


def chunks(
    sources: Ints, seen: sparse.csr_array, similar: sparse.csr_array, *, limit: int = MAX_PRODUCTS
) -> Iterator[Ints]:
    """The sources in parts whose scores take at most ``limit`` products, one source at least."""
    cost = np.asarray(seen[sources] @ np.diff(similar.indptr).astype(np.float64))
    part = (np.cumsum(cost) // limit).astype(np.int64)
    yield from (sources[part == number] for number in np.unique(part))
