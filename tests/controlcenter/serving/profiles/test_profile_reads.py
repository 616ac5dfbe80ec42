"""Profiles, look-alikes and lists: right, of one workspace, and few queries whatever the size."""

import random
from datetime import UTC, datetime

import numpy as np
import pytest
from controlcenter_fixtures import make_dataset, make_task
from django.db import connection
from django.test.utils import CaptureQueriesContext

from controlcenter.modelling.rules.models import Rule
from controlcenter.platform.accounts.models import Account, Membership
from controlcenter.platform.accounts.services import create_workspace
from controlcenter.platform.audit.services import record
from controlcenter.serving.profiles.models import EMBEDDING_DIMENSIONS, Item, Profile
from controlcenter.serving.profiles.queries import similar

pytestmark = pytest.mark.django_db
URL = "/api/v1/users/"


@pytest.fixture
def add(workspace, model_version):
    """Makes users with random embeddings of one version."""
    chance = np.random.default_rng(7)
    versions = {}

    def add(count, *, of=workspace, prefix="u", around=None):
        if of.pk not in versions:
            versions[of.pk] = model_version(of=of)
        center = np.zeros(EMBEDDING_DIMENSIONS) if around is None else np.asarray(around)
        return Profile.objects.bulk_create(
            Profile(
                workspace=of,
                user_id=f"{prefix}{number:04}",
                embedding=center + chance.normal(size=EMBEDDING_DIMENSIONS),
                model_version=versions[of.pk],
                rule_revision=1,
                final_score=number / count,
                rule_hits={"loyal": number % 2 == 0},
                base_counts={"call": 2},
                live_counts={"call": 1, "use": 4},
                last_event_at=datetime(2026, 1, 1 + number % 28, tzinfo=UTC),
            )
            for number in range(count)
        )

    return add


def cosine(a, b):
    return float(np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b))


def test_look_alikes_are_those_of_a_brute_force_search(as_viewer, add):
    users = add(200)
    for one in (users[0], users[77]):
        others = [user for user in users if user is not one]
        nearest = sorted(others, key=lambda user: -cosine(user.embedding, one.embedding))[:10]
        told = as_viewer.get(f"{URL}{one.user_id}/similar/").json()
        assert [t["user_id"] for t in told] == [user.user_id for user in nearest]
        expected = [cosine(user.embedding, one.embedding) for user in nearest]
        assert [t["similarity"] for t in told] == pytest.approx(expected, abs=1e-5)
        assert told[0]["final_score"] == nearest[0].final_score


def test_look_alikes_are_never_another_workspaces(add, other_workspace):
    one = add(30)[0]
    add(400, of=other_workspace, prefix="x", around=np.asarray(one.embedding) * 3)
    nearest = similar(Profile.objects.get(pk=one.pk), 10)
    assert len(nearest) == 10
    assert {other.user_id[0] for other in nearest} == {"u"}
    scores = [other.similarity for other in nearest]
    assert scores == sorted(scores, reverse=True)


def test_vectors_of_another_model_are_not_compared(as_viewer, add, model_version):
    users = add(4)
    Profile.objects.filter(pk=users[1].pk).update(model_version=model_version())
    told = as_viewer.get(f"{URL}{users[0].user_id}/similar/").json()
    assert {t["user_id"] for t in told} == {users[2].user_id, users[3].user_id}


def test_a_user_without_embedding_has_no_look_alikes(as_viewer, workspace):
    Profile.objects.create(workspace=workspace, user_id="new")
    answer = as_viewer.get(f"{URL}new/similar/")
    assert answer.status_code == 409
    assert "no embedding yet" in answer.json()["detail"]


@pytest.mark.parametrize("limit", ["0", "101", "-1", "ten", "1.5", "²"])
def test_a_limit_out_of_range_is_refused(as_viewer, add, limit):
    user = add(2)[0]
    answer = as_viewer.get(f"{URL}{user.user_id}/similar/", {"limit": limit})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "limit"


