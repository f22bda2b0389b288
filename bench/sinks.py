"""Labels a second into PostgreSQL: the sink beside executemany and unnest, by turns in one run.

python -m bench.sinks [--labels 50000] [--rounds 5]

Each contestant is given the bytes of label records, reads them, and commits every 5,000 rows to a
table with the same columns, key and indexes, upserting; on a PostgreSQL of this run with Debian's
settings, so that each commit is on the disk. No Kafka: it is the same for both.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from statistics import median

import psycopg
from psycopg import sql

from stream_app.core.label_record import LabelRecord
from stream_app.core.settings import PostgresSettings
from stream_app.sinks.postgres.effect import BATCH, PostgresLabels
from stream_app.sinks.postgres.rows import rows_of
from stream_app.sinks.postgres.table import COLUMNS
from tests.labels import a_label
from tests.postgres import postgres_server

Contestant = Callable[[str, Sequence[Sequence[bytes]]], None]
PEER = sql.SQL(
    "INSERT INTO {table} ({columns}) {rows} ON CONFLICT (id, topic_id, epoch) DO "
    "UPDATE SET label = excluded.label, decision = excluded.decision"
)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--labels", type=int, default=50_000)
    arguments.add_argument("--rounds", type=int, default=5)
    options = arguments.parse_args()
    values = [a_label(n).model_dump_json().encode() for n in range(options.labels)]
    batches = [values[at : at + BATCH] for at in range(0, len(values), BATCH)]
    contestants: dict[str, Contestant] = {
        "sink": by_sink,
        "executemany": by_executemany,
        "unnest": by_unnest,
    }
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    costs: dict[str, list[float]] = {name: [] for name in contestants}
    with postgres_server(options="") as server:
        for _ in range(options.rounds):
            for name, run in contestants.items():
                server.run("DROP TABLE IF EXISTS labels, label_migrations")
                PostgresLabels(PostgresSettings(url=server.url())).check()
                begun, used = time.perf_counter(), time.process_time()
                run(server.url(), batches)
                rates[name].append(len(values) / (time.perf_counter() - begun))
                costs[name].append((time.process_time() - used) / len(values))
                [[rows]] = server.run("SELECT count(*) FROM labels")
                assert rows == len(values)
    middle = {name: median(found) for name, found in rates.items()}
    for name, rate in middle.items():
        cost = median(costs[name]) * 1e6
        print(f"{name:12} {rate:8.0f} rows/s, {cost:4.0f} us of this process a row")
    for peer in ("executemany", "unnest"):
        print(f"sink / {peer:12} {middle['sink'] / middle[peer]:.2f}")


def by_sink(url: str, batches: Sequence[Sequence[bytes]]) -> None:
    """As `winnow sink postgres` does."""
    effect = PostgresLabels(PostgresSettings(url=url))
    for batch in batches:
        effect.write(parsed(batch))
    effect.close()


def by_executemany(url: str, batches: Sequence[Sequence[bytes]]) -> None:
    """As one would write it first: psycopg sends these rows in its pipeline mode."""
    values = sql.SQL(", ").join(sql.SQL("%s") for _ in COLUMNS)
    statement = _inserting(sql.SQL("VALUES ({})").format(values))
    with psycopg.connect(url) as connection:
        for batch in batches:
            with connection.transaction(), connection.cursor() as cursor:
                cursor.executemany(statement, rows_of(parsed(batch)))


def by_unnest(url: str, batches: Sequence[Sequence[bytes]]) -> None:
    """A statement a batch: an array for each column."""
    kinds = (sql.SQL(kind) for kind in COLUMNS.values())  # type: ignore[arg-type]  # ours
    arrays = sql.SQL(", ").join(sql.SQL("%s::{}[]").format(kind) for kind in kinds)
    statement = _inserting(sql.SQL("SELECT * FROM unnest({})").format(arrays))
    with psycopg.connect(url) as connection:
        for batch in batches:
            with connection.transaction(), connection.cursor() as cursor:
                cursor.execute(
                    statement,
                    [list(column) for column in zip(*rows_of(parsed(batch)), strict=True)],
                )


def _inserting(rows: sql.Composed) -> sql.Composed:
    columns = sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
    return PEER.format(table=sql.Identifier("labels"), columns=columns, rows=rows)


def parsed(batch: Sequence[bytes]) -> list[LabelRecord]:
    """The labels in the values of records."""
    return [LabelRecord.model_validate_json(value) for value in batch]


if __name__ == "__main__":
    main()
