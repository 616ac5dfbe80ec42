"""What needs no training and stands beside the model, always."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import linalg, sparse
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from ml.evaluation.metrics import Floats, Ints, Scorer
from ml.graph.graph import Pairs


def incidence(pairs: Pairs, num_sources: int, num_targets: int) -> sparse.csr_array:
    """Events of every pair. Shape: [sources, targets]."""
    shape = (num_sources, num_targets)
    return sparse.csr_array((pairs.count.astype(np.float32), (pairs.src, pairs.dst)), shape=shape)


def popularity(pairs: Pairs, num_targets: int) -> Scorer:
    """Distinct sources of each target, the same for everybody."""
    count = np.bincount(pairs.dst, minlength=num_targets).astype(np.float32)

    def score(src: Ints) -> Floats:
        return np.broadcast_to(count, (len(src), num_targets))

    return score


def repeat(pairs: Pairs, num_sources: int, num_targets: int) -> Scorer:
    """How often the pair was there before: what happened happens again."""
    count = incidence(pairs, num_sources, num_targets)

    def score(src: Ints) -> Floats:
        return np.asarray(count[src].toarray())

    return score


def edge_bank(pairs: Pairs, num_sources: int, num_targets: int) -> Scorer:
    """1 for a pair that was there before, else 0 (Poursafaei et al., NeurIPS 2022)."""
    owned = incidence(pairs, num_sources, num_targets)
    owned.data[:] = 1.0

    def score(src: Ints) -> Floats:
        return np.asarray(owned[src].toarray())

    return score


def item_knn(pairs: Pairs, num_sources: int, num_targets: int) -> Scorer:
    """Cosine similarity of targets by their sources, summed over the source's targets."""
    owned = incidence(pairs, num_sources, num_targets)
    owned.data[:] = 1.0
    norm = np.sqrt(np.maximum(np.bincount(pairs.dst, minlength=num_targets), 1)).astype(np.float32)
    scaled = sparse.csr_array(owned.multiply(1 / norm[None, :]))
    back = sparse.csr_array(scaled.T)

    def score(src: Ints) -> Floats:
        return np.asarray(((owned[src] @ back) @ scaled).toarray())

    return score


@dataclass(frozen=True)
class EaseConfig:
    """Bounds of the linear model.

    Args:
        penalty: Of the ridge, in mean sources a target that has any.
        max_targets: Of more the most popular ones are fitted, and the others score zero: the
            inverse of a matrix of this size takes about two seconds on two cores and 300 MB.
        max_products: Σ (targets of a source)² over the sources it is fitted on; beyond that some
            are drawn.
    """

    penalty: float = 4.0
    max_targets: int = 6000
    max_products: int = 1_000_000_000
    seed: int = 0


def ease(
    pairs: Pairs, num_sources: int, num_targets: int, config: EaseConfig | None = None
) -> Scorer | None:
    """Linear regression of each target on a source's other targets, in closed form.

    B = -P / diag(P), P = (XᵀX + λI)⁻¹, without the diagonal; scores X B
    (Steck, Embarrassingly shallow autoencoders for sparse data, WWW 2019).

    Returns:
        None where there is nothing to fit on.
    """
    config = config or EaseConfig()
    if not len(pairs):
        return None
    owned = incidence(pairs, num_sources, num_targets)
    owned.data[:] = 1.0
    count = np.bincount(pairs.dst, minlength=num_targets)
    # A target that nobody had may be one that has not come yet: it says nothing.
    size = min(config.max_targets, np.count_nonzero(count))
    if size == num_targets:
        weights = _ease_weights(owned, config)
        return lambda src: np.asarray(owned[src] @ weights)
    fitted = np.sort(np.argsort(-count, kind="stable")[:size])
    some = sparse.csr_array(owned[:, fitted])
    weights = _ease_weights(some, config)

    def score(src: Ints) -> Floats:
        scores = np.zeros((len(src), num_targets), np.float32)
        scores[:, fitted] = some[src] @ weights
        return scores

    return score


def _ease_weights(owned: sparse.csr_array, config: EaseConfig) -> npt.NDArray[np.float32]:
    """Shape: [targets, targets]."""
    size = np.diff(owned.indptr).astype(np.int64)
    drawn = np.random.default_rng(config.seed).permutation(len(size))
    rows = np.sort(drawn[np.cumsum(size[drawn] ** 2) <= config.max_products])
    x = sparse.csr_array(owned[rows])
    gram = np.asarray((x.T @ x).toarray(), np.float32)
    diagonal = np.arange(len(gram))
    gram[diagonal, diagonal] += config.penalty * max(x.nnz / len(gram), 1.0)
    # Threads of BLAS that wait by spinning take the cores from each other: one is as quick.
    with threadpool_limits(1, user_api="blas"):
        factor, _ = linalg.lapack.spotrf(gram, lower=1, overwrite_a=1)
        inverse, failed = linalg.lapack.spotri(factor, lower=1, overwrite_c=1)
    if failed:
        raise ValueError(f"the Gram matrix cannot be inverted (LAPACK says {failed})")
    inverse += np.tril(inverse, -1).T  # LAPACK gives the lower half
    weights = inverse / -inverse[diagonal, diagonal][None, :]
    weights[diagonal, diagonal] = 0.0
    return np.asarray(weights, np.float32)


def boosting(
    attributes: npt.NDArray[np.float64],
    categorical: list[int],
    target: npt.NDArray[np.int8],
    *,
    seed: int,
) -> Any:
    """Gradient boosting on raw attributes.

    Args:
        attributes: Numbers and category codes; NaN is missing. Shape: [n, d].
        categorical: Columns that hold codes.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(
        categorical_features=categorical or None, learning_rate=0.05, max_iter=120,
        max_leaf_nodes=15, early_stopping=False, random_state=seed,
    )  # fmt: skip
    # A column without any value can't be put into bins; a constant tells as little.
    return model.fit(np.where(np.isfinite(attributes).any(axis=0), attributes, 0.0), target)
