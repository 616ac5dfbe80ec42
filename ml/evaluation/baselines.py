"""What needs no training and stands beside the model, always."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

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
    """How often the pair was there before: what happened happens again (EdgeBank)."""
    count = incidence(pairs, num_sources, num_targets)

    def score(src: Ints) -> Floats:
        return np.asarray(count[src].toarray())

    return score


def item_knn(pairs: Pairs, num_sources: int, num_targets: int) -> Scorer:
    """Cosine similarity of targets by their sources, summed over the source's targets."""
    seen = incidence(pairs, num_sources, num_targets)
    seen.data[:] = 1.0
    norm = np.sqrt(np.maximum(np.bincount(pairs.dst, minlength=num_targets), 1)).astype(np.float32)
    scaled = sparse.csr_array(seen.multiply(1 / norm[None, :]))
    back = sparse.csr_array(scaled.T)

    def score(src: Ints) -> Floats:
        return np.asarray(((scaled[src] @ back) @ scaled).toarray())

    return score


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
    return model.fit(attributes, target)
