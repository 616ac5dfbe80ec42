"""A refresh replaces what it knows, leaves the event log's part alone, and loses no event."""

import threading
import uuid
from datetime import UTC, datetime

import pytest
from django.db import connection, transaction

from controlcenter.serving.ingestion.services import ingest
from controlcenter.serving.profiles.merging import EmbeddedItem, ScoredUser, merge
from controlcenter.serving.profiles.models import CallPeer, Item, Profile

EARLY = datetime(2025, 6, 1, tzinfo=UTC)
LATE = datetime(2026, 1, 31, 12, tzinfo=UTC)


def scored(user_id, **change):
    fields = {
        "attributes": {"monthly_fee": 20.0},
        "label": True,
        "base_counts": {"call": 2},
        "scored_counts": {"call": 2},
        "last_event_at": EARLY,
        "embedding": [0.5] * 64,
        "rule_hits": {"loyal": True},
        "rule_score": 0.1,
        "model_score": 0.2,
        "gate": 0.3,
        "final_score": 0.4,
        "recommendations": [],
    }
    return ScoredUser(user_id=user_id, **(fields | change))


def do_merge(workspace, version, users, *, items=(), peers=()):
    with transaction.atomic():
        scored_users = merge(
            workspace_id=workspace.pk,
            version=version,
            basis="label",
            users=users,
            items=items,
            peers=peers,
            graph=[],
        )
        with connection.cursor() as cursor:  # a test's merges may be in one transaction
            cursor.execute("DROP TABLE staged_user, staged_item, staged_peer")
    return scored_users


def event(actor, kind, target, at=LATE):
    return {
        "event_id": str(uuid.uuid4()),
        "type": kind,
        "timestamp": at.isoformat(),
        "payload": {"actor": actor, "target": target},
    }


def send(workspace, *events):
    return ingest(workspace=workspace, events=list(events))


def profile(workspace, user_id):
    return Profile.objects.get(workspace=workspace, user_id=user_id)


