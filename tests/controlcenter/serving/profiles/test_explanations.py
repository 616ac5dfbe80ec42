"""Explanations: asked for once, computed by a worker, cached until the score is another."""

import pytest

from controlcenter.platform.audit.models import AuditEntry
from controlcenter.platform.runs.models import Run
from controlcenter.serving.ingestion.services import ingest
from controlcenter.serving.profiles import explanations
from controlcenter.serving.profiles.explanations import Explained, commit_explained
from controlcenter.serving.profiles.models import Explanation, Profile
from workers.runtime.runner import execute

RESULT = {
    "base": 0.1,
    "score": 0.4,
    "scale": "log odds",
    "summary": "rule loyal +0.30",
    "contributions": [{"player": "loyal", "kind": "rule", "value": True, "contribution": 0.3}],
    "neighbours": [
        {
            "player": "orders",
            "neighbours": 9,
            "tried": 9,
            "strongest": [
                {"type": "product", "id": "p1", "name": "A", "events": 2, "contribution": 0.1}
            ],
        }
    ],
    "additivity_error": 0.0,
    "standard_error": 0.0,
    "drift": 0.0,
    "method": "exact",
    "background": {"id": "bg-1", "kind": "sample", "size": 50, "seed": 7},
    "notes": ["held fixed"],
    "warnings": [],
}


@pytest.fixture(autouse=True)
def no_waiting(settings):
    settings.EXPLANATION_WAIT_SECONDS = 0.05


@pytest.fixture
def user(workspace, model_version):
    return Profile.objects.create(
        workspace=workspace,
        user_id="u1",
        model_version=model_version(),
        rule_revision=1,
        final_score=0.4,
    )


def url(user):
    return f"/api/v1/users/{user.user_id}/explanation/"


def queued():
    return Run.objects.filter(kind="explaining", status="queued")


def explaining(execution, error=""):
    """What a worker does, without the mathematics."""
    asked = explanations.pending(execution.claim.workspace_id)
    results = [Explained(one.pk, None if error else RESULT, error) for one in asked]
    execution.commit(lambda commit: commit_explained(commit, results))


def work(error=""):
    run = queued().get()
    assert execute(str(run.pk), lambda execution: explaining(execution, error)) == "done"


