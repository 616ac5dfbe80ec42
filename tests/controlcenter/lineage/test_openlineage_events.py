"""OpenLineage events: their form, what they say of each stage, and that none is lost by paging."""

import json
import uuid
from io import StringIO
from urllib.parse import urlsplit

import jsonschema
import pytest
from django.core.management import CommandError, call_command
from lineage_fixtures import History, version_of

from controlcenter.modelling.datasets.models import Dataset
from controlcenter.modelling.evaluations.models import EvaluationReport
from controlcenter.modelling.tasks import services
from controlcenter.modelling.tasks.models import Task
from controlcenter.platform.runs import claims, endings
from controlcenter.platform.runs.models import Run

pytestmark = pytest.mark.django_db
URL = "/api/v1/lineage/openlineage/"
TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"}
URI = {"type": "string", "pattern": r"^[a-z][a-z0-9+.-]*:[^\s]+$"}
BASE_FACET = {
    "type": "object",
    "required": ["_producer", "_schemaURL"],
    "properties": {
        "_producer": URI,
        "_schemaURL": URI | {"pattern": r"^https://openlineage\.io/spec/.+#/\$defs/\w+Facet$"},
    },
}


def obj(required, **properties):
    return {"type": "object", "required": required.split(), "properties": properties}


def facet(required="", **properties):
    return {"allOf": [BASE_FACET, obj(required, **properties)]}


def facets(**known):
    return {"type": "object", "additionalProperties": BASE_FACET, "properties": known}


def dataset(**facets_beside):
    return obj("namespace name", namespace=TEXT, name=TEXT, facets=DATASET_FACETS, **facets_beside)


TEXT, COUNT = {"type": "string", "minLength": 1}, {"type": "integer", "minimum": 0}
UUID = {"type": "string", "format": "uuid"}
FIELDS = {
    "type": "array",
    "items": obj("name", name=TEXT, type=TEXT, fields={"type": "array"}),
}
DATASET_FACETS = facets(
    schema=facet(fields=FIELDS),
    version=facet("datasetVersion", datasetVersion=TEXT),
    datasetType=facet("datasetType", datasetType=TEXT),
)
QUALITY = facet(
    "columnMetrics", columnMetrics={"type": "object"}, rowCount=COUNT, bytes=COUNT, fileCount=COUNT
)
STATISTICS = facet(rowCount=COUNT, size=COUNT, fileCount=COUNT)
NAMED = {"namespace": TEXT, "name": TEXT}
PARENT = facet("run job", run=obj("runId", runId=UUID), job=obj("namespace name", **NAMED))
RUN_EVENT = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    **obj(
        "eventType eventTime producer schemaURL run job inputs outputs",
        eventType={"enum": ["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"]},
        eventTime=TIME,
        producer=URI,
        schemaURL={"const": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"},
        run=obj(
            "runId",
            runId=UUID,
            facets=facets(
                parent=PARENT,
                errorMessage=facet(
                    "message programmingLanguage", message=TEXT, programmingLanguage=TEXT
                ),
            ),
        ),
        job=obj(
            "namespace name",
            **NAMED,
            facets=facets(
                jobType=facet("processingType integration", processingType={"const": "BATCH"}),
                sourceCodeLocation=facet("type url", type=TEXT, url=URI),
            ),
        ),
        inputs={
            "type": "array",
            "items": dataset(inputFacets=facets(dataQualityMetrics=QUALITY)),
        },
        outputs={
            "type": "array",
            "items": dataset(outputFacets=facets(outputStatistics=STATISTICS)),
        },
    ),
    "additionalProperties": False,
}
"""What version 2-0-2 of the specification requires of a RunEvent and of the facets used here."""

CHECK = jsonschema.Draft202012Validator(
    RUN_EVENT, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
)


@pytest.fixture
def history(workspace, owner):
    return History(workspace, owner)