@pytest.mark.django_db
class TestMerge:
    def test_users_are_made_and_replaced(self, workspace, model_version):
        first = model_version()
        assert do_merge(workspace, first, [scored("u1"), scored("u2")]) == 2
        made = profile(workspace, "u1")
        assert (made.final_score, made.score_basis, made.rule_revision) == (0.4, "label", 1)
        assert made.model_version == first
        assert list(made.embedding) == [0.5] * 64
        assert made.scored_at is not None
        second = model_version()
        changed = scored("u1", final_score=0.9, attributes={"plan": "a"}, label=None)
        do_merge(workspace, second, [changed, scored("u2")])
        replaced = profile(workspace, "u1")
        assert (replaced.final_score, replaced.attributes, replaced.label) == (
            0.9,
            {"plan": "a"},
            None,
        )
        assert (replaced.pk, replaced.revision) == (made.pk, made.revision + 1)

    def test_a_refresh_clears_the_scores_of_others(self, workspace, model_version):
        do_merge(workspace, model_version(), [scored("u1"), scored("u2")])
        send(workspace, event("u2", "use", "a1"), event("u3", "use", "a1"))
        do_merge(workspace, model_version(), [scored("u1")])
        gone = profile(workspace, "u2")
        assert [gone.final_score, gone.embedding, gone.rule_hits, gone.gate] == [None] * 4
        assert (gone.model_version, gone.rule_revision, gone.score_basis) == (None, None, "")
        assert (gone.event_counts, gone.scored_counts) == ({"use": 1}, {})
        assert gone.last_event_at == LATE
        assert profile(workspace, "u1").final_score == 0.4
        untouched = profile(workspace, "u3")
        assert (untouched.event_counts, untouched.revision) == ({"use": 1}, 2)

    def test_counts_are_the_datasets_plus_the_logs(self, workspace, model_version):
        send(workspace, event("u1", "call", "u2"), event("u1", "use", "a1", EARLY))
        do_merge(workspace, model_version(), [scored("u1", last_event_at=EARLY)])
        merged = profile(workspace, "u1")
        assert merged.event_counts == {"call": 3, "use": 1}
        assert merged.last_event_at == LATE
        send(workspace, event("u1", "call", "u9"))
        do_merge(workspace, model_version(), [scored("u1", base_counts={"order": 5})])
        assert profile(workspace, "u1").event_counts == {"order": 5, "call": 2, "use": 1}

    def test_a_datasets_last_event_may_be_the_later_one(self, workspace, model_version):
        send(workspace, event("u1", "use", "a1", EARLY))
        do_merge(workspace, model_version(), [scored("u1", last_event_at=LATE)])
        assert profile(workspace, "u1").last_event_at == LATE
        do_merge(workspace, model_version(), [scored("u1", last_event_at=None)])
        assert profile(workspace, "u1").last_event_at == EARLY

    def test_call_peers_of_dataset_and_log_are_united(self, workspace, model_version):
        send(workspace, event("u1", "call", "a"), event("u1", "call", "b"))
        do_merge(workspace, model_version(), [scored("u1")], peers=[("u1", "b"), ("u1", "c")])
        assert profile(workspace, "u1").call_peers == 3
        send(workspace, event("u1", "call", "c"), event("u1", "call", "d"))
        assert profile(workspace, "u1").call_peers == 4
        do_merge(workspace, model_version(), [scored("u1")], peers=[])
        assert profile(workspace, "u1").call_peers == 4, "c is in the log by now"
        assert CallPeer.objects.filter(workspace=workspace, in_dataset=True).count() == 0

    def test_peers_of_the_dataset_alone_go_with_it(self, workspace, model_version):
        do_merge(workspace, model_version(), [scored("u1")], peers=[("u1", "b"), ("u1", "c")])
        assert profile(workspace, "u1").call_peers == 2
        do_merge(workspace, model_version(), [scored("u1")], peers=[("u1", "c")])
        assert profile(workspace, "u1").call_peers == 1

    def test_items_are_those_of_the_dataset_and_of_the_log(self, workspace, model_version):
        items = [EmbeddedItem("app", "a1", {"name": "Chess"}, [1.0] * 64)]
        do_merge(workspace, model_version(), [scored("u1")], items=items)
        send(workspace, event("u1", "use", "seen"))
        newer = [EmbeddedItem("app", "a2", {}, [1.0] * 64)]
        do_merge(workspace, model_version(), [scored("u1")], items=newer)
        names = Item.objects.filter(workspace=workspace).values_list("item_id", flat=True)
        assert set(names) == {"a2", "seen"}

    def test_other_workspaces_are_left_alone(self, workspace, other_workspace, model_version):
        there = model_version(of=other_workspace)
        do_merge(other_workspace, there, [scored("u1")], peers=[("u1", "x")])
        do_merge(workspace, model_version(), [scored("u9")])
        left = profile(other_workspace, "u1")
        assert (left.final_score, left.call_peers, left.model_version) == (0.4, 1, there)
        assert not Profile.objects.filter(workspace=workspace, user_id="u1").exists()


@pytest.mark.django_db(transaction=True)
def test_ingestion_beside_merges_loses_nothing(workspace, model_version):
    version = model_version()
    done, begun, errors, sent = threading.Event(), threading.Event(), [], []

    def ingesting():
        try:
            while not done.is_set():
                batch = [event(f"u{n}", "use", "a1") for n in range(5)]
                sent.append(send(workspace, *batch).accepted)
                begun.set()
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=ingesting) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        assert begun.wait(120), errors
        users = [scored(f"u{n}", base_counts={"use": 10}) for n in range(5)]
        for _ in range(8):
            do_merge(workspace, version, users, peers=[("u1", "u2")])
    finally:
        done.set()
        for thread in threads:
            thread.join(120)
    assert not any(thread.is_alive() for thread in threads)
    assert errors == []
    rounds = sum(sent) // 5
    assert rounds > 0
    for number in range(5):
        assert profile(workspace, f"u{number}").event_counts == {"use": 10 + rounds}
