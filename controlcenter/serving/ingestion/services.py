"""Ingestion: events of a workspace enter here, and its switch."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from django.db import transaction
from django.db.models.functions import Now

from controlcenter.platform.accounts.models import Account, Workspace
from controlcenter.platform.audit.services import record
from controlcenter.platform.log.batches import Rejection
from controlcenter.platform.log.services import append
from controlcenter.serving.ingestion.graph_consumer import CREATED_USERS, NAME, OUTSIDE_GRAPH
from controlcenter.serving.ingestion.models import Ingestion


@dataclass(frozen=True)
class Receipt:
    """What became of a batch: accepted + duplicates + rejected = received.

    Args:
        outside_graph: Of the accepted ones, those that make no edge: the graph does not know
            their type.
    """

    received: int
    accepted: int = 0
    duplicates: int = 0
    outside_graph: int = 0
    created_users: int = 0
    rejected: list[Rejection] = field(default_factory=list)


def ingest(*, workspace: Workspace, events: Sequence[object]) -> Receipt:
    """Append events to the log, and raise counts and last events in the same transaction.

    One bad event does not keep the others out: it is named in the receipt with the reason.

    Args:
        events: Parsed JSON; a ``ValueError`` stands for a line that was none.

    Raises:
        Conflict: if ingestion is stopped in the workspace.
        ValidationError: if there are none, too many, or none that can be taken.
    """
    appended = append(workspace=workspace, events=events)
    counts = appended.counts[NAME]
    return Receipt(
        received=appended.received,
        accepted=appended.accepted,
        duplicates=appended.duplicates,
        outside_graph=counts[OUTSIDE_GRAPH],
        created_users=counts[CREATED_USERS],
        rejected=appended.rejected,
    )


@transaction.atomic
def switch_ingestion(
    *, workspace: Workspace, account: Account, stopped: bool, reason: str
) -> Ingestion:
    """Start or stop ingestion of a workspace, with a reason."""
    switch, _ = Ingestion.objects.update_or_create(
        workspace=workspace,
        defaults={
            "stopped": stopped,
            "reason": reason,
            "changed_by": account.username,
            "changed_at": Now(),
        },
    )
    action = "ingestion.stop" if stopped else "ingestion.start"
    record(
        account=account,
        workspace=workspace,
        action=action,
        target=workspace,
        details={"reason": reason},
    )
    return switch
