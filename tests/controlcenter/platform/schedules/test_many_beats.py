"""Any order of looks by several beats at once, kills, time, endings and changes: one task a fire.

A model-based test on PostgreSQL: what the rows say is what a plain model says after each step. The
database's clock is replaced by one that the test moves.
"""

import threading
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from unittest import mock

import pytest
from controlcenter_fixtures import make_dataset, task_to_make
from django.db import connection
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from controlcenter.modelling.tasks import services as tasks
from controlcenter.modelling.tasks import states
from controlcenter.modelling.tasks.models import Task
from controlcenter.platform.accounts.models import Account, Workspace
from controlcenter.platform.schedules import firing, services
from controlcenter.platform.schedules.models import Fire, Schedule

MINUTE = timedelta(minutes=1)
CRONS = {
    "* * * * *": lambda moment: True,
    "*/20 * * * *": lambda moment: moment.minute % 20 == 0,
    "5 * * * *": lambda moment: moment.minute == 5,
    "30 */2 * * *": lambda moment: moment.minute == 30 and moment.hour % 2 == 0,
}


KINDS = st.tuples(
    st.sampled_from(sorted(CRONS)),
    st.sampled_from(["make_up", "skip"]),
    st.sampled_from(["wait", "queue", "skip"]),
)
SPANS = st.one_of(st.integers(0, 90), st.integers(60, 20 * 60), st.integers(3600, 7 * 3600)).map(
    lambda seconds: timedelta(seconds=seconds)
)
WHICH = st.integers(0, 2)


@dataclass
class Model:
    """What a schedule ought to have done."""

    cron: str
    missed: str
    overlap: str
    since: datetime
    enabled: bool = True
    open_tasks: int = 0
    fires: dict[datetime, tuple[str, int]] = field(default_factory=dict)

    def due(self, now):
        first = self.since.replace(second=0, microsecond=0) + MINUTE
        count = max(int((now - first) / MINUTE) + 1, 0) if first <= now else 0
        return [m for m in (first + n * MINUTE for n in range(count)) if CRONS[self.cron](m)]

    @property
    def waiting(self):
        return next((at for at, (outcome, _) in self.fires.items() if outcome == "waiting"), None)

    def look(self, now):
        if not self.enabled:
            return
        if self.waiting and not self.open_tasks:
            self.fires[self.waiting] = ("created", self.fires[self.waiting][1])
            self.open_tasks += 1
        times = self.due(now)
        self.since = now
        if times:
            self.fires[times[-1]] = (self.outcome(now - times[-1]), len(times) - 1)

    def outcome(self, late):
        is_late = late > timedelta(minutes=5)
        if is_late and self.missed == "skip":
            return "skipped"
        if self.open_tasks and self.overlap == "skip":
            return "skipped"
        if self.open_tasks and self.overlap == "wait":
            return "skipped" if self.waiting else "waiting"
        self.open_tasks += 1
        return "made_up" if is_late else "created"

    def switch(self, now):
        if self.enabled and self.waiting:
            self.fires[self.waiting] = ("skipped", self.fires[self.waiting][1])
        self.enabled = not self.enabled
        self.since = now


class Killed(BaseException):
    """The process ends here."""


class Beats(RuleBasedStateMachine):
    @initialize(kinds=st.tuples(KINDS, KINDS, KINDS))
    def begin(self, kinds):
        self.account, _ = Account.objects.get_or_create(username="anna")
        number = Workspace.objects.count()
        self.workspace = Workspace.objects.create(slug=f"beats-{number}", name="Beats")
        dataset = make_dataset(self.workspace)
        self.now = datetime(2026, 6, 1, 12, 0, 20, tzinfo=UTC)
        self.models: dict[object, Model] = {}
        self.clock = mock.patch("controlcenter.platform.common.clock.now", self.time)
        self.clock.start()
        for index, (cron, missed, overlap) in enumerate(kinds):
            fields = {"name": f"s{index}", "cron": cron, "missed": missed, "overlap": overlap}
            fields |= task_to_make(dataset)
            made = services.create(workspace=self.workspace, account=self.account, fields=fields)
            self.models[made.pk] = Model(cron, missed, overlap, since=self.now)

    def time(self):
        return self.now

    def teardown(self):
        if hasattr(self, "clock"):
            self.clock.stop()
            Schedule.objects.all().delete()

    @rule(span=SPANS)
    def time_passes(self, span):
        self.now += span

    @rule(beats=st.integers(1, 3), span=SPANS)
    def look(self, beats, span):
        """Several processes at once; then one more, for what they left to each other."""
        self.now += span
        errors: list[BaseException] = []

        def work():
            try:
                firing.fire_due()
            except BaseException as error:
                errors.append(error)
            finally:
                connection.close()

        threads = [threading.Thread(target=work) for _ in range(beats)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        firing.fire_due()
        for model in self.models.values():
            model.look(self.now)

    @rule(point=st.sampled_from(["carry_out", "write", "record", "set_next"]), span=SPANS)
    def killed_and_started_again(self, point, span):
        """A look ends in the middle; what it had not committed never was."""
        self.now += span
        with mock.patch.object(firing, point, side_effect=Killed), suppress(Killed):
            firing.fire_due()
        firing.fire_due()
        for model in self.models.values():
            model.look(self.now)

    def chosen(self, which):
        """A schedule, as a row and as a model."""
        key = list(self.models)[which]
        return Schedule.objects.get(pk=key), self.models[key]

    @rule(which=WHICH)
    def tasks_end(self, which):
        row, model = self.chosen(which)
        made = row.fires.values("result_id")
        for task in Task.objects.filter(pk__in=made, state__in=states.INCOMPLETE):
            tasks.cancel(task=task, account=None)
        model.open_tasks = 0

    @rule(which=WHICH)
    def switch(self, which):
        row, model = self.chosen(which)
        fields = {"enabled": not model.enabled}
        services.update(schedule=row, account=self.account, fields=fields)
        model.switch(self.now)

    @rule(which=WHICH, cron=st.sampled_from(sorted(CRONS)))
    def change(self, which, cron):
        row, model = self.chosen(which)
        services.update(schedule=row, account=self.account, fields={"cron": cron})
        if cron != model.cron:
            model.look(self.now)
            model.cron, model.since = cron, self.now

    @invariant()
    def the_rows_say_what_the_model_says(self):
        for key, model in getattr(self, "models", {}).items():
            rows = Fire.objects.filter(schedule=key)
            assert {f.fire_time: (f.outcome, f.passed_over) for f in rows} == model.fires

    @invariant()
    def a_fire_has_one_task_where_it_made_one_and_each_task_one_fire(self):
        for key in getattr(self, "models", {}):
            rows = Fire.objects.filter(schedule=key)
            made = rows.filter(outcome__in=["created", "made_up"])
            assert made.filter(result_id__isnull=True).count() == 0
            assert rows.filter(result_id__isnull=False).count() == made.count()
        if hasattr(self, "workspace"):
            mine = Task.objects.filter(workspace=self.workspace)
            assert mine.count() == Fire.objects.filter(result_id__in=mine.values("pk")).count()


@pytest.mark.django_db(transaction=True)
def test_each_fire_time_has_at_most_one_task_in_any_order():
    Beats.TestCase.settings = settings(
        max_examples=15,
        stateful_step_count=20,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    Beats.TestCase("runTest").runTest()
