"""What is known of users, as matrices: rule hits, rule score, embedding, encoded attributes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from ml.contracts.schema import USER, GraphSchema
from ml.graph.graph import Graph
from ml.hgt.encoders import FIRST_SLOT, Scaler, Vocabulary
from ml.rules.rule_set import RuleSet

Matrix = npt.NDArray[np.float32]

COUNT_PREFIX = "event_counts."
MAX_ONE_HOT = 32


@dataclass(frozen=True)
class AttributeEncoder:
    """Attributes and event counts to numbers: scaled, or one column a category.

    Args:
        numeric: Scaler of each numeric attribute.
        counts: Scaler of log(1 + count) for each ``event_counts.<type>``.
        categorical: Vocabulary of each categorical attribute, its most frequent categories.
    """

    numeric: Mapping[str, Scaler]
    counts: Mapping[str, Scaler]
    categorical: Mapping[str, Vocabulary]

    @classmethod
    def fit(cls, schema: GraphSchema, frame: pl.DataFrame) -> "AttributeEncoder":
        """From a profile frame; it reads no label."""
        counts = [f"{COUNT_PREFIX}{event}" for event in schema.event_types]
        return cls(
            {name: Scaler.fit(frame[name]) for name in schema.user.names("numeric")},
            {name: Scaler.fit(_log(frame[name])) for name in counts if name in frame.columns},
            {name: _frequent(frame[name]) for name in schema.user.names("categorical")},
        )

    @property
    def columns(self) -> dict[str, int]:
        """Width of each attribute in the matrix, in its order."""
        widths = dict.fromkeys([*self.numeric, *self.counts], 2)
        return widths | {name: v.size for name, v in self.categorical.items()}

    def transform(self, frame: pl.DataFrame) -> Matrix:
        """Shape: [n, sum of the widths]."""
        parts = [scaler.transform(frame[name]) for name, scaler in self.numeric.items()]
        parts += [scaler.transform(_log(frame[name])) for name, scaler in self.counts.items()]
        for name, vocabulary in self.categorical.items():
            one_hot = np.zeros((frame.height, vocabulary.size), np.float32)
            one_hot[np.arange(frame.height), vocabulary.transform(frame[name])] = 1.0
            parts.append(one_hot)
        return np.concatenate(parts, 1) if parts else np.zeros((frame.height, 0), np.float32)

    def raw(self, frame: pl.DataFrame) -> tuple[npt.NDArray[np.float64], list[int]]:
        """Unscaled columns for gradient boosting, and which of them hold category codes."""
        names = [*self.numeric, *self.counts]
        parts = [frame[name].cast(pl.Float64).fill_null(float("nan")).to_numpy() for name in names]
        parts += [v.transform(frame[name]).astype(float) for name, v in self.categorical.items()]
        matrix = np.stack(parts, 1) if parts else np.zeros((frame.height, 1))
        return matrix, list(range(len(names), len(names) + len(self.categorical)))

    @property
    def raw_names(self) -> list[str]:
        """Of the columns of ``raw``."""
        return [*self.numeric, *self.counts, *self.categorical]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, JSON-ready; ``from_dict`` reads it back."""
        return {
            "numeric": {name: [s.mean, s.std] for name, s in self.numeric.items()},
            "counts": {name: [s.mean, s.std] for name, s in self.counts.items()},
            "categorical": {name: list(v.categories) for name, v in self.categorical.items()},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "AttributeEncoder":
        """Raises: KeyError on data that ``to_dict`` did not make."""
        return cls(
            {name: Scaler(*values) for name, values in data["numeric"].items()},
            {name: Scaler(*values) for name, values in data["counts"].items()},
            {name: Vocabulary(tuple(values)) for name, values in data["categorical"].items()},
        )


@dataclass(frozen=True)
class Evidence:
    """What the fusion reads, a row a user.

    Shapes: hits [n, R], rule_score [n], embedding [n, EMBEDDING_DIM], attributes [n, A].
    """

    hits: Matrix
    rule_score: Matrix
    embedding: Matrix
    attributes: Matrix

    def __len__(self) -> int:
        return len(self.rule_score)

    def take(self, rows: npt.NDArray[Any]) -> "Evidence":
        """The users at ``rows`` (a mask or indices)."""
        return Evidence(
            self.hits[rows], self.rule_score[rows], self.embedding[rows], self.attributes[rows]
        )


def gather_evidence(
    rules: RuleSet,
    encoder: AttributeEncoder,
    frame: pl.DataFrame,
    embedding: npt.NDArray[np.float32],
) -> Evidence:
    """Evidence of the users of a profile frame.

    Args:
        embedding: In the order of the frame. Shape: [n, EMBEDDING_DIM].

    Raises:
        ValueError: if frame and embedding differ in length.
    """
    if len(embedding) != frame.height:
        raise ValueError(f"{len(embedding)} embeddings for {frame.height} users")
    hits = rules.hits_frame(frame)
    return Evidence(
        hits.astype(np.float32),
        np.asarray(rules.score(hits), np.float32),
        np.asarray(embedding, np.float32),
        encoder.transform(frame),
    )


def profile_frame(graph: Graph) -> pl.DataFrame:
    """``user_id``, the attributes and ``event_counts.<type>`` (null: none) of a graph's users.

    Of the graph at a cut it gives the counts as they were at the cut.
    """
    frame = pl.DataFrame({"user_id": graph.node_ids[USER]}, schema={"user_id": pl.String})
    if graph.features[USER].width:
        frame = frame.hstack(graph.features[USER])
    for event in graph.schema.event_types:
        acted: Any = sum(
            np.bincount(graph.edges[edge.key].src, minlength=len(frame))
            for edge in graph.schema.edges
            if edge.event == event
        )
        count = pl.Series(f"{COUNT_PREFIX}{event}", acted, dtype=pl.Int64)
        frame = frame.with_columns(count.replace(0, None))
    return frame


def _log(counts: pl.Series) -> pl.Series:
    return counts.cast(pl.Float64).fill_null(0.0).log1p()


def _frequent(values: pl.Series) -> Vocabulary:
    counts = values.drop_nulls().value_counts()
    top = counts.sort(["count", values.name], descending=[True, False])
    return Vocabulary(tuple(sorted(top[values.name].head(MAX_ONE_HOT - FIRST_SLOT).to_list())))
