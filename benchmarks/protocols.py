"""The usual protocols of link prediction on somebody's own data: the model beside simple ones.

    python -m benchmarks.protocols ratings FILE [--columns user item]
    python -m benchmarks.protocols messages FILE --columns from to time

Files have a header; with ``--no-header`` they have none, and columns are named 1, 2, … by place.

``ratings``: 75 % of each user's pairs to learn from, drawn at random, 25 % to find; NDCG@10 and
Recall@10 of the list over all items that the user has not had in training, relevance 0 or 1,
averaged over users. ``messages``: the first 70 % of the events to learn from, 15 % for validation,
15 % to find; AP and AUC against one random negative an event (the same source, any other node that
receives events somewhere in the data). Once frozen at the cut, and once brought up to date before
each batch of events, as published figures on such data are.

"ours" is the whole score of a link, in which popularity, past events and EASE or item-kNN have a
part beside the embeddings; "embedding" is the cosine of the embeddings, which is what the network
says by itself.

Everything has its documented default; nothing is chosen on the test part.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.interactions import columns_of, features_of, graph_of, read_interactions
from ml.contracts.schema import EdgeKey, EdgeType
from ml.evaluation.baselines import ease, edge_bank, item_knn, popularity, repeat
from ml.evaluation.metrics import Ints, Neighbours, Scorer, auc, average_precision
from ml.evaluation.ranking import list_metrics, rank_metrics, rank_queries
from ml.graph.graph import Edges, Graph, Pairs, distinct_pairs
from ml.graph.splits import Split, split_graph
from ml.hgt.decoder import Decoder, fit_decoder
from ml.hgt.model import embed
from ml.hgt.training.train import TrainedModel, TrainingConfig, train

RATES = EdgeType("user", "rates", "product", "rate")
WRITES = EdgeType("user", "writes", "user", "write")
BATCH = 200

Row = dict[str, float]


@dataclass(frozen=True)
class Model:
    """What the protocols know of the model: it scores links on whatever graph it is given."""

    trained: TrainedModel
    decoder: Decoder

    def scorers(self, graph: Graph, edge: EdgeType) -> dict[str, Scorer]:
        """The whole score and the embeddings' cosine, from everything that ``graph`` knows."""
        embeddings = embed(self.trained.model, self.trained.encoder, graph)
        source, target = embeddings[edge.source], embeddings[edge.target]
        return {
            "ours": self.decoder.scorer(edge, graph, embeddings),
            "embedding": lambda src: source[src] @ target.T,
        }


def train_model(split: Split, config: TrainingConfig) -> Model:
    """With the defaults of a refresh: network on the train part, link weights on validation."""
    trained = train(split.train, config)
    early = embed(trained.model, trained.encoder, split.train)
    return Model(trained, fit_decoder(split, early, trained.temperatures, seed=config.seed))


def baselines(graph: Graph, edge: EdgeType) -> dict[str, Scorer]:
    """Scorers by name; EASE is missing where there is nothing to fit it on."""
    pairs, nodes = graph.pairs(edge.key), graph.num_nodes
    sources, targets = nodes[edge.source], nodes[edge.target]
    found: dict[str, Scorer | None] = {
        "popularity": popularity(pairs, targets),
        "repeat edges": repeat(pairs, sources, targets),
        "EdgeBank": edge_bank(pairs, sources, targets),
        "item-kNN": item_knn(pairs, sources, targets),
        "EASE": ease(pairs, sources, targets),
    }
    return {name: scorer for name, scorer in found.items() if scorer is not None}


def ratings(
    graph: Graph, edge: EdgeType, config: TrainingConfig, *, validation: float = 0.10
) -> dict[str, Row]:
    """Lists of 10 over everything that the user has not had in training.

    Args:
        validation: Share of all pairs that the train part gives to the fit of the link weights.
    """
    split = split_graph(graph, validation=validation, test=0.25, seed=config.seed)
    known, targets = split.observed.pairs(edge.key), graph.num_nodes[edge.target]
    held = distinct_pairs(split.test[edge.key], targets)
    had = Neighbours.of(known.src, known.dst, graph.num_nodes[edge.source])
    both = _joined(known, held, targets)
    everything = Neighbours.of(both.src, both.dst, graph.num_nodes[edge.source])
    scorers = train_model(split, config).scorers(split.observed, edge)
    rows = {}
    for name, score in (scorers | baselines(split.observed, edge)).items():
        found = rank_queries(
            score, held.src, held.dst, removed={"had": had, "everything": everything}
        )
        single = rank_metrics(found.places["everything"].ranks)
        rows[name] = list_metrics(held.src, found.places["had"]) | {"mrr": single["mrr"]}
    return rows


