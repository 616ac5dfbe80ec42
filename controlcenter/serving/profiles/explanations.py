"""Explanations: asked for here, computed by a worker, cached by what the score was made of."""

import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import structlog
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from controlcenter.platform.accounts.models import Account, Workspace
from controlcenter.platform.audit.services import record
from controlcenter.platform.common.errors import Conflict
from controlcenter.platform.runs import kinds
from controlcenter.platform.runs.commits import Commit, queue_run
from controlcenter.platform.runs.models import Run, RunStatus
from controlcenter.platform.runs.owners import Ending, Owner, RunOutcome
from controlcenter.serving.profiles.models import (
    Explanation,
    ExplanationBackground,
    ExplanationState,
    ExplanationView,
    Profile,
)

KIND = "explaining"
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Explained:
    """What a worker found for one explanation: a result, or why there is none.

    Args:
        revision: Of the profile as it was explained: the loop may have scored it again since it was
            asked for. None: there was nothing to explain.
    """

    explanation_id: int
    result: dict[str, Any] | None
    error: str = ""
    revision: int | None = None


@dataclass(frozen=True)
class Question:
    """How a score shall be explained: by which parts, compared with what."""

    view: str = ExplanationView.EVIDENCE
    background: str = ExplanationBackground.SAMPLE

    def as_fields(self) -> dict[str, str]:
        """The question as columns of an explanation."""
        return {"view": self.view, "background": self.background}


USUAL = Question()


def current(profile: Profile, question: Question = USUAL) -> Explanation | None:
    """The cached explanation of the profile's present score, whatever its state."""
    if profile.rule_revision is None:
        return None
    return Explanation.objects.filter(
        profile=profile,
        model_version=profile.model_version_id,
        rule_revision=profile.rule_revision,
        profile_revision=profile.revision,
        **question.as_fields(),
    ).first()


@transaction.atomic
def request(profile: Profile, question: Question = USUAL) -> Explanation:
    """The explanation of the present score; one that is not there yet is queued.

    Raises:
        Conflict: if the profile has no score.
    """
    if profile.model_version_id is None or profile.rule_revision is None:
        raise Conflict(
            f"User {profile.user_id!r} has no score: a refresh gives one whose dataset has this "
            "user, or which comes after the user's first event."
        )
    of_this_score: dict[str, Any] = {
        "model_version_id": profile.model_version_id,
        "rule_revision": profile.rule_revision,
        "profile_revision": profile.revision,
    }
    identity: dict[str, Any] = {**of_this_score, **question.as_fields()}
    explanation, new = Explanation.objects.get_or_create(profile=profile, **identity)
    if new:  # what explained an earlier score is of no use any more
        Explanation.objects.filter(profile=profile).exclude(**of_this_score).delete()
    if explanation.state == ExplanationState.FAILED:
        Explanation.objects.filter(pk=explanation.pk).update(
            state=ExplanationState.PENDING, error="", requested_at=Now()
        )
    if explanation.state != ExplanationState.READY:
        ensure_run(profile.workspace)
    return explanation


def ensure_run(workspace: Workspace) -> None:
    """One queued run explains all that is pending in the workspace."""
    Workspace.objects.select_for_update().get(pk=workspace.pk)
    queued = Run.objects.filter(kind=KIND, subject=str(workspace.pk), status=RunStatus.QUEUED)
    if queued.exists():
        return
    bound = structlog.contextvars.get_contextvars()
    queue_run(
        workspace=workspace,
        kind=KIND,
        subject=str(workspace.pk),
        request_id=str(bound.get("request_id", "")),
    )


def wait(explanation: Explanation, *, seconds: float) -> Explanation:
    """Look again until it is no longer pending, at most ``seconds``.

    It may be gone: whoever asks for a newer score removes it, and waits for the same worker.
    """
    deadline = time.monotonic() + seconds
    same = Explanation.objects.filter(
        profile=explanation.profile_id, view=explanation.view, background=explanation.background
    )
    while explanation.state == ExplanationState.PENDING and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        explanation = same.order_by("-pk").first() or explanation
    return explanation


def pending(workspace_id: uuid.UUID) -> list[Explanation]:
    """What a worker should compute now, oldest first.

    A profile that is of another version or other rules since is left out: its old explanation is of
    no use.
    """
    return list(
        Explanation.objects.filter(
            profile__workspace=workspace_id,
            state=ExplanationState.PENDING,
            profile__model_version=F("model_version"),
            profile__rule_revision=F("rule_revision"),
        )
        .select_related("profile", "model_version")
        .order_by("requested_at")[:500]
    )


def commit_explained(commit: Commit, explained: Iterable[Explained]) -> None:
    """Within a run's transaction: results are there; another batch may be waiting."""
    for answer in explained:
        state = ExplanationState.READY if answer.result is not None else ExplanationState.FAILED
        Explanation.objects.filter(pk=answer.explanation_id).update(
            state=state,
            result=answer.result,
            error=answer.error,
            explained_revision=answer.revision,
            ready_at=Now(),
        )


class ExplanationOwner(Owner[Explanation]):
    """Where a batch failed, those who wait for it are told."""

    def ended(self, row: Explanation | None, run: Run | None, ending: Ending) -> None:
        if ending.outcome is RunOutcome.FAILED and run is not None:
            Explanation.objects.filter(
                profile__workspace=run.workspace_id, state=ExplanationState.PENDING
            ).update(state=ExplanationState.FAILED, error=ending.sentence)


@transaction.atomic
def clear(*, workspace: Workspace, account: Account) -> int:
    """Forget all explanations of the workspace."""
    deleted, _ = Explanation.objects.filter(profile__workspace=workspace).delete()
    record(
        account=account,
        workspace=workspace,
        action="explanations.clear",
        target=workspace,
        details={"deleted": deleted},
    )
    return deleted


def register_kind() -> None:
    """Tell the engine of the run this room needs."""
    kinds.register(kinds.Kind(KIND, "explain", ExplanationOwner()))