def lines(answer):
    assert answer.status_code == 200, answer.content
    assert answer["Content-Type"] == "application/x-ndjson"
    found = [json.loads(line) for line in answer.content.decode().splitlines()]
    for event in found:
        CHECK.validate(event)
        assert event["job"]["namespace"] == "ups:alpha"
    return found


def get(client, **query):
    return lines(client.get(URL, query))


def names(ports):
    return [one["name"] for one in ports]


def ends(events):
    """The last event of each run, by job and run."""
    return {(e["job"]["name"], e["run"]["runId"]): e for e in events if e["eventType"] != "START"}


def end_of(events, run):
    return next(e for (_, pk), e in ends(events).items() if pk == str(run.pk))


def test_the_check_refuses_what_is_no_event(as_viewer, history, ready_dataset):
    history.run(history.task("refresh", ready_dataset))
    event = get(as_viewer)[0]
    broken = [
        event | {"eventType": "DONE"},
        event | {"run": {}},
        event | {"eventTime": "yesterday"},
        event | {"eventTime": "2026-01-01T00:00:00"},
        event | {"producer": "us"},
        event | {"job": {"name": "x"}},
        event | {"inputs": [{"name": "x"}]},
        event | {"run": event["run"] | {"facets": {"parent": {"run": {}, "job": {}}}}},
        {name: value for name, value in event.items() if name != "producer"},
    ]
    for one in broken:
        with pytest.raises(jsonschema.ValidationError):
            CHECK.validate(one)


def test_a_fusion_reads_what_it_learns_from_and_what_it_scores(as_viewer, history, ready_dataset):
    first = history.run(history.task("refresh", ready_dataset))
    again = history.rescore(version_of(first))
    fused = history.run(history.task("fusion", base=version_of(first)))
    events = get(as_viewer)
    graphs = [f"graph/{task.runs.get(kind='building').pk}" for task in (first, again)]
    for stage, graph in zip(("training", "embedding"), graphs, strict=True):
        read = names(end_of(events, fused.runs.get(kind=stage))["inputs"])
        assert set(graphs) & set(read) == {graph}


def test_each_stage_says_what_it_read_and_wrote(as_viewer, history, ready_dataset):
    task = history.run(history.task("continuous", ready_dataset, max_iterations=2))
    events = get(as_viewer)
    runs = {(run.kind, run.iteration): run for run in task.runs.all()}
    derived = {n: f"dataset/{version_of(task, n).dataset_id}" for n in (0, 1)}
    raw = f"dataset/{ready_dataset.pk}"
    report = EvaluationReport.objects.get(task=task, iteration=0)
    for number in (0, 1):
        graph = f"graph/{runs['building', number].pk}"
        model = f"model/{runs['training', number].pk}"
        before = [f"evaluation/{report.pk}"] if number else []
        evaluation = EvaluationReport.objects.get(task=task, iteration=number)
        expected = {
            "optimizing": ([raw, *before], [derived[number]]),
            "building": ([derived[number], f"event-log/{task.workspace_id}"], [graph]),
            "training": ([graph], [model]),
            "embedding": ([graph, model], [f"profiles/{version_of(task, number).pk}"]),
            "evaluating": ([graph, model], [f"evaluation/{evaluation.pk}"]),
        }
        for stage, (read, wrote) in expected.items():
            event = end_of(events, runs[stage, number])
            assert event["eventType"] == "COMPLETE"
            assert (names(event["inputs"]), names(event["outputs"])) == (read, wrote), stage
            assert event["job"]["name"] == f"continuous.{stage}"
            parent = event["run"]["facets"]["parent"]
            assert parent["run"]["runId"] == str(task.pk)
            assert parent["job"] == {"namespace": "ups:alpha", "name": "continuous"}
    whole = end_of(events, task)
    assert (whole["eventType"], whole["job"]["name"]) == ("COMPLETE", "continuous")


