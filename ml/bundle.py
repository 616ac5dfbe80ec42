"""A model version on disk: everything needed to serve, each file with its hash.

Weights are read with ``weights_only``: nothing in an artifact is executed.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from ml.contracts.reports.base import ReportError
from ml.contracts.reports.version import VersionMetrics
from ml.contracts.schema import GraphSchema
from ml.fusion.background import Background, content_id, matrices
from ml.fusion.evidence import AttributeEncoder, Evidence
from ml.fusion.fusion import Fusion, Widths
from ml.fusion.scoring import ProfileModel
from ml.fusion.targets import HORIZON_DAYS
from ml.hgt.decoder import Decoder
from ml.hgt.encoders import FeatureEncoder
from ml.hgt.model import HGT, ModelConfig, build_model
from ml.rules.rule_set import Rule

FORMAT = 2
MANIFEST = "manifest.json"
HELD_OUT = "held_out.parquet"


class BundleError(ValueError):
    """A file of an artifact is missing, changed or of another format."""


@dataclass(frozen=True)
class ModelBundle:
    """A trained model version.

    Args:
        cuts: Seconds of the validation and test cut; None in untimed data.
        metrics: Link and fusion reports, with their baselines.
        data_hash: SHA-256 of what it was trained on.
        now: When the latest event was of the graph that it was trained on, in seconds: from where
            ages of edges count back wherever the version embeds.
        held_out: Users with their outcome and what was said of them without it, see
            ``ml.fusion.fitting.FittedProfile``; None in versions from before it was kept.
        horizon_days: How far future behaviour may be looked at where the score learns from it.
        lineage: Whatever else says where it comes from: task, seed, code version.
    """

    model: HGT
    encoder: FeatureEncoder
    decoder: Decoder
    profile: ProfileModel
    background: Background
    training: Mapping[str, Any]
    cuts: tuple[int, int] | None
    metrics: VersionMetrics
    data_hash: str
    rule_revision: int = 0
    lineage: Mapping[str, Any] = field(default_factory=dict)
    held_out: pl.DataFrame | None = None
    now: int = 0
    horizon_days: int = HORIZON_DAYS

    @property
    def schema(self) -> GraphSchema:
        return self.encoder.schema


def save_bundle(bundle: ModelBundle, folder: Path) -> dict[str, Any]:
    """Write an artifact into ``folder`` and return its manifest.

    The manifest has the format, schema hash, data hash and for each file its size and sha256.
    """
    folder.mkdir(parents=True, exist_ok=True)
    profile = bundle.profile
    torch.save(bundle.model.state_dict(), folder / "hgt.pt")
    torch.save(profile.fusion.state_dict(), folder / "fusion.pt")
    background = bundle.background
    np.savez(
        folder / "background.npz",
        users=np.array(background.users, np.str_),
        **matrices(background.evidence),
    )
    parts = {
        "config.json": {
            "model": bundle.model.config.to_dict(),
            "training": dict(bundle.training),
            "fusion": {"widths": asdict(profile.fusion.widths), "hidden": profile.fusion.hidden},
            "background": {"id": background.id, "seed": background.seed},
            "cuts": bundle.cuts,
            "now": bundle.now,
            "horizon_days": bundle.horizon_days,
            "data_hash": bundle.data_hash,
            "rule_revision": bundle.rule_revision,
            "lineage": dict(bundle.lineage),
        },
        "schema.json": bundle.schema.to_dict(),
        "encoder.json": bundle.encoder.to_dict(),
        "attributes.json": profile.encoder.to_dict(),
        "decoder.json": bundle.decoder.to_dict(),
        "rules.json": [asdict(rule) for rule in profile.rules],
        "metrics.json": bundle.metrics.to_dict(),
    }
    for name, content in parts.items():
        (folder / name).write_text(json.dumps(content, indent=1, allow_nan=False))
    tables = [] if bundle.held_out is None else [HELD_OUT]
    if bundle.held_out is not None:
        bundle.held_out.write_parquet(folder / HELD_OUT)
    files = sorted(["hgt.pt", "fusion.pt", "background.npz", *tables, *parts])
    manifest = {
        "format": FORMAT,
        "schema_hash": bundle.schema.hash,
        "data_hash": bundle.data_hash,
        "files": {
            name: {"size": (folder / name).stat().st_size, "sha256": _sha256(folder / name)}
            for name in files
        },
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1))
    return manifest


def load_bundle(folder: Path, *, device: str = "cpu") -> ModelBundle:
    """Read and check what ``save_bundle`` wrote.

    Raises:
        BundleError: if a file is missing or its content is not what the manifest says.
    """
    manifest = check_bundle(folder)
    config = _json(folder / "config.json")
    encoder = FeatureEncoder.from_dict(_json(folder / "encoder.json"))
    model = build_model(encoder, ModelConfig(**config["model"]), seed=0)
    model.load_state_dict(_weights(folder / "hgt.pt"))
    fusion = Fusion(Widths(**config["fusion"]["widths"]), config["fusion"]["hidden"])
    fusion.load_state_dict(_weights(folder / "fusion.pt"))
    with np.load(folder / "background.npz", allow_pickle=False) as arrays:
        background = _background(arrays, config["background"])
    profile = ProfileModel(
        schema=encoder.schema,
        rules=tuple(Rule(**rule) for rule in _json(folder / "rules.json")),
        encoder=AttributeEncoder.from_dict(_json(folder / "attributes.json")),
        fusion=fusion.eval(),
    )
    return ModelBundle(
        model=model.eval().to(device),
        encoder=encoder,
        decoder=Decoder.from_dict(_json(folder / "decoder.json")),
        profile=profile,
        background=background,
        training=config["training"],
        cuts=None if config["cuts"] is None else (config["cuts"][0], config["cuts"][1]),
        metrics=_metrics(folder),
        data_hash=config["data_hash"],
        rule_revision=config["rule_revision"],
        lineage=config["lineage"],
        held_out=pl.read_parquet(folder / HELD_OUT) if HELD_OUT in manifest["files"] else None,
        now=config.get("now", 0),
        horizon_days=config.get("horizon_days", HORIZON_DAYS),
    )


def _metrics(folder: Path) -> VersionMetrics:
    try:
        return VersionMetrics.from_dict(_json(folder / "metrics.json"))
    except ReportError as error:
        raise BundleError(f"metrics.json: {error}") from error


def check_bundle(folder: Path) -> dict[str, Any]:
    """Compare every file with the manifest and return it.

    Raises:
        BundleError: naming the first file that is missing or changed.
    """
    if not (folder / MANIFEST).is_file():
        raise BundleError(f"{folder} has no {MANIFEST}: it is no artifact, or not a whole one")
    manifest: dict[str, Any] = _json(folder / MANIFEST)
    if manifest.get("format") != FORMAT:
        raise BundleError(
            f"artifact format {manifest.get('format')!r}, expected {FORMAT}: it is of an earlier "
            "release, train a new model version"
        )
    for name, expected in manifest["files"].items():
        if not (folder / name).is_file():
            raise BundleError(f"{name} is missing in the artifact: fetch it again")
        got = _sha256(folder / name)
        if got != expected["sha256"]:
            raise BundleError(
                f"{name} has sha256 {got[:12]}, expected {expected['sha256'][:12]}: it was "
                "changed or damaged, fetch it again"
            )
    return manifest


def _background(arrays: Mapping[str, Any], about: Mapping[str, Any]) -> Background:
    """The stored sample, whose id must be that of its content."""
    users = tuple(arrays["users"].tolist())
    evidence = Evidence(**{name: arrays[name] for name in arrays if name != "users"})
    if content_id(users, evidence) != about["id"]:
        raise BundleError(
            f"background.npz has the id {content_id(users, evidence)}, config.json says "
            f"{about['id']}: fetch the artifact again"
        )
    return Background(about["id"], about["seed"], users, evidence)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _json(path: Path) -> Any:
    return json.loads(path.read_text())


def _weights(path: Path) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return weights
