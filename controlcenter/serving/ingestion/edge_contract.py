"""What the graph asks of the payloads of an event: an edge of its schema."""

from dataclasses import dataclass
from typing import Any

from controlcenter.platform.log.encoding import EnvelopeError, shown
from controlcenter.platform.log.envelope import Edge, text
from ml.contracts.schema import GraphSchema


@dataclass(frozen=True)
class EdgeContract:
    """Actor and target of one type of event.

    Args:
        targets: Types of nodes that it may point at, at least one.
    """

    targets: tuple[str, ...]
    expected: str = "an object with actor and target"

    @property
    def leaves_open(self) -> bool:
        """Whether an event need not say the type of its target."""
        return len(self.targets) > 1

    def edge(self, payload: dict[str, Any]) -> Edge:
        """Who did it to what; the type of the target is empty where the ids must tell.

        Raises:
            EnvelopeError: for the first thing that is wrong.
        """
        target_type = "" if self.leaves_open else self.targets[0]
        if "target_type" in payload:
            target_type = text(payload, "target_type", path="payload.")
            if target_type not in self.targets:
                got = shown(target_type)
                raise EnvelopeError(
                    "payload.target_type", f"got {got}, expected one of {list(self.targets)}"
                )
        actor = text(payload, "actor", path="payload.")
        return Edge(actor, text(payload, "target", path="payload."), target_type)


def contracts_of(schema: GraphSchema) -> dict[str, EdgeContract]:
    """A contract for each type of event that makes edges."""
    return {kind: EdgeContract(schema.targets(kind)) for kind in schema.event_types}
