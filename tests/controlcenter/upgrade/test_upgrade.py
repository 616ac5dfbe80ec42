"""An installation of before the rooms were moved is upgraded: nothing is lost, and its tables are
then those of a fresh one.

``installation.sql.gz`` is a dump of such an installation, cut to a few users: a workspace with two
completed tasks and one that waits, two model versions, a schedule that has fired, a webhook with
deliveries, an explanation, an event of the log, and the loop that was on.
"""

import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from django.db import connection

from controlcenter.embedded.locate import REPOSITORY

DUMP = Path(__file__).with_name("installation.sql.gz")
WAITING = "22222222-2222-4222-8222-222222222222"
SCHEMA = """
SELECT 'column', table_name || '.' || column_name, concat_ws(' ', data_type,
    character_maximum_length, is_nullable, column_default)
FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL SELECT 'constraint', conrelid::regclass || ' ' || conname, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT 'trigger', tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT 'sequence', sequencename, '' FROM pg_sequences WHERE schemaname = 'public'
UNION ALL SELECT 'options', relname, reloptions::text FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
"""
CASTS = re.compile(r"::(character varying|text)(\[\])?|[()]")
COUNTED = (
    "accounts_account", "accounts_membership", "artifacts_artifact", "audit_auditentry",
    "datasets_dataset", "events_event", "incremental_loop", "profiles_callpeer",
    "profiles_explanation", "profiles_item", "profiles_profile", "registry_activeversion",
    "registry_modelversion", "rules_rule", "schedules_fire", "schedules_schedule", "tasks_chore",
    "tasks_outbox", "tasks_run", "tasks_task", "tasks_taskevent", "tasks_transition",
    "webhooks_delivery", "webhooks_webhook",
)  # fmt: skip
READS = """
import json
from controlcenter.modelling.registry.models import ModelVersion
from controlcenter.modelling.task_schedules.action import spec_of
from controlcenter.modelling.tasks.models import Task, Transition
from controlcenter.modelling.tasks.queueing import waiting
from controlcenter.modelling.tasks.versions import kept_version
from controlcenter.platform.log.edges import edges_between
from controlcenter.platform.runs.claims import claim
from controlcenter.platform.runs.models import Run
from controlcenter.platform.schedules.models import Fire
from controlcenter.platform.webhooks.models import Delivery
from controlcenter.serving.incremental.queries import present_graph

tasks = {task.name: task for task in Task.objects.all()}
waits = tasks["waiting"]
run = waits.runs.get()
held = claim(run.pk, worker="test")
fire = Fire.objects.get()
spec = spec_of(fire.schedule)
print(json.dumps({
    "stages": sorted(run.kind for run in tasks["Demo"].runs.all()),
    "made": kept_version(tasks["Demo"]).number,
    "versions": ModelVersion.objects.count(),
    "rank before creation": str(waits.created_at - Run.objects.get(pk=run.pk).rank_at),
    "claimed": [held.kind, Task.objects.get(pk=waits.pk).state],
    "edges": [row[3] for rows in edges_between(waits.workspace_id) for row in rows],
    "graph": len(present_graph(waits.workspace_id)),
    "schedule": [spec.workflow, spec.dataset.name, spec.parameters["epochs"], spec.priority],
    "fire": Task.objects.get(pk=fire.result_id).name,
    "deliveries": sorted([delivery.payload["data"]["to"], Transition.objects.get(
        pk=delivery.event_id, task=delivery.subject_id
    ).target] for delivery in Delivery.objects.exclude(subject_id=None)),
}))
"""


def connect(database):
    params = connection.get_connection_params()
    names = {name: params[name] for name in ("host", "port", "user", "password")}
    return psycopg.connect(**names, dbname=database, autocommit=True)


@pytest.fixture
def installation(db):
    """Name of a database with what the dump has."""
    name = f"before_{connection.settings_dict['NAME']}"
    with connect("postgres") as server:
        server.execute(f'DROP DATABASE IF EXISTS "{name}"')
        server.execute(f'CREATE DATABASE "{name}"')
        with connect(name) as old:
            old.execute(gzip.decompress(DUMP.read_bytes()).decode())
            # The transactions of the server that was dumped are not of this one.
            old.execute("UPDATE public.events_event SET xid = pg_current_xact_id()")
        yield name
        server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def manage(database, *words):
    """Run a command of the control center on another database."""
    base, _, _ = os.environ["UPS_DATABASE_URL"].rpartition("/")
    done = subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=REPOSITORY,
        env={**os.environ, "UPS_DATABASE_URL": f"{base}/{database}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def schema(link):
    """What the tables are made of, without casts: a restored dump spells more of them."""
    return {
        (kind, name, CASTS.sub("", text or ""))
        for kind, name, text in link.execute(SCHEMA).fetchall()
    }


def rows(database):
    with connect(database) as link:
        return {
            table: link.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]
            for table in COUNTED
        }


def test_an_installation_of_before_keeps_its_data_and_becomes_as_a_fresh_one(installation):
    before = rows(installation)
    assert min(before.values()) > 0, before
    manage(installation, "migrate")
    assert "No migrations to apply" in manage(installation, "migrate")
    assert rows(installation) == before
    with connect(installation) as upgraded, connect(connection.settings_dict["NAME"]) as fresh:
        assert schema(upgraded) ^ schema(fresh) == set()
        assert len(schema(fresh)) > 1000
    found = json.loads(manage(installation, "shell", "-v0", "-c", READS).splitlines()[-1])
    assert found == {
        "stages": ["building", "embedding", "training"],
        "made": 1,
        "versions": 2,
        "rank before creation": "0:50:00",
        "claimed": ["building", "building"],
        "edges": ["u1"],
        "graph": 9,
        "schedule": ["refresh", "Synthetic telecom population", 3, 0],
        "fire": "nightly",
        "deliveries": [["completed", "completed"], ["training", "training"]],
    }
