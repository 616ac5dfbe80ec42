"""Rules over a whole population, beside the best plain Python that takes a user at a time.

The peer is one function with all rules written into it: no tree, no closure a rule, each field
fetched once. It is the same on every user, missing values included, which is checked first.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from benchmarks.harness import Row, interleave, run
from ml.contracts.schema import TELECOM
from ml.rules.rule_set import DEFAULT_RULES, Rule, RuleSet

USERS = 100_000
SEED = 0
RULES = (
    *DEFAULT_RULES,
    Rule("prepaid_caller", "plan == 'prepaid' and event_counts.get('call', 0) >= 10", 0.5),
    Rule("costly_months", "monthly_fee / max(tenure_months, 1) > 5", 0.5),
    Rule("shopper", "event_counts.get('order', 0) + event_counts.get('click', 0) > 25", -0.5),
    Rule("good_level", "level in ['gold', 'platinum'] and not tenure_months is None", -0.5),
)


def population(users: int = USERS, seed: int = SEED) -> pl.DataFrame:
    """Users with attributes and counts, a tenth of each column missing."""
    chance = np.random.default_rng(seed)
    plans, levels = ["prepaid", "monthly", "yearly"], ["bronze", "silver", "gold", "platinum"]
    frame = pl.DataFrame(
        {
            "user_id": [f"u{n}" for n in range(users)],
            "monthly_fee": chance.uniform(5, 120, users).round(2),
            "tenure_months": chance.integers(0, 72, users).astype(float),
            "plan": chance.choice(plans, users),
            "level": chance.choice(levels, users),
            **{
                f"event_counts.{kind}": chance.poisson(15, users)
                for kind in ("call", "order", "click", "use")
            },
        }
    )
    return frame.with_columns(
        pl.when(pl.Series(chance.random(users) >= 0.1)).then(pl.col(name)).alias(name)
        for name in frame.columns[1:]
    )


def as_users(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """The rows as a program holds them: features beside ``event_counts``; None means missing."""
    prefix = "event_counts."
    users = []
    for row in frame.iter_rows(named=True):
        counts = {k.removeprefix(prefix): v for k, v in row.items() if k.startswith(prefix)}
        features = {k: v for k, v in row.items() if not k.startswith(prefix)}
        users.append(features | {"event_counts": {k: v for k, v in counts.items() if v}})
    return users


def fused(user: Mapping[str, Any]) -> tuple[bool, ...]:
    """``RULES`` for one user, written by hand as fast as plain Python can be."""
    fee, tenure, count = user["monthly_fee"], user["tenure_months"], user["event_counts"].get
    has_fee, has_tenure = fee is not None, tenure is not None
    return (
        has_fee and fee >= 70,
        has_tenure and tenure >= 24,
        count("use", 0) >= 20,
        has_tenure and has_fee and tenure < 12 and fee >= 40,
        user["plan"] == "prepaid" and count("call", 0) >= 10,
        has_fee and has_tenure and fee / (tenure if tenure > 1 else 1) > 5,
        count("order", 0) + count("click", 0) > 25,
        user["level"] in ("gold", "platinum") and has_tenure,
    )


def rows() -> list[Row]:
    """Hits of eight rules for 100,000 users, warm: each turn lasts a tenth of a second."""
    frame = population()
    users = as_users(frame)
    rules = RuleSet(RULES, TELECOM)
    expected = np.array([fused(user) for user in users])
    if not np.array_equal(rules.hits_frame(frame), expected):
        raise AssertionError("the rules and plain Python differ: what is measured is not the same")
    size = f"{USERS:,} users, {len(RULES)} rules"
    samples = interleave(
        {
            "ours": lambda: rules.hits_frame(frame),
            "fused": lambda: [fused(user) for user in users],
            "closures": lambda: [rules.hits(user) for user in users],
        },
        repeat=9,
        warmup=2,
        turn_seconds=0.1,
    )
    return [
        Row(
            what="rules: hits",
            size=size,
            ours=samples["ours"],
            peer=samples["fused"],
            peer_name="Python, one fused function",
            required=50,
        ),
        Row(
            what="rules: hits",
            size=size,
            ours=samples["ours"],
            peer=samples["closures"],
            peer_name="our own compiler for one user",
        ),
    ]


if __name__ == "__main__":
    run(rows, "rules")
