"""The table of labels: its versions, and whether what is there is it.

A change of the schema is one more entry in `MIGRATIONS`, never another text of an old one. The
table `label_migrations` beside it says which version it has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import psycopg
from psycopg import sql

from stream_app.core.errors import ConfigError
from stream_app.sinks.postgres.rows import Row

_NAME = re.compile(r"([a-z_][a-z0-9_]{0,47}\.)?[a-z_][a-z0-9_]{0,47}")

MIGRATIONS = (
    """
    CREATE TABLE {table} (
        id text NOT NULL,                -- topic/partition/offset of the input; a replay keeps it
        topic_id text NOT NULL,          -- of that topic: another if it was made again; '' unknown
        epoch integer NOT NULL,          -- higher if offsets of a lost log were reused; -1 unknown
        route text NOT NULL,
        label text NOT NULL,
        labels jsonb NOT NULL,           -- array: every label at or above its threshold
        decision text NOT NULL,          -- a label, or 'unsure'
        confidence double precision NOT NULL,
        scores jsonb NOT NULL,           -- object: label -> score
        familiarity double precision,
        marks jsonb NOT NULL,            -- array: why the decision is unsure
        model_name text NOT NULL,
        model_version text NOT NULL,
        model_digest text NOT NULL,
        message_id text,
        fields jsonb NOT NULL,           -- object: the route's pass_fields
        source_topic text NOT NULL,      -- where the record was read: of a replay, not as in the id
        source_partition integer NOT NULL,
        source_offset bigint NOT NULL,
        recorded_at timestamptz,         -- the input record's own time
        classified_at timestamptz NOT NULL,
        written_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (id, topic_id, epoch)
    );
    CREATE INDEX ON {table} (route, recorded_at);
    CREATE INDEX ON {table} USING hash (message_id);
    """,
    """
    ALTER TABLE {table}
        -- array: every label that may be acted on; empty in rows that an older winnow wrote
        ADD COLUMN decisions jsonb NOT NULL DEFAULT '[]';
    """,
)

COLUMNS = {
    **dict.fromkeys(Row._fields, "text"),
    **dict.fromkeys(("epoch", "source_partition"), "integer"),
    **dict.fromkeys(("labels", "decisions", "scores", "marks", "fields"), "jsonb"),
    **dict.fromkeys(("confidence", "familiarity"), "double precision"),
    **dict.fromkeys(("recorded_at", "classified_at"), "timestamp with time zone"),
    "source_offset": "bigint",
}
_TYPES = """
    SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
    WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped
"""
_STAGE = """
    CREATE TEMPORARY TABLE IF NOT EXISTS stage_of_labels ON COMMIT DELETE ROWS AS
    SELECT {columns} FROM {table} WITH NO DATA
"""
_COPY = "COPY stage_of_labels ({columns}) FROM STDIN"
_MERGE = """
    INSERT INTO {table} AS kept ({columns}) SELECT {columns} FROM stage_of_labels
    ON CONFLICT (id, topic_id, epoch) DO UPDATE SET {newer}, written_at = now()
    WHERE kept.classified_at < excluded.classified_at
"""
_KEY = ("id", "topic_id", "epoch")


class Table:
    """One by its name, which may have a schema: `labels`, `analytics.labels`."""

    def __init__(self, name: str) -> None:
        """Raises ConfigError for a name that is none."""
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"postgres.table {name!r}: write TABLE or SCHEMA.TABLE, each of a-z 0-9 _"
            )
        self.name = name
        schema = name.split(".")[:-1]
        self._identifier = sql.Identifier(*name.split("."))
        self._log = sql.Identifier(*schema, "label_migrations")
        names = {"table": self._identifier, "columns": _list(COLUMNS), "newer": _newer()}
        self._stage, self._copy, self._merge = (
            sql.SQL(text).format(**names) for text in (_STAGE, _COPY, _MERGE)
        )

    def migrate(self, connection: psycopg.Connection) -> None:
        """Make the table, or bring it to the newest version. Raises ConfigError where it cannot be
        ours, psycopg.Error."""
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(hashtext('label_migrations'))")
            version = self._version(connection)
            if version > len(MIGRATIONS):
                raise ConfigError(
                    f"table {self.name} has version {version}, and this winnow knows "
                    f"{len(MIGRATIONS)}: a newer one made it; upgrade this one"
                )
            for text in MIGRATIONS[version:]:
                connection.execute(sql.SQL(text).format(table=self._identifier))
            if version < len(MIGRATIONS):
                self._write_version(connection)
        self._check_types(connection)

    def write(self, connection: psycopg.Connection, rows: Sequence[Row]) -> None:
        """Upsert rows, each of another key, within the transaction that is open: by COPY to a
        temporary table, which is faster than executemany (`bench/sinks.py`). A row is replaced
        by a label that was made later. Raises psycopg.Error."""
        connection.execute(self._stage)
        with connection.cursor() as cursor, cursor.copy(self._copy) as copy:
            for row in rows:
                copy.write_row(row)
        connection.execute(self._merge)

    def _version(self, connection: psycopg.Connection) -> int:
        """0 where there is no table yet."""
        if self._is_missing(connection, self._identifier):
            return 0
        if not self._is_missing(connection, self._log):
            found = connection.execute(
                sql.SQL("SELECT version FROM {} WHERE table_name = %s").format(self._log),
                [self.name],
            ).fetchone()
            if found:
                return int(found[0])
        raise ConfigError(
            f"table {self.name} exists, and `winnow sink postgres` did not make it: give another "
            "name by --table, or drop it"
        )

    def _write_version(self, connection: psycopg.Connection) -> None:
        connection.execute(
            sql.SQL(
                "CREATE TABLE IF NOT EXISTS {} (table_name text PRIMARY KEY, "
                "version integer NOT NULL, migrated_at timestamptz NOT NULL DEFAULT now())"
            ).format(self._log)
        )
        connection.execute(
            sql.SQL(
                "INSERT INTO {} (table_name, version) VALUES (%s, %s) ON CONFLICT (table_name) "
                "DO UPDATE SET version = excluded.version, migrated_at = now()"
            ).format(self._log),
            [self.name, len(MIGRATIONS)],
        )

    def _check_types(self, connection: psycopg.Connection) -> None:
        """More columns do no harm; one of ours that is another would."""
        rows = connection.execute(_TYPES, [self._identifier.as_string()]).fetchall()
        found: dict[str, str] = dict(rows)
        for name, kind in COLUMNS.items():
            if found.get(name) != kind:
                is_now = found.get(name, "missing")
                raise ConfigError(
                    f"table {self.name}: column {name} must be {kind} and is {is_now}: change it "
                    "back, and have a view show it as you like"
                )

    @staticmethod
    def _is_missing(connection: psycopg.Connection, table: sql.Identifier) -> bool:
        [found] = connection.execute("SELECT to_regclass(%s)", [table.as_string()]).fetchall()
        return found[0] is None


def _list(names: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))


def _newer() -> sql.Composed:
    """What a later label changes: all but the key."""
    names = [sql.Identifier(name) for name in COLUMNS if name not in _KEY]
    return sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(name) for name in names)
