"""The held-out users whom the score got most wrong, and what was known of them."""

from collections.abc import Mapping
from typing import Any, Literal

import polars as pl

from ml.contracts.reports.evaluation import WorstUser

WORST = 10
FEW_EDGES = 5
Kind = Literal["missed", "false alarm"]
MISSED: Kind = "missed"
FALSE_ALARM: Kind = "false alarm"


def worst_users(
    held_out: pl.DataFrame, facts: pl.DataFrame, *, most: int = WORST
) -> list[WorstUser]:
    """The largest errors of both kinds, among users on the wrong side of the mean outcome.

    Args:
        held_out: ``user_id``, ``outcome`` and a probability by method.
        facts: Of the same users in the same order, see ``ml.fusion.facts``.
        most: Of each kind.
    """
    if not held_out.height:
        return []
    mean = float(held_out["outcome"].to_numpy().mean())
    table = held_out.hstack(facts.drop("user_id"), in_place=False)
    kinds = (
        (MISSED, table.filter(pl.col("outcome") == 1, pl.col("fused") < mean), False),
        (FALSE_ALARM, table.filter(pl.col("outcome") == 0, pl.col("fused") > mean), True),
    )
    return [
        _row(kind, row, mean)
        for kind, wrong, high in kinds
        for row in wrong.sort("fused", "user_id", descending=[high, False])
        .head(most)
        .iter_rows(named=True)
    ]


def _row(kind: Kind, row: Mapping[str, Any], mean: float) -> WorstUser:
    degree = {
        name.removeprefix("edges "): count
        for name, count in row.items()
        if name.startswith("edges ") and count
    }
    return WorstUser(
        kind=kind,
        user_id=row["user_id"],
        score=row["fused"],
        outcome=row["outcome"],
        error=abs(row["outcome"] - row["fused"]),
        rules=row["rules"],
        boosting=row["boosting"],
        edges=degree,
        missing=row["missing"],
        rule_hits=row["rule_hits"],
        rule_score=row["rule_score"],
        why=reasons(kind, row, mean),
    )


def reasons(kind: str, row: Mapping[str, Any], mean: float) -> list[str]:
    """What may have misled the score, in words."""
    found = []
    if not row["edges"]:
        found.append("no edges when it was scored")
    elif row["edges"] < FEW_EDGES:
        found.append(f"only {row['edges']} edge{'' if row['edges'] == 1 else 's'}")
    if row["missing"]:
        names = ", ".join(row["missing"])
        found.append(f"{len(row['missing'])} of {row['attributes']} attributes missing: {names}")
    misled = row["rule_score"] < 0 if kind == MISSED else row["rule_score"] > 0
    if misled:
        names = ", ".join(row["rule_hits"])
        found.append(f"the rules say so too: rule score {row['rule_score']:+.2f} ({names})")
    boosting_wrong = (row["boosting"] > mean) != bool(row["outcome"])
    if boosting_wrong:
        found.append(f"gradient boosting errs as well: {row['boosting']:.2f}")
    else:
        found.append(f"gradient boosting is on the right side: {row['boosting']:.2f}")
    return found
