"""The effect: a batch of labels becomes rows in one transaction, each record once.

A label replaces an older one of its record and never a newer one, so that a batch may be written
again, and by two sinks at once.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from stream_app.core.errors import ConfigError, SinkError
from stream_app.core.label_record import LabelRecord
from stream_app.core.settings import PostgresSettings
from stream_app.core.settings.files import secret_in
from stream_app.sinks.postgres.rows import Row, rows_of
from stream_app.sinks.postgres.table import Table

log = logging.getLogger(__name__)

BATCH = 5000  # rows in a transaction, at most
CONNECT_SECONDS = 10
ANSWER_MS = 30_000  # for a statement, and for a network that swallows what is sent
_ROW_TOO_LARGE = "54000"  # for an index: PostgreSQL's program_limit_exceeded


class PostgresLabels:
    """Writes to one table. Connects when it must, and again after any failure."""

    def __init__(self, settings: PostgresSettings) -> None:
        """Raises ConfigError for an address, a table name or a password file that is none."""
        self._conninfo = _conninfo(settings)
        self._table = Table(settings.table)
        self._connection: psycopg.Connection | None = None

    def check(self) -> None:
        """Connect and make the table. Raises ConfigError where that is not allowed."""
        try:
            self._connected()
        except psycopg.OperationalError as error:
            self.close()
            raise SinkError(_told(error)) from error
        except psycopg.Error as error:
            self.close()
            raise ConfigError(_told(error)) from error

    def write(self, labels: Sequence[LabelRecord]) -> int:
        """Each label to its row, all in one transaction; how many the database refused to hold."""
        try:
            return self._write(self._connected(), rows_of(labels))
        except (psycopg.Error, ConfigError) as error:  # a right or a column that was taken away
            self.close()
            raise SinkError(_told(error)) from error

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> psycopg.Connection:
        """The connection, to a table that was looked at."""
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(
                self._conninfo, autocommit=True, prepare_threshold=None
            )
            self._table.migrate(self._connection)
            self._insert(self._connection, [])  # rights, columns, key: without them no row
        return self._connection

    def _write(self, connection: psycopg.Connection, rows: Sequence[Row]) -> int:
        """In halves around a row that cannot be stored, in any table."""
        try:
            self._insert(connection, rows)
        except psycopg.Error as error:
            if not (isinstance(error, psycopg.DataError) or error.sqlstate == _ROW_TOO_LARGE):
                raise
            if len(rows) == 1:
                name = type(error).__name__  # its text would quote the row
                log.error("the database refuses the label of %.300r: %s", rows[0].id, name)
                return 1
            middle = len(rows) // 2
            return self._write(connection, rows[:middle]) + self._write(connection, rows[middle:])
        return 0

    def _insert(self, connection: psycopg.Connection, rows: Sequence[Row]) -> None:
        with connection.transaction():
            connection.execute(f"SET LOCAL statement_timeout = {ANSWER_MS}")
            self._table.write(connection, rows)


def _conninfo(settings: PostgresSettings) -> str:
    try:
        found = conninfo_to_dict(settings.url)
    except psycopg.ProgrammingError:
        raise ConfigError(
            "postgres.url: write postgresql://USER@HOST:PORT/DATABASE"
        ) from None  # its own text may hold a password
    if found.get("password"):
        raise ConfigError(
            "postgres.url must hold no password: put it into a file, and name that by "
            "postgres.password_file or PGPASSFILE"
        )
    if settings.password_file:
        found["password"] = secret_in(settings.password_file, "postgres.password_file")
    ours = {
        "connect_timeout": str(CONNECT_SECONDS),
        "tcp_user_timeout": str(ANSWER_MS),
        "application_name": "winnow sink postgres",
        "client_encoding": "utf8",
    }
    return make_conninfo(**{**ours, **{key: str(value) for key, value in found.items()}})


def _told(error: psycopg.Error | ConfigError) -> str:
    """What happened and what to do, without any value of a row."""
    if isinstance(error, ConfigError):
        return str(error)
    text = error.diag.message_primary or str(error) or type(error).__name__
    said = " ".join(text.split())  # libpq writes several lines
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return (
            f"PostgreSQL: {said}: grant the sink's user TEMPORARY on the database and CREATE on "
            "the schema; or, if another user made the tables, SELECT, INSERT and UPDATE on this "
            "one and SELECT on label_migrations"
        )
    if isinstance(error, psycopg.IntegrityError):
        which = error.diag.constraint_name or error.diag.column_name
        return (
            f"PostgreSQL: a constraint that winnow did not make, {which!r}, refuses labels: drop "
            "it, or give the column a default"
        )
    return f"PostgreSQL: {said}"