@pytest.mark.django_db(transaction=True)
class TestExplanation:
    def test_without_a_worker_the_answer_is_where_to_look(self, as_analyst, user):
        answer = as_analyst.get(url(user))
        assert answer.status_code == 202
        assert answer["Location"].endswith(f"{url(user)}?workspace=alpha")
        assert answer["Retry-After"] == "2"
        told = answer.json()
        assert (told["state"], told["user_id"], told["url"]) == (
            "pending",
            "u1",
            answer["Location"],
        )
        run = queued().get()
        assert (run.queue, run.workspace) == ("explain", user.workspace)

    def test_several_requests_wait_for_one_run(self, as_analyst, user, workspace):
        other = Profile.objects.create(
            workspace=workspace, user_id="u2", model_version=user.model_version, rule_revision=1
        )
        for one in (user, user, other):
            assert as_analyst.get(url(one)).status_code == 202
        assert queued().count() == 1
        assert Explanation.objects.count() == 2
        work()
        for one in (user, other):
            assert as_analyst.get(url(one)).json()["state"] == "ready"
        assert Run.objects.count() == 1

    def test_what_a_worker_found_is_answered_and_cached(self, as_analyst, user):
        as_analyst.get(url(user))
        work()
        answer = as_analyst.get(url(user))
        assert answer.status_code == 200
        told = answer.json()
        assert {k: told[k] for k in RESULT} == RESULT
        assert told["model_version"] == str(user.model_version_id)
        assert (told["rule_revision"], told["profile_revision"]) == (1, user.revision)
        assert not queued().exists()

    def test_a_worker_that_is_quick_answers_within_the_request(
        self, as_analyst, user, settings, monkeypatch
    ):
        settings.EXPLANATION_WAIT_SECONDS = 30
        monkeypatch.setattr(explanations.time, "sleep", lambda seconds: work())
        assert as_analyst.get(url(user)).status_code == 200

    def test_an_event_makes_the_cached_one_stale(self, as_analyst, user, workspace):
        as_analyst.get(url(user))
        work()
        use = {
            "event_id": "00000000-0000-4000-8000-000000000001",
            "type": "use",
            "timestamp": "2026-01-31T12:00:00Z",
            "payload": {"actor": "u1", "target": "a1"},
        }
        ingest(workspace=workspace, events=[use])
        answer = as_analyst.get(url(user))
        assert answer.status_code == 202
        assert answer.json()["profile_revision"] == user.revision + 1

    @pytest.mark.parametrize("what", ["model", "rules"])
    def test_another_score_needs_another_explanation(self, as_analyst, user, model_version, what):
        as_analyst.get(url(user))
        work()
        earlier = Explanation.objects.get().pk
        change = {"model_version": model_version()} if what == "model" else {"rule_revision": 2}
        Profile.objects.filter(pk=user.pk).update(**change)
        assert as_analyst.get(url(user)).status_code == 202
        assert Explanation.objects.get().pk != earlier, "one a profile: the earlier one is gone"

    def test_one_asked_for_before_a_refresh_is_not_computed(self, as_analyst, user, model_version):
        as_analyst.get(url(user))
        Profile.objects.filter(pk=user.pk).update(model_version=model_version())
        assert explanations.pending(user.workspace_id) == []
        as_analyst.get(url(user))
        work()
        assert as_analyst.get(url(user)).json()["state"] == "ready"

    def test_a_failure_is_told_and_tried_again(self, as_analyst, user):
        as_analyst.get(url(user))
        work(error="no such user in the graph")
        told = as_analyst.get(url(user))
        assert (told.status_code, told.json()["state"]) == (200, "failed")
        assert told.json()["error"] == "no such user in the graph"
        work()
        assert as_analyst.get(url(user)).json()["state"] == "ready"

    def test_a_batch_that_is_given_up_tells_those_who_wait(self, as_analyst, user):
        as_analyst.get(url(user))

        def fails(execution):
            raise ZeroDivisionError("by zero")

        assert execute(str(queued().get().pk), fails) == "failed"
        told = as_analyst.get(url(user)).json()
        assert (told["state"], told["error"]) == (
            "failed",
            "Explaining failed: ZeroDivisionError: by zero",
        )

    def test_a_request_while_a_batch_runs_queues_the_next(self, as_analyst, user, workspace):
        as_analyst.get(url(user))
        other = Profile.objects.create(
            workspace=workspace, user_id="u2", model_version=user.model_version, rule_revision=1
        )

        def asked_meanwhile(execution):
            seen = explanations.pending(execution.claim.workspace_id)
            assert as_analyst.get(url(other)).status_code == 202
            results = [Explained(one.pk, RESULT) for one in seen]
            execution.commit(lambda commit: commit_explained(commit, results))

        assert execute(str(queued().get().pk), asked_meanwhile) == "done"
        assert as_analyst.get(url(user)).json()["state"] == "ready"
        work()
        assert as_analyst.get(url(other)).json()["state"] == "ready"


