"""Reports with the figures that the tests of tables and pages look for."""

from stored_reports import least_links, least_score

LINKS = least_links(
    {
        "user-calls-user": {
            "model": {"ndcg@20": 0.2, "mrr": 0.3},
            "ease": {"ndcg@20": 0.4, "mrr": 0.1},
            "slices": {
                "repeat": {"evaluated": 40, "model": {"mrr": 0.3}, "ease": {"mrr": 0.5}},
                "cold 0": {"evaluated": 0},
            },
        }
    },
    notes=["user-calls-user: the baseline EASE is better than the model: NDCG@20 0.4"],
    negatives={"random": "1 a pair", "historical": "1 a pair of the past"},
)
SCORE = least_score(
    auc=0.8, ece=0.02, target="future behaviour",
    what="no event in the 30 days from 2025-03-01 00:00 UTC",
    passed_over=["label churn: no user has a value"],
    comparison={
        "best_part": "boosting", "value": 0.01, "low": -0.02, "high": 0.03, "level": 0.95,
        "resamples": 1000,
    },
    calibration={"method": "Platt scaling", "bins": 10, "brier_before": 0.2, "ece_before": 0.1},
    reliability=[
        {"from": 0.0, "to": 0.1, "count": 400, "predicted": 0.05, "observed": 0.0},
        {"from": 0.9, "to": 1.0, "count": 100, "predicted": 1.0, "observed": 0.5},
    ],
)  # fmt: skip
RULES = least_score(validated=False, target="rules", notes=["NOT VALIDATED: so"])
NO_LINKS = least_links({})