def test_facets_have_counts_schema_hashes_and_code(as_viewer, history, ready_dataset):
    task = history.run(history.task("standard", ready_dataset))
    events = get(as_viewer, task=task.pk)
    runs = {run.kind: run for run in task.runs.all()}
    (derived,) = end_of(events, runs["optimizing"])["outputs"]
    statistics = derived["outputFacets"]["outputStatistics"]
    assert (statistics["rowCount"], statistics["size"]) == (13, 20)
    columns = {table["name"]: table["fields"] for table in derived["facets"]["schema"]["fields"]}
    assert {"name": "monthly_fee", "type": "numeric"} in columns["users"]
    quality = end_of(events, runs["building"])["inputs"][0]["inputFacets"]["dataQualityMetrics"]
    assert quality["rowCount"] == 13
    training = end_of(events, runs["training"])
    assert training["job"]["facets"]["sourceCodeLocation"]["version"] == "abc123"
    (model,) = training["outputs"]
    assert model["outputFacets"]["outputStatistics"]["fileCount"] == 2
    assert len(model["facets"]["version"]["datasetVersion"]) == 64
    (profiles,) = end_of(events, runs["embedding"])["outputs"]
    assert profiles["outputFacets"]["outputStatistics"]["rowCount"] == 3


def test_a_fusion_and_a_rescoring_read_their_base(as_viewer, history, ready_dataset):
    first = history.run(history.task("refresh", ready_dataset))
    fusion = history.run(history.task("fusion"))
    again = history.rescore(version_of(fusion))
    events = get(as_viewer)
    graph, model = (
        f"{n}/{first.runs.get(kind=k).pk}"
        for n, k in (("graph", "building"), ("model", "training"))
    )
    fused = f"model/{fusion.runs.get(kind='training').pk}"
    training = end_of(events, fusion.runs.get(kind="training"))
    assert names(training["inputs"]) == [graph, model]
    assert names(training["outputs"]) == [fused]
    assert names(end_of(events, fusion.runs.get(kind="embedding"))["inputs"]) == [graph, fused]
    built = f"graph/{again.runs.get(kind='building').pk}"
    embedding = end_of(events, again.runs.get(kind="embedding"))
    assert names(embedding["inputs"]) == [built, fused]
    assert names(embedding["outputs"]) == [f"profiles/{version_of(fusion).pk}"]


def test_failures_losses_and_what_a_retry_takes_over(as_viewer, history, ready_dataset):
    failed = history.run(history.task("standard", ready_dataset), fail="training", lose="building")
    again = history.run(services.retry(task=failed, account=history.account))
    events = get(as_viewer)
    broke = end_of(events, failed.runs.get(kind="training"))
    assert (broke["eventType"], broke["outputs"]) == ("FAIL", [])
    assert broke["run"]["facets"]["errorMessage"]["message"] == "It broke."
    assert end_of(events, failed)["run"]["facets"]["errorMessage"]["message"] == "It broke."
    lost, built = failed.runs.filter(kind="building").order_by("attempt")
    assert [end_of(events, run)["eventType"] for run in (lost, built)] == ["FAIL", "COMPLETE"]
    derived = f"dataset/{Dataset.objects.get(source=ready_dataset).pk}"
    for kind, taken in (("optimizing", derived), ("building", f"graph/{built.pk}")):
        reused = end_of(events, again.runs.get(kind=kind))
        assert (names(reused["inputs"]), reused["outputs"]) == ([taken], [])
    assert names(end_of(events, again.runs.get(kind="training"))["inputs"]) == [f"graph/{built.pk}"]


def test_a_cancelled_run_is_aborted_and_one_that_never_began_is_not_told(
    as_viewer, history, ready_dataset
):
    waiting = history.task("refresh", ready_dataset)
    assert get(as_viewer) == []
    services.cancel(task=waiting, account=history.account)
    assert get(as_viewer) == []
    running = history.task("refresh", ready_dataset)
    held = claims.claim(running.runs.get().pk, worker="test")
    services.cancel(task=running, account=history.account)
    endings.release(held, reason="Stopped on request.")
    told = sorted((e["job"]["name"], e["eventType"]) for e in get(as_viewer))
    assert told == [(name, kind) for name in ("refresh", "refresh.building")
                    for kind in ("ABORT", "START")]  # fmt: skip