@pytest.mark.django_db(transaction=True)
class TestQuestions:
    """Other views and backgrounds are other explanations, cached beside each other."""

    QUESTIONS = ("", "view=flat", "view=groups", "background=zero", "view=flat&background=zero")

    def test_each_question_has_an_answer_of_its_own(self, as_analyst, user):
        for question in self.QUESTIONS:
            answer = as_analyst.get(f"{url(user)}?{question}")
            assert answer.status_code == 202
            told = answer["Location"].partition("?")[2].split("&")
            assert set(told) == {"workspace=alpha"} | set(filter(None, question.split("&")))
        assert Explanation.objects.count() == 5
        assert queued().count() == 1
        work()
        for question in self.QUESTIONS:
            assert as_analyst.get(f"{url(user)}?{question}").status_code == 200
        assert not queued().exists()

    def test_a_named_default_is_the_usual_question(self, as_analyst, user):
        as_analyst.get(url(user))
        told = as_analyst.get(f"{url(user)}?view=evidence&background=sample").json()
        assert told["view"] == "evidence"
        assert Explanation.objects.count() == 1

    def test_a_new_score_forgets_the_answers_to_all_questions(self, as_analyst, user):
        for question in self.QUESTIONS:
            as_analyst.get(f"{url(user)}?{question}")
        Profile.objects.filter(pk=user.pk).update(revision=9)
        as_analyst.get(f"{url(user)}?view=flat")
        assert Explanation.objects.get().profile_revision == 9

    def test_the_revision_that_was_explained_is_told(self, as_analyst, user):
        """The score rose in revision while the question waited, for two readers."""
        as_analyst.get(url(user))
        Profile.objects.filter(pk=user.pk).update(revision=9)
        asked = Explanation.objects.get()
        other = Explanation.objects.create(
            profile=user, model_version=asked.model_version, rule_revision=1, profile_revision=9
        )
        run = queued().get()
        results = [Explained(one.pk, RESULT, "", 9) for one in (asked, other)]

        def commit(execution):
            execution.commit(lambda made: commit_explained(made, results))

        assert execute(str(run.pk), commit) == "done"
        assert set(Explanation.objects.values_list("state", "explained_revision")) == {("ready", 9)}
        Profile.objects.filter(pk=user.pk).update(revision=asked.profile_revision)
        assert as_analyst.get(url(user)).json()["profile_revision"] == 9

    def test_who_waits_for_an_earlier_score_gets_the_newer_one(self, user):
        """Two readers, and the loop scores in between: the second one's question is kept."""
        earlier = explanations.request(user)
        Profile.objects.filter(pk=user.pk).update(revision=9)
        newer = explanations.request(Profile.objects.get(pk=user.pk))
        assert newer.pk != earlier.pk
        assert explanations.wait(earlier, seconds=0.1) == newer

    @pytest.mark.parametrize(
        ("question", "field"), [("view=deep", "view"), ("background=mean", "background")]
    )
    def test_what_is_not_known_is_refused(self, as_analyst, user, question, field):
        answer = as_analyst.get(f"{url(user)}?{question}")
        assert answer.status_code == 400
        assert "expected one of" in answer.content.decode()
        assert field in answer.content.decode()
        assert not Explanation.objects.exists()


@pytest.mark.django_db
def test_an_explanation_of_an_unvalidated_score_says_so(as_analyst, user):
    for basis, validated in (("rules", False), ("label", True)):
        Profile.objects.filter(pk=user.pk).update(score_basis=basis)
        assert as_analyst.get(url(user)).json()["score_validated"] is validated


@pytest.mark.django_db
def test_without_a_score_there_is_nothing_to_explain(as_analyst, workspace):
    user = Profile.objects.create(workspace=workspace, user_id="new")
    answer = as_analyst.get(url(user))
    assert answer.status_code == 409
    assert "has no score" in answer.json()["detail"]
    assert not queued().exists()


@pytest.mark.django_db
def test_clearing_forgets_those_of_one_workspace(as_operator, user, other_workspace, model_version):
    there = Profile.objects.create(
        workspace=other_workspace,
        user_id="u1",
        model_version=model_version(of=other_workspace),
        rule_revision=1,
    )
    for one in (user, there):
        explanations.request(one)
    answer = as_operator.post("/api/v1/operations/explanations/clear/")
    assert answer.json() == {"deleted": 1}
    assert Explanation.objects.get().profile == there
    assert AuditEntry.objects.get(action="explanations.clear").details == {"deleted": 1}
