"""Which targets go with which: cosine by the sources that they share."""

from collections.abc import Iterator

import numpy as np
from scipy import sparse

from ml.graph.graph import Ints, Pairs

MAX_PRODUCTS = 20_000_000
"""Σ (targets of a source)² over the sources that are compared; beyond it some are drawn."""

NEIGHBOURS = 20
"""Targets that count as similar to one: the nearest. Far ones are many, and weigh more together."""


def cosine(
    pairs: Pairs,
    num_sources: int,
    num_targets: int,
    generator: np.random.Generator,
    *,
    max_products: int = MAX_PRODUCTS,
) -> sparse.csr_array:
    """Cosine similarity of targets by their sources, as in item-kNN. Shape: [targets, targets]."""
    owned = incidence(pairs, num_sources, num_targets)
    size = np.diff(owned.indptr).astype(np.int64)
    drawn = generator.permutation(num_sources)
    rows = np.sort(drawn[np.cumsum(size[drawn] ** 2) <= max_products])
    compared = sparse.csr_array(owned[rows])
    norm = np.sqrt(np.maximum(np.bincount(compared.indices, minlength=num_targets), 1))
    scaled = sparse.csr_array(compared.multiply((1 / norm.astype(np.float32))[None, :]))
    return sparse.csr_array(scaled.T @ scaled)


def nearest(similar: sparse.csr_array, count: int = NEIGHBOURS) -> sparse.csr_array:
    """Each row's largest values beside the diagonal; of equal ones those with the lower index."""
    ordered = similar.sorted_indices()
    kept = ordered.indices != np.repeat(np.arange(ordered.shape[0]), np.diff(ordered.indptr))
    for row in np.flatnonzero(np.diff(ordered.indptr) > count):
        start, stop = ordered.indptr[row], ordered.indptr[row + 1]
        values = np.where(kept[start:stop], ordered.data[start:stop], -1.0)
        kept[start + np.argsort(-values, kind="stable")[count:]] = False
    rows = np.repeat(np.arange(ordered.shape[0]), np.diff(ordered.indptr))[kept]
    return sparse.csr_array(
        (ordered.data[kept], (rows, ordered.indices[kept])), shape=ordered.shape
    )


def incidence(pairs: Pairs, num_sources: int, num_targets: int) -> sparse.csr_array:
    """1 for each pair. Shape: [sources, targets]."""
    ones = np.ones(len(pairs), np.float32)
    return sparse.csr_array((ones, (pairs.src, pairs.dst)), shape=(num_sources, num_targets))


def chunks(
    sources: Ints, owned: sparse.csr_array, similar: sparse.csr_array, *, limit: int = MAX_PRODUCTS
) -> Iterator[Ints]:
    """The sources in parts whose scores take at most ``limit`` products, one source at least."""
    cost = np.asarray(owned[sources] @ np.diff(similar.indptr).astype(np.float64))
    part = (np.cumsum(cost) // limit).astype(np.int64)
    yield from (sources[part == number] for number in np.unique(part))
