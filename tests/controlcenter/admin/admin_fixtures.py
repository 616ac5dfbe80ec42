"""Two workspaces with a row of everything, and browsers signed in by role."""

import uuid
from dataclasses import dataclass
from typing import Any

import pytest
from controlcenter_fixtures import make_dataset, make_schedule, make_task
from django.test import Client
from stored_reports import least_evaluation, least_links, least_score

from controlcenter.modelling.evaluations.models import EvaluationReport
from controlcenter.modelling.registry.services import Trained
from controlcenter.modelling.rollouts.services import activate
from controlcenter.modelling.rules.models import Rule, RuleRevision
from controlcenter.modelling.tasks.versions import register_version
from controlcenter.platform.accounts.models import Account, Membership, Role, Token, Workspace
from controlcenter.platform.accounts.services import create_workspace
from controlcenter.platform.artifacts.models import Artifact
from controlcenter.platform.audit.models import AuditEntry
from controlcenter.platform.log.models import ConsumerPosition, Event
from controlcenter.platform.runs.models import Run
from controlcenter.platform.webhooks import services as webhooks
from controlcenter.platform.webhooks.models import Delivery
from controlcenter.serving.incremental.models import Loop
from controlcenter.serving.ingestion.models import Ingestion
from controlcenter.serving.profiles.models import Item, Profile
from ml.contracts.schema import TELECOM

METRICS = {
    "links": least_links(
        {
            "user-orders-product": {
                "model": {"mrr": 0.4, "auc": 0.9},
                "popularity": {"mrr": 0.1, "auc": 0.7},
                "ease": {"mrr": 0.3, "auc": 0.8},
            }
        }
    ),
    "score": least_score(auc=0.85, rules_auc=0.75, boosting_auc=0.84),
}


@dataclass(frozen=True)
class Filled:
    """A workspace and one row of each model in it, by the model's label."""

    workspace: Workspace
    mark: str
    rows: dict[str, Any]

    def pk(self, label: str) -> Any:
        return self.rows[label].pk


def trained(mark: str) -> Trained:
    return Trained(
        version_id=uuid.uuid4(),
        schema=TELECOM.to_dict(),
        schema_hash=TELECOM.hash,
        rule_revision=1,
        rules=[],
        rules_sitting_out={},
        metrics=METRICS,
        code_version=mark,
    )


def fill(workspace: Workspace, owner: Account, mark: str) -> Filled:
    dataset = make_dataset(workspace, name=f"data {mark}")
    old = register_version(make_task(workspace, dataset, state="completed"), trained(mark))
    version = register_version(make_task(workspace, dataset, state="completed"), trained(mark))
    activate(version, actor=mark, reason="test")
    task = make_task(workspace, dataset, name=f"task {mark}")
    Rule.objects.filter(workspace=workspace, name="loyal").update(name=f"rule_{mark}")
    guest = Account.objects.create_user(f"guest_{mark}")
    profile = Profile.objects.create(
        workspace=workspace,
        user_id=f"user-{mark}",
        attributes={"monthly_fee": 80.5, "plan": mark},
        embedding=[1.0] * 64,
        model_version=version,
        rule_revision=1,
        final_score=0.5,
        rule_hits={f"rule_{mark}": True},
        recommendations=[{"type": "app", "item_id": f"app-{mark}", "score": 1, "reasons": [mark]}],
    )
    webhook, _ = webhooks.create(
        workspace=workspace,
        account=owner,
        fields={"name": f"hook {mark}", "url": f"https://{mark}.example/{mark}"},
    )
    rows: dict[str, Any] = {
        "accounts.Workspace": workspace,
        "accounts.Membership": Membership.objects.create(
            workspace=workspace, account=guest, role=Role.VIEWER
        ),
        "accounts.Token": Token.objects.create(user=owner, name=f"token {mark}")[0],
        "artifacts.Artifact": Artifact.objects.create(
            workspace=workspace, key=f"datasets/{mark}", name=mark, size=1, sha256="0" * 64
        ),
        "audit.AuditEntry": AuditEntry.objects.create(
            workspace=workspace, actor=mark, action="test", target_type="t", target_id=mark
        ),
        "datasets.Dataset": dataset,
        "evaluations.EvaluationReport": EvaluationReport.objects.create(
            task_id=old.task_id,
            iteration=0,
            model_version=old,
            metrics={"links.mrr": 0.4},
            report=least_evaluation(**METRICS, notes=[mark]),
        ),
        "log.Event": Event.objects.create(
            workspace=workspace,
            event_id=uuid.uuid4(),
            source=mark,
            type="use",
            timestamp="2026-01-01T00:00:00Z",
            actor=f"user-{mark}",
            target=f"app-{mark}",
            target_type="app",
        ),
        "log.ConsumerPosition": ConsumerPosition.objects.create(
            workspace=workspace, consumer=f"consumer {mark}"
        ),
        "events.Ingestion": Ingestion.objects.create(workspace=workspace, reason=mark),
        "incremental.Loop": Loop.objects.create(workspace=workspace, version=old, trouble=mark),
        "profiles.Item": Item.objects.create(
            workspace=workspace, type="app", item_id=f"app-{mark}"
        ),
        "profiles.Profile": profile,
        "registry.ModelVersion": old,
        "rules.Rule": Rule.objects.get(workspace=workspace, name=f"rule_{mark}"),
        "rules.RuleRevision": RuleRevision.objects.create(
            workspace=workspace, revision=7, rules=[], actor=mark, change=mark
        ),
        "schedules.Schedule": make_schedule(workspace, dataset, name=f"schedule {mark}"),
        "runs.Run": Run.objects.create(
            workspace=workspace, kind="validation", subject=mark, queue="ingest", status="done"
        ),
        "tasks.Task": task,
        "webhooks.Webhook": webhook,
        "webhooks.Delivery": Delivery.objects.create(
            webhook=webhook, payload={"type": "ping", "data": {"name": mark}}, status="failed"
        ),
    }
    return Filled(workspace, mark, rows)


@pytest.fixture
def alpha(workspace: Workspace, owner: Account) -> Filled:
    return fill(workspace, owner, "alphamark")


@pytest.fixture
def beta(db: None) -> Filled:
    stranger = Account.objects.create_user("stranger")
    return fill(create_workspace(slug="beta", name="Beta", owner=stranger), stranger, "betamark")


def browser_of(account: Account, *, staff: bool = True) -> Client:
    Account.objects.filter(pk=account.pk).update(is_staff=staff)
    client = Client()
    client.force_login(account)
    return client


@pytest.fixture
def browsers(team: Any, beta: Filled) -> dict[str, Client]:
    """A browser for each role in alpha, and for those who have none there."""
    stranger = Account.objects.get(username="stranger")
    lonely = Account.objects.create_user("lonely")
    root = Account.objects.create_superuser("root")
    found = {role: browser_of(account) for role, account in team.accounts.items()}
    return found | {
        "stranger": browser_of(stranger),
        "lonely": browser_of(lonely),
        "superuser": browser_of(root),
    }


@pytest.fixture
def as_(browsers: dict[str, Client]) -> Any:
    return browsers.__getitem__
