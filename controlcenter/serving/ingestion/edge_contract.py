"""What the graph asks of the payloads of an event: an edge of its schema."""

from typing import Any

from controlcenter.platform.log.encoding import EnvelopeError, shown
from controlcenter.platform.log.envelope import Edge, text
from ml.contracts.schema import GraphSchema


class EdgeContract:
    """Actor and target of one type of event.

    Args:
        targets: Types of nodes that it may point at, at least one.

    Attributes:
        leaves_open: Whether an event need not say the type of its target.
    """

    expected = "an object with actor and target"

    def __init__(self, targets: tuple[str, ...]) -> None:
        self.targets = targets
        self.leaves_open = len(targets) > 1
        self._usual = "" if self.leaves_open else targets[0]

    def edge(self, payload: dict[str, Any]) -> Edge:
        """Who did it to what; the type of the target is empty where the ids must tell.

        Raises:
            EnvelopeError: for the first thing that is wrong.
        """
        target_type = self._usual
        if "target_type" in payload:
            target_type = text(payload, "target_type", path="payload.")
            if target_type not in self.targets:
                got = shown(target_type)
                raise EnvelopeError(
                    "payload.target_type", f"got {got}, expected one of {list(self.targets)}"
                )
        actor = text(payload, "actor", path="payload.")
        return actor, text(payload, "target", path="payload."), target_type


def contracts_of(schema: GraphSchema) -> dict[str, EdgeContract]:
    """A contract for each type of event that makes edges."""
    return {kind: EdgeContract(schema.targets(kind)) for kind in schema.event_types}
