"""Ingestion of event batches, beside a bare COPY of the same rows into the same table.

Ours is the whole service call: from parsed JSON to the commit, with every envelope checked, known
events left out, and counts, last events and call peers of the profiles raised. The peer is handed
rows that are ready and copies them into the event log with its indexes, in one transaction.
"""

import random
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks.harness import Row, measure, report
from benchmarks.servers import servers

USERS, PRODUCTS, APPS = 100_000, 2_000, 500
SIZES = (10_000, 1_000)
REPEAT, WARMUP = 9, 2
SEED = 0
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def batches(size: int, seed: int) -> Iterator[list[dict[str, Any]]]:
    """Batches of envelopes; activity is as skewed as people's is (log-normal, sigma 1.5)."""
    chance = random.Random(seed)
    weights = [chance.lognormvariate(0, 1.5) for _ in range(USERS)]
    sums: list[float] = []
    for weight in weights:
        sums.append(weight + (sums[-1] if sums else 0.0))
    while True:
        actors = chance.choices(range(USERS), cum_weights=sums, k=size)
        called = chance.choices(range(USERS), cum_weights=sums, k=size)
        yield [event(chance, *pair) for pair in zip(actors, called, strict=True)]


def event(chance: random.Random, actor: int, called: int) -> dict[str, Any]:
    kind = chance.choice(("call", "order", "click", "use"))
    payload: dict[str, Any] = {"actor": f"u{actor}"}
    match kind:
        case "call":
            payload |= {"target": f"u{called}", "seconds": chance.randrange(600)}
        case "use":
            payload |= {"target": f"a{chance.randrange(APPS)}", "minutes": chance.randrange(90)}
        case _:
            payload |= {"target": f"p{chance.randrange(PRODUCTS)}", "target_type": "product"}
    return {
        "event_id": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
        "source": "benchmark",
        "type": kind,
        "timestamp": (BEGIN + timedelta(seconds=chance.randrange(86_400 * 20))).isoformat(),
        "payload": payload,
        "meta": {"version": "1.0"},
    }


def rows() -> list[Row]:
    """A row a size of batch. Needs ``servers``."""
    from django.db import connection, transaction

    from controlcenter.platform.accounts.models import Workspace
    from controlcenter.platform.common import clock
    from controlcenter.platform.log.envelope import Reader, canonical_id
    from controlcenter.platform.log.writing import COPY
    from controlcenter.serving.ingestion.edge_contract import contracts_of
    from controlcenter.serving.ingestion.services import ingest

    ours, peer = (Workspace.objects.create(slug=name, name=name) for name in ("ours", "peer"))
    reader = Reader(contracts=contracts_of(ours.graph_schema), now=clock.now())
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO profiles_profile (workspace_id, user_id, attributes) "
            "SELECT %s, 'u' || n, '{}' FROM generate_series(0, %s) AS n",
            [ours.pk, USERS - 1],
        )
        cursor.execute("ANALYZE")

    def copy(ready: list[tuple[Any, ...]]) -> None:
        with transaction.atomic(), connection.cursor() as cursor, cursor.copy(COPY) as copying:
            for row in ready:
                copying.write_row(row)

    def row_of(size: int) -> Row:
        source = batches(size, SEED + size)
        sent = [next(source) for _ in range(REPEAT + WARMUP)]
        ready = [[(peer.pk, *reader.read(e, canonical_id(e))) for e in batch] for batch in sent]
        to_ingest, to_copy = iter(sent), iter(ready)
        users = len({e["payload"]["actor"] for e in sent[0]})
        mine, bare = measure(
            lambda: ingest(workspace=ours, events=next(to_ingest)),
            lambda: copy(next(to_copy)),
            repeat=REPEAT,
            warmup=WARMUP,
        )
        return Row(
            what="ingestion of a batch",
            size=f"{size:,} events of {users:,} users, {USERS:,} profiles",
            ours=mine,
            peer=bare,
            peer_name="COPY",
            required=0.5,
            notes=f"{size / mine.median:,.0f} events a second, counted; COPY counts nothing",
        )

    return [row_of(size) for size in SIZES]


def server_version() -> str:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        return str(cursor.fetchone()[0])


if __name__ == "__main__":
    with servers():
        report(rows(), "ingest", versions={"PostgreSQL": server_version()})
