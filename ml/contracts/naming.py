"""Names of features: identifiers, so that a rule can speak of them."""

import keyword
import re
import unicodedata

RESERVED = frozenset(
    {"event_counts", "user_id", "product_id", "app_id", "get", "int", "float", "len", "max", "min"}
)
"""Words of the rule language and the id columns: no feature may take one."""


def derive(column: str) -> str:
    """The feature name of a column: ``Monthly Charges`` and ``MonthlyCharges`` → monthly_charges.

    Words are split at capitals and at everything that is neither letter nor digit, joined by
    ``_`` and lowered; a leading digit gets ``n_`` in front. The result may still be refused by
    ``problem`` (a keyword, nothing left): then the mapping has to give a name.
    """
    text = unicodedata.normalize("NFKC", column)
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text)
    text = re.sub(r"\W+", "_", text).lower()
    text = re.sub(r"_+", "_", text).strip("_")
    return f"n_{text}" if text[:1].isdigit() else text


def problem(name: str) -> str | None:
    """Why ``name`` can't be a feature's name, or None if it can."""
    if not name.isidentifier() or unicodedata.normalize("NFKC", name) != name:
        return "is not an identifier (letters, digits and _, not beginning with a digit)"
    if name.startswith("_"):
        return "begins with _"
    if keyword.iskeyword(name):
        return "is a keyword of the rule language"
    if name in RESERVED:
        return "is reserved"
    return None
