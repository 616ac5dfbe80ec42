"""Build the graph of a dataset and of what the event log has since."""

import polars as pl

from controlcenter.modelling.datasets.services import checked_tables
from controlcenter.modelling.tasks import states
from controlcenter.modelling.tasks.models import Task
from controlcenter.modelling.tasks.stages import finished
from controlcenter.modelling.tasks.working_data import working_dataset
from controlcenter.platform.artifacts.models import Artifact
from controlcenter.platform.artifacts.services import fetch_all
from controlcenter.platform.common.errors import Conflict
from controlcenter.platform.log.positions import LogPosition, current_position
from controlcenter.platform.runs.commits import Commit
from ml.contracts.reports.graph import GraphReport
from ml.data.frames import Tables, event_counts, load_tables
from ml.data.linking import link_events
from ml.data.quality import LINE, QualityReport
from ml.graph.graph import build_graph
from ml.graph.storage import save_graph
from ml.optimizing.added import separate
from workers.files import ADDED, COUNTS, GRAPH, LAST_EVENTS, PEERS, SAMPLE
from workers.log_edges import POSITION, load_position, read_log, save_position
from workers.runtime.errors import PermanentError
from workers.runtime.execution import Execution
from workers.runtime.retries import STORE_PATIENCE


def work(execution: Execution) -> None:
    """The stage ``building``: dataset and event log → graph, counts, call peers."""
    task = Task.objects.select_related("dataset", "base_version").get(pk=execution.claim.owner_id)
    try:
        working = working_dataset(task)
        artifacts = checked_tables(working) if working else []
    except Conflict as error:
        raise PermanentError(str(error)) from error
    if working is None:
        take_graph_of_base(execution, task)
        return
    execution.progress(0.05, "fetching the checked tables")
    checked = load_tables(fetch_all(artifacts, execution.folder / "in", patience=STORE_PATIENCE))
    dataset, added = separate(checked)
    if task.base_version is not None and task.base_version.schema_hash != dataset.schema.hash:
        raise PermanentError(
            f"The dataset has schema {dataset.schema.hash[:12]}, {task.base_version} was trained "
            f"on {task.base_version.schema_hash[:12]}: run a full refresh instead."
        )
    position = position_of(task, execution)
    log = read_log(execution.claim.workspace_id, until=position)
    tables = join(dataset, log)
    execution.progress(0.4, f"{tables.users.height} users, {tables.events.height} events")
    out = execution.folder / "out"
    keep_timestamps: bool = task.parameters["keep_timestamps"]
    graph = build_graph(tables, keep_timestamps=keep_timestamps)
    save_graph(graph, out / GRAPH)
    if task.parameters["scope"] == "sampled":
        sample = build_graph(
            tables,
            scope="sampled",
            sample_ratio=task.parameters["sample_ratio"],
            seed=task.parameters["seed"],
            keep_timestamps=keep_timestamps,
        )
        save_graph(sample, out / SAMPLE)
    save_counts(dataset, log, execution)
    save_position(position, out)
    if added.height:
        added.write_parquet(out / ADDED)
    execution.progress(0.8, "storing the graph")
    files = execution.put_folder(out)
    metrics = GraphReport(
        nodes=dict(graph.num_nodes),
        events=graph.num_events,
        events_of_the_log=log.height,
        added_events=added.height,
        dropped_events=graph.dropped_events,
        pairs={edge.name: len(graph.pairs(edge.key)) for edge in graph.schema.edges},
    ).to_dict()

    def effect(commit: Commit) -> None:
        for stored, name in files:
            commit.artifact(stored, name)
        commit.metrics = metrics
        Task.objects.filter(pk=task.pk).update(metrics={**task.metrics, "graph": metrics})

    execution.commit(effect)


def position_of(task: Task, execution: Execution) -> LogPosition:
    """Up to which position in the log this iteration reads it: as far as the first one did.

    Each iteration holds out the same events then, and their metrics can be compared.
    """
    first = finished(task.pk, 0, states.BUILDING) if task.iteration else None
    if first is None:
        return current_position()
    files = Artifact.objects.filter(run_id=first.pk, epoch=first.epoch, name=POSITION)
    folder = fetch_all(files, execution.folder / "first", patience=STORE_PATIENCE)
    return load_position(folder) or current_position()


def take_graph_of_base(execution: Execution, task: Task) -> None:
    """The graph that the base version was trained on, where its dataset is deleted by now."""
    if task.base_version is None:
        raise PermanentError(
            "The task has neither a dataset nor a base version: create one that has."
        )
    execution.progress(0.1, f"taking over the graph of {task.base_version}")
    out = execution.folder / "out"
    fetch_all(task.base_version.graph_files.all(), out, patience=STORE_PATIENCE)
    files = execution.put_folder(out)

    def effect(commit: Commit) -> None:
        for stored, name in files:
            commit.artifact(stored, name)
        commit.metrics = {"graph_of": str(task.base_version)}

    execution.commit(effect)


def join(dataset: Tables, log: pl.DataFrame) -> Tables:
    """The dataset with the events of the log that it does not have, and the nodes they name."""
    schema = dataset.schema
    pairs = [f"{edge.event} {edge.target}" for edge in schema.edges]
    fits = pl.concat_str("type", "target_type", separator=" ").is_in(pairs)
    unseen = ~pl.col("event_id").is_in(dataset.events["event_id"].drop_nulls().implode())
    new = log.filter(fits & unseen)
    if not new.height:
        return dataset
    nodes = {node.name: dataset.nodes(node.name) for node in schema.nodes}
    line = [frame.with_row_index(LINE) for frame in (dataset.events, new)]
    linked = link_events(schema, nodes, [("dataset", line[0]), ("log", line[1])], QualityReport())
    return Tables(
        schema=schema,
        users=linked["users"],
        products=linked.get("products", dataset.products),
        apps=linked.get("apps", dataset.apps),
        events=linked["events"],
    )


def save_counts(dataset: Tables, log: pl.DataFrame, execution: Execution) -> None:
    """What profiles count of the dataset alone: an event that the log has too is the log's."""
    events = dataset.events.filter(
        pl.col("event_id").is_null() | ~pl.col("event_id").is_in(log["event_id"].implode())
    )
    out = execution.folder / "out"
    rest = Tables(dataset.schema, dataset.users, dataset.products, dataset.apps, events)
    event_counts(rest).write_parquet(out / COUNTS)
    last = events.group_by("actor").agg(pl.col("timestamp").max()).drop_nulls()
    last.rename({"actor": "user_id"}).write_parquet(out / LAST_EVENTS)
    calls = events.filter(type="call", target_type="user")
    calls.select(user_id="actor", peer_id="target").unique().sort(
        "user_id", "peer_id"
    ).write_parquet(out / PEERS)
