"""Reports as a running installation has them stored, cut to a few rows; and the least of them."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def stored(name: str) -> Any:
    """A fresh copy of one of them."""
    return json.loads((FOLDER / f"{name}.json").read_text())


def least_links(edge_types: dict[str, dict[str, Any]], **more: Any) -> dict[str, Any]:
    """A link report with these methods and slices by edge type, and nothing that it may lack."""
    about = {"split": "in time", "held_out": 9, "evaluated": 9, "slices": {}}
    rows = {name: {**about, **row} for name, row in edge_types.items()}
    return {"edge_types": rows, "mean": {}, "protocol": "ranked among all", "seed": 0, **more}


def least_score(**more: Any) -> dict[str, Any]:
    """A score report with these figures, and nothing that it may lack."""
    names = ("auc", "ap", "brier", "ece", "rules_auc", "embedding_auc", "boosting_auc")
    about = {"target": "label", "validated": True, "folds": 5, "users": 100}
    return {**dict.fromkeys(names), **about, "methods": {}, "gate": {}, **more}


def least_evaluation(**more: Any) -> dict[str, Any]:
    """A stored evaluation with these parts, and empty ones else."""
    return {
        "format": 1, "links": least_links({}), "score": least_score(),
        "slices": {"links": [], "users": []}, "worst": {"links": [], "users": []},
        "suggestions": [], "notes": [], "intervals": "95%", "seed": 0, **more,
    }  # fmt: skip
