"""Reports as a running installation has them stored, cut to a few rows."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def stored(name: str) -> Any:
    """A fresh copy of one of them."""
    return json.loads((FOLDER / f"{name}.json").read_text())
