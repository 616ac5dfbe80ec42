"""Columns that tell by themselves what is predicted, as those do that were filled in afterwards."""

import numpy as np
import numpy.typing as npt

from ml.evaluation.metrics import auc

Floats = npt.NDArray[np.float64]

SUSPICIOUS = 0.95
"""AUC of one column alone from which it is named."""
BINS = 20


def telling(columns: Floats, y: Floats, fold: npt.NDArray[np.int64]) -> Floats:
    """AUC of each column alone, by the share of positives among the users of its value.

    Numbers stand in 20 bins of equally many users; what is missing is a value of its own. The share
    is that of the other folds, so that a column of ids tells nothing.

    Args:
        columns: Numbers and category codes; NaN is missing. Shape: [n, d].
        y: 0 or 1. Shape: [n].
        fold: Of each user. Shape: [n].

    Returns:
        Shape: [d].
    """
    return np.array([_alone(_binned(column), y, fold) for column in columns.T])


def _binned(column: Floats) -> npt.NDArray[np.int64]:
    """Number of the value or of its bin, the highest for what is missing. Shape: [n]."""
    known = np.isfinite(column)
    values = np.unique(column[known])
    if len(values) > BINS:
        values = np.unique(np.quantile(column[known], np.arange(BINS) / BINS, method="lower"))
    bins = np.searchsorted(values, column, side="right")
    return np.where(known, bins, len(values) + 1).astype(np.int64)


def _alone(bins: npt.NDArray[np.int64], y: Floats, fold: npt.NDArray[np.int64]) -> float:
    prediction = np.empty(len(y))
    for number in np.unique(fold):
        test, train = fold == number, fold != number
        users = np.bincount(bins[train], minlength=bins.max() + 1)
        positives = np.bincount(bins[train], weights=y[train], minlength=len(users))
        share = (positives + y[train].mean()) / (users + 1)
        prediction[test] = share[bins[test]]
    return auc(y, prediction)