def messages(graph: Graph, edge: EdgeType, config: TrainingConfig) -> dict[str, Row]:
    """AP and AUC of later events against random negatives, frozen and kept up to date."""
    split = split_graph(graph)
    if split.cuts is None:
        raise SystemExit("the protocol 'messages' needs times: name their column as the third")
    late = split.test[edge.key]
    order = np.argsort(late.time, kind="stable") if late.time is not None else np.arange(len(late))
    late = late.take(order)
    negative = negatives(late, np.unique(graph.edges[edge.key].dst), seed=config.seed)
    model = train_model(split, config)

    def scorers(known: Graph) -> dict[str, Scorer]:
        return model.scorers(known, edge) | baselines(known, edge)

    frozen = {
        name: (_values(score, late.src, late.dst), _values(score, late.src, negative))
        for name, score in scorers(split.observed).items()
    }
    following = follow(split.observed, edge.key, late, negative, scorers)
    rows = {}
    for name, values in frozen.items():
        value, other = following[name]
        rows[name] = _ap_auc(*values, "") | _ap_auc(value, other, " up to date")
        by_batch = [
            _ap_auc(value[first : first + BATCH], other[first : first + BATCH], "")["ap"]
            for first in range(0, len(value), BATCH)
        ]
        rows[name]["ap, mean of batches"] = float(np.mean(by_batch))
    return rows


def negatives(late: Edges, candidates: Ints, *, seed: int) -> Ints:
    """A random other target for each event. Shape: [Q]."""
    generator = np.random.default_rng(seed)
    drawn = generator.integers(0, len(candidates) - 1, len(late))
    own = np.searchsorted(candidates, late.dst)
    return candidates[drawn + (drawn >= own)]