def test_validation_and_synthesis_are_told_without_a_parent(as_viewer, workspace, ready_dataset):
    for kind in ("synthesis", "validation", "explaining"):
        Run.objects.create(
            workspace=workspace, kind=kind, subject=str(ready_dataset.pk), queue="ingest",
            status="done", started_at="2026-01-01T00:00:00Z", finished_at="2026-01-01T00:01:00Z",
        )  # fmt: skip
    told = {name: e for (name, _), e in ends(get(as_viewer)).items()}
    pk = ready_dataset.pk
    ports = {n: (names(e["inputs"]), names(e["outputs"])) for n, e in told.items()}
    assert ports == {
        "synthesis": ([], [f"upload/{pk}"]),
        "validation": ([f"upload/{pk}"], [f"dataset/{pk}"]),
        "explaining": ([], []),
    }
    assert not any("parent" in e["run"]["facets"] for e in told.values())


def test_paging_tells_each_event_once_in_order(as_viewer, history, ready_dataset):
    for _ in range(3):
        history.run(history.task("standard", ready_dataset))
    whole = get(as_viewer)
    assert len(whole) == 3 * 2 * 6
    Run.objects.update(finished_at="2026-01-02T00:00:00Z")  # ties must not lose any
    whole, pages = get(as_viewer), []
    answer = as_viewer.get(URL, {"limit": 4})
    while True:
        pages.append(lines(answer))
        link = answer.headers.get("Link")
        if link is None:
            break
        url, rel = link.split("; ")
        assert rel == 'rel="next"'
        parts = urlsplit(url.strip("<>"))
        answer = as_viewer.get(f"{parts.path}?{parts.query}")
    assert len(pages) == 5
    assert [event for page in pages for event in page] == whole
    out = StringIO()
    call_command("export_lineage", workspace="alpha", stdout=out)
    assert [json.loads(line) for line in out.getvalue().splitlines()] == whole


def test_since_tells_what_ended_or_began_since(as_viewer, history, ready_dataset):
    first = history.run(history.task("refresh", ready_dataset))
    second = history.run(history.task("refresh", ready_dataset))
    told = get(as_viewer, since=second.started_at.isoformat())
    assert str(first.pk) not in {e["run"]["runId"] for e in told}
    assert str(second.pk) in {e["run"]["runId"] for e in told}
    Task.objects.filter(pk=second.pk).update(finished_at=None, state="training")
    running = [e for e in get(as_viewer, task=second.pk) if e["run"]["runId"] == str(second.pk)]
    assert [e["eventType"] for e in running] == ["START"]


@pytest.mark.parametrize(
    "query",
    [
        {"since": "yesterday"},
        {"after": "1"},
        {"limit": "0"},
        {"limit": "1001"},
        {"limit": "many"},
        {"task": "1"},
        {"dataset": "x"},
    ],
)
def test_what_cannot_be_asked_is_refused(as_viewer, query):
    answer = as_viewer.get(URL, query)
    assert answer.status_code == 400
    (name,) = query
    assert [error["field"] for error in answer.json()["errors"]] == [name]


def test_strangers_see_nothing(as_stranger, history, ready_dataset):
    task = history.run(history.task("refresh", ready_dataset))
    assert as_stranger.get(URL).content == b""
    assert as_stranger.get(URL, {"workspace": "alpha"}).status_code == 404
    for pk in (task.pk, uuid.uuid4()):
        assert as_stranger.get(URL, {"task": pk}).status_code == 404


def test_the_command_refuses_what_it_does_not_know(workspace):
    with pytest.raises(CommandError, match="no workspace 'gamma'"):
        call_command("export_lineage", workspace="gamma")
    with pytest.raises(CommandError, match="expected ISO 8601"):
        call_command("export_lineage", workspace="alpha", since="yesterday")
