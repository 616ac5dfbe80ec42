"""A score that was trained on the rules says so wherever it is read."""

import pytest

from controlcenter.serving.profiles.models import Profile

pytestmark = pytest.mark.django_db
URL = "/api/v1/users/"
CASES = [("label", True), ("future behaviour", True), ("rules", False), ("", None)]


@pytest.mark.parametrize(("basis", "validated"), CASES)
def test_a_profile_says_whether_its_score_is_validated(as_viewer, workspace, basis, validated):
    Profile.objects.create(workspace=workspace, user_id="u", score_basis=basis)
    (listed,) = as_viewer.get(URL).json()["results"]
    for told in (listed, as_viewer.get(f"{URL}u/").json()):
        assert (told["score_basis"], told["score_validated"]) == (basis, validated)


@pytest.mark.parametrize(("basis", "validated"), CASES)
def test_a_look_alike_says_so_too(as_viewer, workspace, model_version, basis, validated):
    version = model_version()
    for user_id, of in (("u", "label"), ("near", basis)):
        Profile.objects.create(
            workspace=workspace, user_id=user_id, score_basis=of, embedding=[1.0] * 64,
            model_version=version,
        )  # fmt: skip
    (told,) = as_viewer.get(f"{URL}u/similar/").json()
    assert (told["user_id"], told["score_validated"]) == ("near", validated)
