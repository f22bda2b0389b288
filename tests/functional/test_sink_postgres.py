"""The PostgreSQL sink's effect on a real server: what a row is, and whose table it is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from stream_app.core.errors import ConfigError, SinkError
from stream_app.core.settings import PostgresSettings
from stream_app.sinks.postgres.effect import PostgresLabels
from tests.labels import START, a_label
from tests.postgres import Postgres


@pytest.fixture
def effect(database: str) -> Iterator[PostgresLabels]:
    opened = PostgresLabels(PostgresSettings(url=database))
    opened.check()
    yield opened
    opened.close()


def rows(database: str, what: str = "id", table: str = "labels") -> list[tuple[Any, ...]]:
    with psycopg.connect(database, autocommit=True) as connection:
        statement = f"SELECT {what} FROM {table} ORDER BY id"
        return connection.execute(statement.encode()).fetchall()


def do(database: str, statement: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(statement.encode())


class TestRows:
    def test_a_row_has_the_whole_label(self, effect: PostgresLabels, database: str):
        label = a_label(7, source_fields={"shop": "north", "stars": 2}, source_message_id="<7@x>")
        assert effect.write([label]) == 0
        found = rows(
            database,
            "id, route, label, labels, decision, confidence, scores->>'ham', fields->>'stars',"
            "message_id, source_offset, classified_at, extract(epoch from recorded_at)::bigint",
        )
        spam = ("mail/0/7", "mail", "spam", ["spam"], "spam", 0.9, "0.1", "2")
        assert found == [(*spam, "<7@x>", 7, START, 1_777_000_000)]

    def test_written_again_it_is_there_once(self, effect: PostgresLabels, database: str):
        labels = [a_label(number) for number in range(5)]
        effect.write(labels)
        effect.write([*labels[2:], a_label(5), a_label(5, later=-1)])
        assert len(rows(database)) == 6

    def test_a_later_label_replaces_an_earlier_one_and_never_the_other_way(
        self, effect: PostgresLabels, database: str
    ):
        ham = {"label": "ham", "decision": "ham"}
        effect.write([a_label(1), a_label(1, later=5, **ham), a_label(2, later=5)])
        effect.write([a_label(1, later=2), a_label(2, later=1, **ham)])
        assert rows(database, "id, label") == [("mail/0/1", "ham"), ("mail/0/2", "spam")]

    def test_the_same_offset_of_another_log_is_another_record(
        self, effect: PostgresLabels, database: str
    ):
        effect.write([a_label(1, source_topic_id="a"), a_label(1, source_topic_id="b")])
        effect.write([a_label(1, source_topic_id="b", source_epoch=3)])
        assert len(rows(database)) == 3

    def test_nul_becomes_a_replacement_character(self, effect: PostgresLabels, database: str):
        fields = {"a\0": "b\0c"}
        assert effect.write([a_label(source_fields=fields, source_message_id="<\0>")]) == 0
        assert rows(database, "fields, message_id") == [({"a\ufffd": "b\ufffdc"}, "<\ufffd>")]

    def test_what_no_table_can_hold_is_refused_and_the_rest_is_written(
        self, effect: PostgresLabels, database: str, caplog: pytest.LogCaptureFixture
    ):
        labels = [a_label(number) for number in range(50)]
        labels[7] = a_label(7, scores={"spam": float("nan")}, source_fields={"x": "private"})
        labels[30] = a_label(30, source_offset=2**70)
        labels[40] = a_label(id=os.urandom(4000).hex())
        assert effect.write(labels) == 3
        assert len(rows(database)) == 47
        assert "label of 'mail/0/7'" in caplog.text
        assert "private" not in caplog.text

    def test_odd_values_are_written(self, effect: PostgresLabels, database: str):
        long = os.urandom(20_000).hex()
        odd = [a_label(1, source_message_id=long), a_label(2, source_timestamp=9**18)]
        assert effect.write([*odd, a_label(3, scores={}, labels=[], confidence=0.0)]) == 0
        assert rows(database, "message_id, recorded_at IS NULL") == [
            (long, False),
            (None, True),
            (None, False),
        ]


class TestTables:
    def test_it_is_made_once_by_any_number_of_sinks(self, database: str):
        do(database, "CREATE SCHEMA analytics")
        settings = PostgresSettings(url=database, table="analytics.labels")
        for number in range(2):
            effect = PostgresLabels(settings)
            effect.check()
            effect.write([a_label(number)])
            effect.close()
        assert len(rows(database, table="analytics.labels")) == 2

    @pytest.mark.parametrize(
        ("before", "said"),
        [
            ("CREATE TABLE labels (id text)", "did not make it: give another name by --table"),
            ("UPDATE label_migrations SET version = 99", "a newer one made it; upgrade"),
            (
                "ALTER TABLE labels ALTER confidence TYPE text",
                "confidence must be double precision",
            ),
            ("ALTER TABLE labels DROP COLUMN route", "column route must be text and is missing"),
            ("ALTER TABLE labels DROP CONSTRAINT labels_pkey", "no unique or exclusion constraint"),
        ],
    )
    def test_one_that_is_not_ours_or_was_changed(self, database: str, before: str, said: str):
        if not before.startswith("CREATE"):
            made = PostgresLabels(PostgresSettings(url=database))
            made.check()
            made.close()
        do(database, before)
        with pytest.raises(ConfigError, match=said):
            PostgresLabels(PostgresSettings(url=database)).check()

    def test_columns_and_indexes_may_be_added(self, effect: PostgresLabels, database: str):
        do(database, "ALTER TABLE labels ADD seen boolean NOT NULL DEFAULT false")
        do(database, "CREATE INDEX ON labels USING gin (fields)")
        assert effect.write([a_label(1)]) == 0
        assert rows(database, "seen") == [(False,)]

    def test_a_constraint_of_somebody_else_stops_it_and_loses_nothing(
        self, effect: PostgresLabels, database: str
    ):
        do(database, "ALTER TABLE labels ADD CONSTRAINT sure CHECK (confidence > 0.95)")
        with pytest.raises(SinkError, match="'sure', refuses labels: drop it"):
            effect.write([a_label(1)])
        do(database, "ALTER TABLE labels DROP CONSTRAINT sure")
        assert effect.write([a_label(1)]) == 0

    def test_rights_that_are_missing(self, postgres: Postgres, database: str):
        name = database.rpartition("/")[2]
        postgres.run(f"CREATE ROLE r_{name} LOGIN")
        settings = PostgresSettings(url=postgres.url(name, f"r_{name}"))
        with pytest.raises(ConfigError, match="permission denied for schema public: grant"):
            PostgresLabels(settings).check()
        owner = PostgresLabels(PostgresSettings(url=database))
        owner.check()
        owner.close()
        do(database, f"GRANT SELECT, INSERT, UPDATE ON labels TO r_{name}")
        do(database, f"GRANT SELECT ON label_migrations TO r_{name}")
        effect = PostgresLabels(settings)
        effect.check()
        assert effect.write([a_label(1)]) == 0
        do(database, f"REVOKE INSERT ON labels FROM r_{name}")
        with pytest.raises(SinkError, match="permission denied for table labels: grant"):
            effect.write([a_label(2)])
        do(database, f"GRANT INSERT ON labels TO r_{name}")
        assert effect.write([a_label(2)]) == 0
        effect.close()

    def test_a_connection_that_is_cut_is_made_again(self, effect: PostgresLabels, database: str):
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        do(database, f"{cut} AND datname = current_database()")
        with pytest.raises(SinkError, match="PostgreSQL: "):
            effect.write([a_label(1)])
        assert effect.write([a_label(1)]) == 0
        assert len(rows(database)) == 1

    def test_a_server_that_is_away_may_come_back(self):
        effect = PostgresLabels(PostgresSettings(url="postgresql://me@127.0.0.1:1/x"))
        with pytest.raises(SinkError, match="Connection refused"):
            effect.check()


class TestSettings:
    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({"url": "postgresql://me:secret@h/x"}, "must hold no password"),
            ({"url": "host=h password=secret"}, "must hold no password"),
            ({"url": "mysql://h/x"}, "write postgresql://USER@HOST"),
            ({"table": 'labels"; --'}, "write TABLE or SCHEMA.TABLE"),
            ({"password_file": "/nowhere"}, "password_file /nowhere: No such file"),
        ],
    )
    def test_what_cannot_be_used(self, given: dict[str, str], said: str):
        with pytest.raises(ConfigError, match=said) as error:
            PostgresLabels(PostgresSettings(**given))
        assert "secret" not in str(error.value)

    def test_a_password_comes_from_a_file(self, database: str, tmp_path: Path):
        file = tmp_path / "password"
        file.write_text("one that a server without passwords ignores\n")
        effect = PostgresLabels(PostgresSettings(url=database, password_file=str(file)))
        effect.check()
        effect.close()
