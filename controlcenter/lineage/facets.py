"""Facets of OpenLineage events: what is told of runs, jobs and datasets beside their names."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from controlcenter.lineage.nodes import DERIVED, Node, describe, digest, files_of, files_size
from controlcenter.lineage.ports import MODEL, UPLOAD, Ports
from controlcenter.lineage.refs import DATASET, EVALUATION, GRAPH, PROFILES, Ref, by_kind, ref
from controlcenter.modelling.datasets.models import Dataset
from controlcenter.modelling.registry.models import ModelVersion
from controlcenter.modelling.tasks import states
from controlcenter.modelling.tasks.models import StageRun
from controlcenter.platform.common.code_version import code_version
from ml.contracts.schema import GraphSchema

SPEC = "https://openlineage.io/spec"
Facets = dict[str, Any]
ROWS = ("users", "products", "apps", "events")
TYPES = {
    DATASET: "TABLE", UPLOAD: "FILE", GRAPH: "GRAPH", MODEL: "MODEL", EVALUATION: "REPORT",
    PROFILES: "TABLE",
}  # fmt: skip


def producer() -> str:
    """Which code wrote the events, as a URI."""
    return f"urn:user-profile-system:{quote(code_version(), safe='')}"


def facet(name: str, kind: str, spec: str, /, **told: Any) -> Facets:
    """One facet under its name, as version ``spec`` of its schema has it."""
    url = f"{SPEC}/facets/{spec}/{kind}.json#/$defs/{kind}"
    return {name: {"_producer": producer(), "_schemaURL": url, **told}}


def parent(run_id: str, namespace: str, name: str) -> Facets:
    """The task of a run."""
    told = {"run": {"runId": run_id}, "job": {"namespace": namespace, "name": name}}
    return facet("parent", "ParentRunFacet", "1-2-0", **told)


def error_message(message: str) -> Facets:
    """The sentence for the operator; a traceback stays in the system."""
    return facet(
        "errorMessage", "ErrorMessageRunFacet", "1-0-1",
        message=message, programmingLanguage="PYTHON",
    )  # fmt: skip


def job_type(kind: str) -> Facets:
    return facet(
        "jobType", "JobTypeJobFacet", "2-0-4", processingType="BATCH", integration="UPS",
        jobType=kind,
    )  # fmt: skip


class DatasetFacts:
    """What is known of all the datasets that some runs read and wrote."""

    def __init__(self, workspace_id: Any, runs: Iterable[StageRun], ports: Iterable[Ports]) -> None:
        refs = list(dict.fromkeys(r for one in ports for r in (*one.inputs, *one.outputs)))
        ids = by_kind(refs)
        uploads = [ref(DATASET, pk) for pk in ids[UPLOAD]]
        described = [*refs, *(one for one in uploads if one not in refs)]
        self.nodes: dict[Ref, Node] = {n.ref: n for n in describe(workspace_id, described)}
        rows = Dataset.objects.filter(workspace=workspace_id, pk__in=[*ids[DATASET], *ids[UPLOAD]])
        self.schemas = {str(pk): told for pk, told in rows.values_list("pk", "schema") if told}
        self.models = {str(pk): files for pk, files in files_of(ids[MODEL]).items()}
        trained = [run for run in runs if run.kind == states.TRAINING]
        tasks = {run.task_id for run in trained if run.task_id is not None}
        versions = ModelVersion.objects.filter(workspace=workspace_id, task_id__in=tasks)
        self.codes = {
            (task, iteration): code
            for task, iteration, code in versions.values_list(
                "task_id", "iteration", "code_version"
            )
        }

    def code(self, run: StageRun) -> Facets:
        """The code that trained a version; of other runs it is not written down."""
        code = self.codes.get((run.task_id, run.iteration)) if run.kind == states.TRAINING else None
        if not code:
            return {}
        url = f"urn:user-profile-system:{quote(code, safe='')}"
        return facet(
            "sourceCodeLocation", "SourceCodeLocationJobFacet", "1-1-0", type="git", url=url,
            version=code,
        )  # fmt: skip

    def input(self, namespace: str, one: Ref) -> Facets:
        """A dataset that is read."""
        told = self.counts(one)
        quality: dict[str, Any] = {"columnMetrics": {}} | {
            theirs: told[ours]
            for ours, theirs in (("rows", "rowCount"), ("bytes", "bytes"), ("files", "fileCount"))
            if ours in told
        }
        more = facet(
            "dataQualityMetrics", "DataQualityMetricsInputDatasetFacet", "1-0-3", **quality
        )
        return self.dataset(namespace, one) | ({"inputFacets": more} if told else {})

    def output(self, namespace: str, one: Ref) -> Facets:
        """A dataset that was written."""
        told = self.counts(one)
        written = {
            theirs: told[ours]
            for ours, theirs in (("rows", "rowCount"), ("bytes", "size"), ("files", "fileCount"))
            if ours in told
        }
        more = facet("outputStatistics", "OutputStatisticsOutputDatasetFacet", "1-0-2", **written)
        return self.dataset(namespace, one) | ({"outputFacets": more} if told else {})

    def dataset(self, namespace: str, one: Ref) -> Facets:
        found: Facets = {}
        if one.kind in TYPES:
            found |= facet(
                "datasetType", "DatasetTypeDatasetFacet", "1-0-1", datasetType=TYPES[one.kind]
            )
        schema = self.schemas.get(one.id) if one.kind == DATASET else None
        if schema is not None:
            found |= facet("schema", "SchemaDatasetFacet", "1-2-0", fields=fields_of(schema))
        hashed = self.version_of(one)
        if hashed:
            found |= facet("version", "DatasetVersionDatasetFacet", "1-0-1", datasetVersion=hashed)
        return {"namespace": namespace, "name": f"{one.kind}/{one.id}", "facets": found}

    def version_of(self, one: Ref) -> str:
        """A hash of its content, where there is one."""
        if one.kind == MODEL:
            return digest(self.models.get(one.id, []))
        node = self.nodes.get(ref(DATASET, one.id) if one.kind == UPLOAD else one)
        if node is None:
            return ""
        return node.hashes.get("sha256" if one.kind == UPLOAD else "files", "")

    def counts(self, one: Ref) -> dict[str, int]:
        """Rows, bytes and files, where they are known."""
        if one.kind == MODEL:
            return {name: int(n) for name, n in files_size(self.models.get(one.id, [])).items()}
        node = self.nodes.get(ref(DATASET, one.id) if one.kind == UPLOAD else one)
        if node is None:
            return {}
        told, found = node.numbers, {}
        if one.kind in (DATASET, PROFILES) and any(name in told for name in ROWS):
            found["rows"] = int(sum(told.get(name, 0) for name in ROWS))
        # A raw dataset's bytes are those of its upload.
        if one.kind in (UPLOAD, GRAPH) or node.kind == DERIVED:
            found |= {name: int(told[name]) for name in ("bytes", "files") if name in told}
        return found


def fields_of(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """The tables of a feature contract with their columns."""
    return [
        {
            "name": node.table,
            "type": "table",
            "fields": [{"name": f.name, "type": f.kind} for f in node.features],
        }
        for node in GraphSchema.from_dict(schema).nodes
    ]
