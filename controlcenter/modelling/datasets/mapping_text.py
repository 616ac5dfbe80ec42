"""Read a mapping from the text of a form: JSON or YAML, within bounds."""

from typing import Any

import yaml
from rest_framework.exceptions import ValidationError

from controlcenter.platform.common.json_limits import storage_error
from ml.contracts.mapping import MappingError, parse_mapping

MAX_BYTES = 256 * 2**10


class PlainLoader(yaml.SafeLoader):
    """SafeLoader without aliases: a few of them unfold to gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not accepted in a mapping")
        return super().compose_node(parent, index)


def read(text: str) -> dict[str, Any] | None:
    """The mapping as plain data, checked; None for empty text.

    Raises:
        ValidationError: naming the place, what was got and what was expected.
    """
    size = len(text.encode(errors="replace"))
    if size > MAX_BYTES:
        raise ValidationError({"mapping": f"has {size} bytes, at most {MAX_BYTES}"})
    if not text.strip():
        return None
    try:
        data = yaml.load(text, Loader=PlainLoader)  # noqa: S506 (a subclass of SafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ValidationError({"mapping": f"is neither JSON nor YAML: {error}"}) from error
    if not isinstance(data, dict):
        raise ValidationError({"mapping": f"is a {type(data).__name__}, expected an object"})
    try:
        mapping = parse_mapping(data).to_dict()
    except MappingError as error:
        raise ValidationError({"mapping": str(error)}) from error
    unstorable = storage_error(mapping)
    if unstorable:
        raise ValidationError({"mapping": unstorable})
    return mapping