def test_a_profile_says_all_that_is_known(as_viewer, add):
    user = add(3)[2]
    told = as_viewer.get(f"{URL}{user.user_id}/").json()
    assert told["event_counts"] == {"call": 3, "use": 4}
    assert told["rule_hits"] == {"loyal": True}
    assert told["embedding"] == pytest.approx(list(user.embedding), abs=1e-5)
    assert told["model_version"] == str(user.model_version_id)
    assert told["final_score"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("user_id", ["a.b", "a b", "ü", "a.json", "%41", "a?b", "x" * 200])
def test_an_odd_id_is_found(as_viewer, workspace, user_id):
    from urllib.parse import quote

    Profile.objects.create(workspace=workspace, user_id=user_id)
    assert as_viewer.get(f"{URL}{quote(user_id)}/").json()["user_id"] == user_id
    assert as_viewer.get(URL, {"user_id": user_id}).json()["count"] == 1


def test_users_are_filtered_and_ordered(as_viewer, add):
    add(20)
    by = {
        (("user_id__startswith", "u000"),): 10,
        (("score_min", "0.5"),): 10,
        (("score_max", "0.1"),): 3,
        (("rule", "loyal"),): 10,
        (("rule", "nothing"),): 0,
        (("scored", "true"),): 20,
        (("scored", "false"),): 0,
        (("active_after", "2026-01-20T00:00:00Z"),): 1,
        (("active_before", "2026-01-02T00:00:00Z"),): 2,
    }
    got = {given: as_viewer.get(URL, dict(given)).json()["count"] for given in by}
    assert got == by
    told = as_viewer.get(URL, {"ordering": "-final_score", "page_size": 3}).json()["results"]
    assert [t["user_id"] for t in told] == ["u0019", "u0018", "u0017"]
    assert "embedding" not in told[0]


def queries_of(client, url):
    with CaptureQueriesContext(
        connection,
    ) as captured:
        assert client.get(url).status_code == 200
    return len(captured)


def test_a_profile_is_one_row_read(as_viewer, add):
    user = add(1)[0]
    with CaptureQueriesContext(connection) as captured:
        as_viewer.get(f"{URL}{user.user_id}/")
    about_users = [q["sql"] for q in captured if "profiles_profile" in q["sql"]]
    assert len(about_users) == 1
    few = len(captured)
    add(50, prefix="more")
    assert queries_of(as_viewer, f"{URL}{user.user_id}/") == few <= 5


def test_queries_of_a_list_do_not_depend_on_its_length(as_owner, owner, workspace, add, operator):
    def grow(count, mark):
        add(count, prefix=mark)
        for number in range(count):
            name = f"{mark}{number}"
            dataset = make_dataset(workspace, name=name)
            make_task(workspace, dataset)
            Rule.objects.create(workspace=workspace, name=name, expression="1 > 0", weight=1)
            account = Account.objects.create_user(name)
            Membership.objects.create(workspace=workspace, account=account, role="viewer")
            create_workspace(slug=name, name=name, owner=owner)
            for kind in ("product", "app"):
                Item.objects.create(workspace=workspace, type=kind, item_id=name)
            record(account=owner, workspace=workspace, action="test", target=workspace)

    lists = [
        "users",
        "products",
        "apps",
        "datasets",
        "rules",
        "rules/revisions",
        "tasks",
        "models",
        "members",
        "workspaces",
        "events",
        "operations/audit",
        "auth/tokens",
    ]
    grow(2, "few")
    few = {name: queries_of(as_owner, f"/api/v1/{name}/") for name in lists}
    grow(random.Random(7).randint(8, 12), "many")
    many = {name: queries_of(as_owner, f"/api/v1/{name}/") for name in lists}
    assert few == many
    assert max(many.values()) <= 7


def test_users_without_a_score_come_last_either_way(as_viewer, workspace):
    for user_id, value in (("a", None), ("b", 0.2), ("c", 0.9)):
        Profile.objects.create(workspace=workspace, user_id=user_id, final_score=value)
    for ordering, expected in (("final_score", "bca"), ("-final_score", "cba")):
        found = as_viewer.get("/api/v1/users/", {"ordering": ordering}).json()["results"]
        assert "".join(user["user_id"] for user in found) == expected


def test_no_offers_before_the_first_score(as_viewer, workspace):
    Profile.objects.create(workspace=workspace, user_id="new")
    answer = as_viewer.get("/api/v1/users/new/recommendations/")
    assert answer.status_code == 409
    assert "wait for the next refresh" in answer.json()["detail"]
