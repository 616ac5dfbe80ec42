import json
from dataclasses import replace

import numpy as np
import pytest

from ml.bundle import BundleError, ModelBundle, check_bundle, load_bundle, save_bundle
from ml.contracts.reports.version import VersionMetrics
from ml.explanation.explanation import Subject, explain_flat
from ml.fusion.scoring import score_users
from ml.hgt.model import embed


@pytest.fixture
def artifact(fitted):
    return ModelBundle(
        model=fitted.trained.model,
        encoder=fitted.trained.encoder,
        decoder=fitted.links.decoder,
        profile=fitted.profile.model,
        background=fitted.profile.background,
        training=fitted.config.to_dict(),
        cuts=fitted.split.cuts,
        metrics=VersionMetrics(links=fitted.links.report, score=fitted.profile.report),
        data_hash="ab" * 32,
        rule_revision=3,
        lineage={"task": "one"},
        held_out=fitted.profile.held_out,
    )


def test_loading_gives_the_same_embeddings_scores_and_explanations(artifact, fitted, tmp_path):
    save_bundle(artifact, tmp_path)
    loaded = load_bundle(tmp_path)
    z_dict = embed(loaded.model, loaded.encoder, fitted.graph)
    for name, z in fitted.embeddings.items():
        assert np.array_equal(z_dict[name], z)
    before = score_users(artifact.profile, fitted.frame, fitted.embeddings["user"])
    assert score_users(loaded.profile, fitted.frame, z_dict["user"]).equals(before)
    user = Subject(fitted.evidence.take(np.array([1])), {})
    explained = [explain_flat(a.profile, user, a.background) for a in (artifact, loaded)]
    assert explained[0] == explained[1]


def test_what_it_says_of_itself_comes_back(artifact, tmp_path):
    manifest = save_bundle(artifact, tmp_path)
    loaded = load_bundle(tmp_path)
    assert loaded.schema == artifact.schema
    assert loaded.cuts == artifact.cuts
    assert loaded.metrics == artifact.metrics
    assert (loaded.data_hash, loaded.rule_revision) == (artifact.data_hash, 3)
    assert loaded.profile.rules == artifact.profile.rules
    assert loaded.decoder == artifact.decoder
    assert manifest == check_bundle(tmp_path)
    assert manifest["schema_hash"] == artifact.schema.hash


def test_the_background_is_stored_with_its_users(artifact, fitted, tmp_path):
    save_bundle(artifact, tmp_path)
    background = load_bundle(tmp_path).background
    assert (background.id, background.users) == (
        artifact.background.id,
        artifact.background.users,
    )
    assert len(background.users) == len(background) == 50
    rows = [fitted.graph.index("user")[user] for user in background.users]
    assert np.array_equal(background.evidence.embedding, fitted.evidence.embedding[rows])


def test_what_was_said_of_held_out_users_comes_back(artifact, tmp_path):
    save_bundle(artifact, tmp_path / "new")
    assert load_bundle(tmp_path / "new").held_out.equals(artifact.held_out)
    save_bundle(replace(artifact, held_out=None), tmp_path / "old")
    assert load_bundle(tmp_path / "old").held_out is None


def test_a_background_that_is_not_the_one_named_is_refused(artifact, tmp_path):
    save_bundle(replace(artifact, background=replace(artifact.background, id="bg-0")), tmp_path)
    with pytest.raises(BundleError, match="bg-0"):
        load_bundle(tmp_path)


def test_an_artifact_of_an_earlier_release_is_refused(artifact, tmp_path):
    save_bundle(artifact, tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"format": 1}))
    with pytest.raises(BundleError, match="train a new model version"):
        load_bundle(tmp_path)


def test_a_changed_byte_in_any_file_is_an_error_that_names_it(artifact, tmp_path):
    manifest = save_bundle(artifact, tmp_path)
    for name in manifest["files"]:
        path = tmp_path / name
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(BundleError, match=name):
            load_bundle(tmp_path)
        path.write_bytes(content)
    load_bundle(tmp_path)


def test_a_missing_file_is_an_error_that_names_it(artifact, tmp_path):
    save_bundle(artifact, tmp_path)
    (tmp_path / "fusion.pt").unlink()
    with pytest.raises(BundleError, match=r"fusion\.pt"):
        load_bundle(tmp_path)


def test_a_folder_that_is_no_artifact_is_refused(tmp_path):
    with pytest.raises(BundleError, match="manifest"):
        load_bundle(tmp_path)