def follow(
    known: Graph,
    key: EdgeKey,
    late: Edges,
    negative: Ints,
    scorers: Callable[[Graph], dict[str, Scorer]],
) -> dict[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
    """Scores of events and negatives, each batch by what happened before it."""
    found: dict[str, list[tuple[Any, Any]]] = {}
    for first in range(0, len(late), BATCH):
        rows = np.arange(first, min(first + BATCH, len(late)))
        past = known.edges[key].join(late.take(np.arange(first)))
        for name, score in scorers(known.with_edges({**known.edges, key: past})).items():
            src, dst = late.src[rows], late.dst[rows]
            pair = (_values(score, src, dst), _values(score, src, negative[rows]))
            found.setdefault(name, []).append(pair)
    return {
        name: (np.concatenate([a for a, _ in x]), np.concatenate([b for _, b in x]))
        for name, x in found.items()
    }


def _values(score: Scorer, src: Ints, dst: Ints) -> npt.NDArray[np.float64]:
    values = np.empty(len(src))
    for first in range(0, len(src), 512):
        part = slice(first, first + 512)
        scores = score(src[part])
        values[part] = scores[np.arange(len(scores)), dst[part]]
    return values


def _ap_auc(value: Any, other: Any, name: str) -> Row:
    target = np.r_[np.ones(len(value)), np.zeros(len(other))]
    both = np.r_[value, other]
    return {f"ap{name}": average_precision(target, both), f"auc{name}": auc(target, both)}


def _joined(one: Pairs, other: Pairs, targets: int) -> Pairs:
    return distinct_pairs(Edges(one.src, one.dst).join(Edges(other.src, other.dst)), targets)


def table(rows: Mapping[str, list[Row]]) -> str:
    """Mean over the seeds, with the standard deviation where there are several."""
    names = list(next(iter(rows.values()))[0])
    lines = [f"{'':<14}" + "".join(f"{name:>22}" for name in names)]
    for method, found in rows.items():
        cells = []
        for name in names:
            values = np.array([row[name] for row in found])
            spread = f" ± {values.std(ddof=1):.4f}" if len(values) > 1 else ""
            cells.append(f"{values.mean():.4f}{spread}".rjust(22))
        lines.append(f"{method:<14}" + "".join(cells))
    return "\n".join(lines)


def options() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.protocols", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("protocol", choices=["ratings", "messages"])
    parser.add_argument(
        "file", type=Path, help="Parquet, or separated by tab, comma, semicolon, space, | or ::"
    )
    parser.add_argument(
        "--columns", nargs="+", default=[], help="source, target and, for messages, time"
    )
    parser.add_argument(
        "--no-header",
        dest="header",
        action="store_false",
        help="none of the files has a header; columns are named 1, 2, … by place",
    )
    parser.add_argument("--users", type=Path, help="attributes of users, the id first")
    parser.add_argument("--items", type=Path, help="attributes of items, the id first")
    parser.add_argument("--bipartite", action="store_true", help="targets of messages are items")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    return parser


def read(asked: argparse.Namespace) -> tuple[Graph, EdgeType]:
    """The graph of the files, and the type of its edges."""
    wanted = 2 if asked.protocol == "ratings" else 3
    columns = asked.columns or columns_of(asked.file, header=asked.header)
    if asked.protocol == "messages" and not asked.columns and len(columns) != wanted:
        raise SystemExit(
            f"{asked.file} has the columns {columns}, expected source, target and time alone; say "
            "which they are: --columns SOURCE TARGET TIME"
        )
    frame = read_interactions(asked.file, columns[:wanted], header=asked.header)
    edge = RATES if asked.protocol == "ratings" or asked.bipartite else WRITES
    tables = {
        "user": features_of(asked.users, header=asked.header),
        "product": features_of(asked.items, header=asked.header),
    }
    graph = graph_of(frame, edge, tables)
    for option, node in (("users", "user"), ("items", "product")):
        known = tables[node][1]
        if known is not None:
            print(_coverage(option, known["id"].drop_nulls().to_list(), graph.node_ids.get(node)))
    return graph, edge


def _coverage(option: str, known: Sequence[str], ids: Sequence[str] | None) -> str:
    """For how many there are attributes; none at all are another file's, or ids of other kind."""
    if ids is None:
        raise SystemExit(
            "--items: targets of messages are users; give --bipartite if they are items"
        )
    found = f"--{option}: attributes found for {len({*known} & {*ids})} of {len(ids)} {option}"
    if {*known}.isdisjoint(ids):
        raise SystemExit(
            f"{found}; ids there are like {known[:3]}, in the interactions like {list(ids[:3])}. "
            "Expected the same ids, in the first column of the attributes"
        )
    return found


def described(graph: Graph, edge: EdgeType) -> str:
    """What was read, for a look: sizes, the range of times, features with their kinds."""
    lines = [f"{graph.num_events} events, {graph.num_nodes} nodes"]
    seconds = graph.edges[edge.key].time
    if seconds is not None and len(seconds):
        first, last = (np.datetime64(int(end), "s") for end in (seconds.min(), seconds.max()))
        lines.append(f"times: {first} to {last} (UTC)")
    for node in graph.schema.nodes:
        if node.features:
            kinds = ", ".join(f"{feature.name} {feature.kind}" for feature in node.features)
            lines.append(f"features of {node.name}: {kinds}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """See the module's text."""
    asked = options().parse_args(arguments)
    graph, edge = read(asked)
    print(f"{asked.file.name}: {described(graph, edge)}", flush=True)
    rows: dict[str, list[Row]] = {}
    for seed in asked.seeds:
        begin = time.monotonic()
        run = ratings if asked.protocol == "ratings" else messages
        for name, row in run(graph, edge, TrainingConfig(seed=seed)).items():
            rows.setdefault(name, []).append(row)
        print(f"seed {seed}: {time.monotonic() - begin:.1f} s", flush=True)
    print(table(rows))
    if asked.json:
        about = {"protocol": asked.protocol, "file": asked.file.name, "seeds": asked.seeds}
        about |= {"nodes": graph.num_nodes, "events": graph.num_events}
        content = {**about, "config": asdict(TrainingConfig()), "rows": rows}
        asked.json.write_text(json.dumps(content, indent=2))


if __name__ == "__main__":
    main()
