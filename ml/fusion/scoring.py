"""Scores of all users of a profile frame. The weights of the graph model are not needed."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from ml.contracts.schema import GraphSchema
from ml.fusion.evidence import AttributeEncoder, gather_evidence
from ml.fusion.fusion import Fusion, score
from ml.rules.rule_set import Rule, RuleSet


@dataclass(frozen=True)
class ProfileModel:
    """What turns a profile frame and embeddings into scores: rules, encoder, fusion."""

    schema: GraphSchema
    rules: tuple[Rule, ...]
    encoder: AttributeEncoder
    fusion: Fusion

    @property
    def rule_set(self) -> RuleSet:
        return RuleSet(self.rules, self.schema)


def score_users(
    model: ProfileModel, frame: pl.DataFrame, embedding: npt.NDArray[np.float32]
) -> pl.DataFrame:
    """Scores of every user of a profile frame.

    Args:
        frame: ``user_id``, the attributes and ``event_counts.<type>``.
        embedding: In the order of the frame. Shape: [n, EMBEDDING_DIM].

    Returns:
        user_id, embedding (Array of Float32), rule_hits (List of rule names), rule_score (-1 to
        1), model_score, gate and final_score (probabilities), in the order of the frame.
    """
    rules = model.rule_set
    evidence = gather_evidence(rules, model.encoder, frame, embedding)
    scores = score(model.fusion, evidence)
    names = np.array(rules.names, dtype=object)
    hits = [names[row].tolist() for row in evidence.hits.astype(bool)]
    return pl.DataFrame(
        {
            "user_id": frame["user_id"],
            "embedding": pl.Series(
                evidence.embedding, dtype=pl.Array(pl.Float32, evidence.embedding.shape[1])
            ),
            "rule_hits": pl.Series(hits, dtype=pl.List(pl.String)),
            "rule_score": evidence.rule_score.astype(np.float64),
            "model_score": scores.model,
            "gate": scores.gate,
            "final_score": scores.final,
        }
    )
