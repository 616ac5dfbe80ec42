"""A workspace with an account a role, a stranger with a workspace of his own, and their clients."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import transaction
from rest_framework.test import APIClient
from stored_reports import least_links, least_score

from controlcenter.modelling.datasets.models import Dataset, DatasetState
from controlcenter.modelling.registry.models import ModelVersion
from controlcenter.modelling.registry.services import Trained
from controlcenter.modelling.rollouts.services import activate
from controlcenter.modelling.task_schedules.action import TASKS, describe
from controlcenter.modelling.tasks.models import Task
from controlcenter.modelling.tasks.spec import parameters
from controlcenter.modelling.tasks.spec.task_spec import TaskSpec
from controlcenter.modelling.tasks.versions import register_version
from controlcenter.platform.accounts.models import Account, Membership, Role, Workspace
from controlcenter.platform.accounts.services import create_workspace
from controlcenter.platform.artifacts.store import store
from controlcenter.platform.common.clock import now
from controlcenter.platform.schedules.models import Schedule
from ml.contracts.schema import TELECOM


@dataclass(frozen=True)
class Team:
    """The accounts of one workspace and a client for each, by role."""

    accounts: dict[str, Account]
    clients: dict[str, APIClient]


def client_of(account: Account | None) -> APIClient:
    """A client signed in as the account (None: nobody), without a password or a token."""
    client = APIClient(raise_request_exception=False)
    if account is not None:
        client.force_authenticate(account)
    return client


@pytest.fixture
def owner(db: None) -> Account:
    return Account.objects.create_user("owner")


@pytest.fixture
def workspace(owner: Account) -> Workspace:
    return create_workspace(slug="alpha", name="Alpha", owner=owner)


@pytest.fixture
def team(workspace: Workspace, owner: Account) -> Team:
    """One account a role in ``workspace``."""
    accounts = {Role.OWNER.value: owner}
    for role in (Role.VIEWER, Role.ANALYST, Role.OPERATOR):
        account = Account.objects.create_user(role.value, home_workspace=workspace)
        Membership.objects.create(workspace=workspace, account=account, role=role)
        accounts[role.value] = account
    return Team(accounts, {role: client_of(account) for role, account in accounts.items()})


@pytest.fixture
def operator(team: Team) -> Account:
    return team.accounts["operator"]


@pytest.fixture
def as_viewer(team: Team) -> APIClient:
    return team.clients["viewer"]


@pytest.fixture
def as_analyst(team: Team) -> APIClient:
    return team.clients["analyst"]


@pytest.fixture
def as_operator(team: Team) -> APIClient:
    return team.clients["operator"]


@pytest.fixture
def as_owner(team: Team) -> APIClient:
    return team.clients["owner"]


@pytest.fixture
def anonymous(db: None) -> APIClient:
    return client_of(None)


@pytest.fixture
def stranger(db: None) -> Account:
    return Account.objects.create_user("stranger")


@pytest.fixture
def other_workspace(stranger: Account) -> Workspace:
    return create_workspace(slug="beta", name="Beta", owner=stranger)


@pytest.fixture
def as_stranger(stranger: Account, other_workspace: Workspace) -> APIClient:
    return client_of(stranger)


def make_dataset(
    workspace: Workspace, *, name: str = "telecom", state: str = DatasetState.READY, **more: Any
) -> Dataset:
    """A dataset's row, without objects in the store."""
    return Dataset.objects.create(
        workspace=workspace,
        name=name,
        filename=f"{name}.zip",
        state=state,
        schema=TELECOM.to_dict(),
        schema_hash=TELECOM.hash,
        **more,
    )


@pytest.fixture
def ready_dataset(workspace: Workspace) -> Dataset:
    return make_dataset(workspace)


def make_task(workspace: Workspace, dataset: Dataset, **more: Any) -> Task:
    """A task's row, without runs."""
    fields = {"workflow": "refresh", "mode": "full_retrain", "parameters": parameters.defaults()}
    return Task.objects.create(workspace=workspace, dataset=dataset, **(fields | more))


def make_schedule(workspace: Workspace, dataset: Dataset, **more: Any) -> Schedule:
    """A schedule's row, every night at three."""
    fields = {"name": "every night", "cron": "0 3 * * *", "decided_until": now()}
    fields |= task_to_make(dataset)
    return Schedule.objects.create(workspace=workspace, **(fields | more))


def task_to_make(dataset: Dataset, **more: Any) -> dict[str, Any]:
    """What a schedule says of the task that it makes: action and spec."""
    spec = TaskSpec("refresh", parameters.defaults(), dataset=dataset, **more)
    return {"action": TASKS.name, "spec": describe(spec)}


MakeVersion = Callable[..., ModelVersion]


@pytest.fixture
def model_version(workspace: Workspace) -> MakeVersion:
    """``model_version(active=True)`` makes the next version of ``workspace`` (or another)."""

    def make(
        *,
        of: Workspace = workspace,
        dataset: Dataset | None = None,
        active: bool = True,
        **more: Any,
    ) -> ModelVersion:
        dataset = dataset or Dataset.objects.filter(workspace=of).first() or make_dataset(of)
        trained = {
            "version_id": uuid.uuid4(),
            "schema": TELECOM.to_dict(),
            "schema_hash": TELECOM.hash,
            "rule_revision": 1,
            "rules": [],
            "rules_sitting_out": {},
            "metrics": {"links": least_links({}), "score": least_score()},
            "code_version": "test",
        }
        task = make_task(of, dataset, state="completed")
        with transaction.atomic():
            version = register_version(task, Trained(**(trained | more)))
            if active:
                activate(version, actor="test", reason="test")
        return version

    return make


@pytest.fixture
def own_bucket(settings: Any) -> None:
    """A bucket for a test that removes what no row of its own knows."""
    settings.OBJECT_STORE_URL += f"-{uuid.uuid4().hex[:12]}"
    store().client.make_bucket(store().bucket)
