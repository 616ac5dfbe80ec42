"""Any order of claims, beats, commits, cancels, losses and reminders: one effect, once.

A model-based test on PostgreSQL. Time is moved by setting leases into the past.
"""

import io
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from django.db.models import Count
from django.db.models.functions import Now
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from controlcenter.modelling.tasks import services, states
from controlcenter.modelling.tasks.models import Task, TaskEvent, Transition
from controlcenter.modelling.tasks.spec.parameters import defaults
from controlcenter.modelling.tasks.workflows import Workflow
from controlcenter.platform.accounts.models import Workspace
from controlcenter.platform.artifacts.models import Artifact
from controlcenter.platform.artifacts.store import Stored, store
from controlcenter.platform.common.errors import Conflict
from controlcenter.platform.runs import claims, commits, endings, reaper
from controlcenter.platform.runs.models import Outbox, Run, RunStatus

ENDINGS = {
    "fail": {"sentence": "no"},
    "retry_later": {"reason": "r."},
    "release": {"reason": "r."},
}


class Protocol(RuleBasedStateMachine):
    claims = Bundle("claims")

    @initialize()
    def begin(self):
        self.workspace = Workspace.objects.create(slug=f"w{Workspace.objects.count()}", name="w")
        self.committed: list[tuple[object, int, str]] = []
        self.was_final: dict[object, str] = {}
        self.objects = self.processes = 0
        self.whole: set[object] = set()

    def tasks(self):
        return Task.objects.filter(workspace=self.workspace)

    def runs(self):
        return Run.objects.filter(workspace=self.workspace)

    @rule(
        priority=st.integers(-2, 2),
        workflow=st.sampled_from([Workflow.REFRESH, Workflow.STANDARD, Workflow.CONTINUOUS]),
    )
    def create(self, priority, workflow):
        if self.tasks().count() >= 4:
            return
        task = Task.objects.create(
            workspace=self.workspace,
            workflow=workflow,
            parameters=defaults() | {"max_iterations": 2},
            priority=priority,
        )
        services.queue_first(task)

    @rule(target=claims, index=st.integers(0, 30))
    def deliver(self, index):
        """A message about any run, at any time, also a second time."""
        known = list(self.runs().order_by("created_at", "pk"))
        if not known:
            return None
        self.processes += 1
        run_id = known[index % len(known)].pk
        return claims.claim(
            run_id, worker="worker", machine=self.workspace.slug, pid=self.processes
        )

    @rule(held=claims)
    def die(self, held):
        """The process of a claim dies, and the one that takes its place looks for what it held."""
        if held is None:
            return
        holds = self.holds(held)
        pid = Run.objects.get(pk=held.run_id).lease_pid if holds else 0
        assert reaper.release_dead("elsewhere", lambda _: False) == 0
        assert reaper.release_dead(self.workspace.slug, lambda other: other != pid) == int(holds)
        assert not self.holds(held)

    @rule(held=claims)
    def beat(self, held):
        if held is not None:
            try:
                claims.beat(held, [{"share": 0.5}])
            except claims.Fenced:
                assert not self.holds(held, strictly=True)

    @rule(held=claims, score=st.sampled_from([0.1, 0.2]))
    def commit(self, held, score):
        if held is None:
            return
        stored = self.stored(held, "result")
        try:
            with commits.committing(held) as commit:
                commit.artifact(stored, "result")
                commit.metrics = {
                    "epoch": held.epoch,
                    "metrics": {"links.mrr": score},
                    "suggestions": [{"action": "augment"}],
                }
        except claims.Fenced:
            assert not self.holds(held)
        except claims.CancelRequested:
            assert Task.objects.get(pk=held.owner_id).cancel_requested_at is not None
        else:
            self.committed.append((held.owner_id, held.iteration, held.kind))

    @rule(held=claims)
    def checkpoint(self, held):
        if held is None:
            return
        try:
            commits.save_checkpoint(held, self.stored(held, "checkpoint"))
        except claims.Fenced:
            assert not self.holds(held)

    def stored(self, held, name):
        """An object of the claim, each time another; one that is refused need not be there."""
        self.objects += 1
        if not self.holds(held):
            return Stored(f"{held.prefix}/refused-{self.objects}", 1, "0" * 64)
        content = f"{held.run_id} {held.epoch} {self.objects}".encode()
        key = f"{held.prefix}/{name}-{self.objects}"
        return store().put_file(key, io.BytesIO(content), size=len(content))

    @rule(held=claims, how=st.sampled_from(sorted(ENDINGS)))
    def end_otherwise(self, held, how):
        if held is None:
            return
        told = ENDINGS[how]
        try:
            getattr(endings, how)(held, **told)
        except claims.Fenced:
            assert not self.holds(held)

    def holds(self, held, *, strictly=False):
        mine = Run.objects.filter(pk=held.run_id, epoch=held.epoch, status=RunStatus.RUNNING)
        return (mine.filter(lease_expires_at__gt=Now()) if strictly else mine).exists()

    @rule()
    def leases_end(self):
        self.runs().filter(status=RunStatus.RUNNING).update(
            lease_expires_at=Now() - timedelta(seconds=1)
        )

    @rule()
    def time_passes(self):
        long_ago = Now() - timedelta(minutes=5)
        self.runs().update(available_at=long_ago)
        Outbox.objects.update(sent_at=long_ago)
        for name in ("cancel_requested_at", "suspend_requested_at"):
            self.tasks().filter(**{f"{name}__isnull": False}).update(**{name: long_ago})

    @rule()
    def reap(self):
        reaper.reap()

    @rule(index=st.integers(0, 3), verb=st.sampled_from(["cancel", "suspend", "resume"]))
    def ask(self, index, verb):
        tasks = list(self.tasks().order_by("created_at", "pk"))
        if not tasks:
            return
        task = tasks[index % len(tasks)]
        try:
            getattr(services, verb)(task=task, account=None)
        except Conflict:
            refused = {
                "cancel": task.state in states.FINAL,
                "suspend": task.state in (*states.FINAL, states.PENDING)
                or task.cancel_requested_at is not None,
                "resume": task.state != states.SUSPENDED,
            }
            assert refused[verb]

    @invariant()
    def at_most_one_live_epoch_a_task_and_one_active_task(self):
        if not hasattr(self, "workspace"):
            return
        live = self.runs().filter(status__in=["queued", "running"])
        assert all(row["n"] == 1 for row in live.values("owner_id").annotate(n=Count("pk")))
        assert self.tasks().filter(state__in=states.ACTIVE).count() <= 1

    @invariant()
    def final_states_stay_and_each_stage_is_done_once(self):
        if not hasattr(self, "workspace"):
            return
        for task in self.tasks():
            earlier = self.was_final.get(task.pk)
            assert earlier in (None, task.state)
            if task.state in states.FINAL:
                self.was_final[task.pk] = task.state
                assert not task.runs.filter(status__in=["queued", "running"]).exists()
            elif task.state == states.SUSPENDED:
                assert not task.runs.filter(status=RunStatus.RUNNING).exists()
                assert task.left_state in states.STAGES
                assert task.suspend_requested_at is None
            elif not task.runs.filter(status=RunStatus.RUNNING).exists():
                queued = task.runs.filter(status=RunStatus.QUEUED)
                assert queued.exists(), "nobody works on it"
                told = Outbox.objects.filter(run_id=queued.get().pk)
                assert told.exists(), "nobody is told of it"
        done = self.runs().filter(status=RunStatus.DONE).order_by()
        doubled = done.values("owner_id", "iteration", "kind").annotate(n=Count("pk"))
        assert not doubled.filter(n__gt=1).exists()
        assert len(self.committed) == len(set(self.committed)) == done.count()

    @invariant()
    def every_artifact_exists_with_its_sha256(self):
        if not hasattr(self, "workspace"):
            return
        for one in Artifact.objects.filter(workspace=self.workspace).exclude(pk__in=self.whole):
            with tempfile.TemporaryDirectory() as folder:
                store().fetch(one.key, Path(folder) / "object", sha256=one.sha256)
            self.whole.add(one.pk)  # a key is written once

    @invariant()
    def every_path_is_one_of_the_machine(self):
        if not hasattr(self, "workspace"):
            return
        for task in self.tasks():
            assert Transition.objects.filter(task=task).count() == task.version
            told = TaskEvent.objects.filter(task=task, kind="state")
            assert told.count() == task.version
            assert task.iteration < 2
            state = states.PENDING
            for row in Transition.objects.filter(task=task).order_by("pk"):
                assert row.source == state
                assert row.target in states.EDGES[state]
                state = row.target
            assert state == task.state


@pytest.mark.django_db
def test_the_protocol_holds_in_any_order():
    Protocol.TestCase.settings = settings(
        max_examples=30,
        stateful_step_count=50,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    Protocol.TestCase("runTest").runTest()
