"""Facets of OpenLineage events: what is told of runs, jobs and datasets beside their names."""

import uuid
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from controlcenter.lineage.describe import describe
from controlcenter.lineage.files import digest, files_of, files_size
from controlcenter.lineage.node import DERIVED, Node
from controlcenter.lineage.openlineage.ports import MODEL, UPLOAD, Ports
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


def facet(name: str, kind: str, spec: str, /, **fields: Any) -> Facets:
    """One facet under its name, as version ``spec`` of its schema has it."""
    url = f"{SPEC}/facets/{spec}/{kind}.json#/$defs/{kind}"
    return {name: {"_producer": producer(), "_schemaURL": url, **fields}}


def parent(run_id: str, namespace: str, name: str) -> Facets:
    """The task of a run."""
    run_and_job = {"run": {"runId": run_id}, "job": {"namespace": namespace, "name": name}}
    return facet("parent", "ParentRunFacet", "1-2-0", **run_and_job)


def error_message(message: str) -> Facets:
    """The sentence for the operator; a traceback stays in the system."""
    return facet(
        "errorMessage", "ErrorMessageRunFacet", "1-0-1",
        message=message, programmingLanguage="PYTHON",
    )  # fmt: skip


def job_type(kind: str) -> Facets:
    """What kind of job it is: a workflow or one of its stages."""
    return facet(
        "jobType", "JobTypeJobFacet", "2-0-4", processingType="BATCH", integration="UPS",
        jobType=kind,
    )  # fmt: skip


class DatasetFacts:
    """What is known of all the datasets that some runs read and wrote."""

    def __init__(
        self, workspace_id: uuid.UUID, runs: Iterable[StageRun], ports: Iterable[Ports]
    ) -> None:
        refs = list(dict.fromkeys(r for port in ports for r in (*port.inputs, *port.outputs)))
        ids = by_kind(refs)
        uploads = [ref(DATASET, pk) for pk in ids[UPLOAD]]
        described = [*refs, *(upload for upload in uploads if upload not in refs)]
        self.nodes: dict[Ref, Node] = {n.ref: n for n in describe(workspace_id, described)}
        rows = Dataset.objects.filter(workspace=workspace_id, pk__in=[*ids[DATASET], *ids[UPLOAD]])
        self.schemas = {
            str(pk): schema for pk, schema in rows.values_list("pk", "schema") if schema
        }
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

    def input(self, namespace: str, dataset: Ref) -> Facets:
        """A dataset that is read."""
        counts = self.counts(dataset)
        quality: dict[str, Any] = {"columnMetrics": {}} | {
            theirs: counts[ours]
            for ours, theirs in (("rows", "rowCount"), ("bytes", "bytes"), ("files", "fileCount"))
            if ours in counts
        }
        more = facet(
            "dataQualityMetrics", "DataQualityMetricsInputDatasetFacet", "1-0-3", **quality
        )
        return self.dataset(namespace, dataset) | ({"inputFacets": more} if counts else {})

    def output(self, namespace: str, dataset: Ref) -> Facets:
        """A dataset that was written."""
        counts = self.counts(dataset)
        written = {
            theirs: counts[ours]
            for ours, theirs in (("rows", "rowCount"), ("bytes", "size"), ("files", "fileCount"))
            if ours in counts
        }
        more = facet("outputStatistics", "OutputStatisticsOutputDatasetFacet", "1-0-2", **written)
        return self.dataset(namespace, dataset) | ({"outputFacets": more} if counts else {})

    def dataset(self, namespace: str, dataset: Ref) -> Facets:
        """A dataset with the facets that inputs and outputs share."""
        facets: Facets = {}
        if dataset.kind in TYPES:
            facets |= facet(
                "datasetType", "DatasetTypeDatasetFacet", "1-0-1", datasetType=TYPES[dataset.kind]
            )
        schema = self.schemas.get(dataset.id) if dataset.kind == DATASET else None
        if schema is not None:
            facets |= facet("schema", "SchemaDatasetFacet", "1-2-0", fields=fields_of(schema))
        hashed = self.version_of(dataset)
        if hashed:
            facets |= facet("version", "DatasetVersionDatasetFacet", "1-0-1", datasetVersion=hashed)
        return {"namespace": namespace, "name": f"{dataset.kind}/{dataset.id}", "facets": facets}

    def version_of(self, dataset: Ref) -> str:
        """A hash of its content, where there is one."""
        if dataset.kind == MODEL:
            return digest(self.models.get(dataset.id, []))
        node = self.nodes.get(ref(DATASET, dataset.id) if dataset.kind == UPLOAD else dataset)
        if node is None:
            return ""
        return node.hashes.get("sha256" if dataset.kind == UPLOAD else "files", "")

    def counts(self, dataset: Ref) -> dict[str, int]:
        """Rows, bytes and files, where they are known."""
        if dataset.kind == MODEL:
            return {name: int(n) for name, n in files_size(self.models.get(dataset.id, [])).items()}
        node = self.nodes.get(ref(DATASET, dataset.id) if dataset.kind == UPLOAD else dataset)
        if node is None:
            return {}
        numbers, counts = node.numbers, {}
        if dataset.kind in (DATASET, PROFILES) and any(name in numbers for name in ROWS):
            counts["rows"] = int(sum(numbers.get(name, 0) for name in ROWS))
        # A raw dataset's bytes are those of its upload.
        if dataset.kind in (UPLOAD, GRAPH) or node.kind == DERIVED:
            counts |= {name: int(numbers[name]) for name in ("bytes", "files") if name in numbers}
        return counts


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
