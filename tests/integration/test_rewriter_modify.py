"""UPDATE and DELETE in batches change what the plain statement changes, also beside other transactions."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import psycopg
import pytest

from pgpredict.catalog import ConnectionCatalog
from rewriter import rewrite
from rewriter.setting import Setting
from tests.fix_server import Database

TABLE = """
CREATE TABLE d.changing (
    id integer, part integer, carrier text, distance integer, p integer, PRIMARY KEY (id, part)
);
INSERT INTO d.changing
SELECT i, i % 3, CASE WHEN i % 4 > 0 THEN 'UA' END, i * 13 % 1000 FROM generate_series(1, 900) AS i;
ANALYZE d.changing
"""
PLAIN = "SELECT count(*) FROM d.changing WHERE p IS DISTINCT FROM plain.delay(carrier, distance)"


@pytest.fixture
def changing(statements_database: Database) -> Iterator[Database]:
    with statements_database.connect() as connection:
        connection.execute(TABLE)
        yield statements_database
        connection.execute("DROP TABLE d.changing")


def in_batches(connection: psycopg.Connection, statement: str) -> str:
    rewritten = rewrite(statement, ConnectionCatalog(connection), setting=Setting("batch")).sql
    assert "row_number()" in rewritten
    return rewritten


def count(connection: psycopg.Connection, query: str = PLAIN) -> int:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("changed", ["distance = 999, carrier = NULL", "p = 7", "part = part"])
def test_a_row_that_changes_meanwhile_is_predicted_anew(changing: Database, changed: str) -> None:
    with changing.connect() as connection, changing.connect(autocommit=False) as other:
        statement = in_batches(connection, "UPDATE d.changing SET p = PREDICT(delay)")
        other.execute(f"UPDATE d.changing SET {changed} WHERE id = 5")
        updating = threading.Thread(target=lambda: connection.execute(statement.encode()))
        updating.start()
        waits = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
        with changing.connect() as watching:
            while watching.execute(waits, (connection.info.backend_pid,)).fetchone() != (1,):
                time.sleep(0.01)
        other.commit()
        updating.join()
        assert count(connection) == 0


def test_a_row_that_no_longer_fits_is_left_alone(changing: Database) -> None:
    with changing.connect() as connection, changing.connect(autocommit=False) as other:
        statement = in_batches(
            connection, "DELETE FROM d.changing WHERE PREDICT(delay) >= 0 AND distance < 500"
        )
        other.execute("UPDATE d.changing SET distance = 600 WHERE id = 1")
        deleting = threading.Thread(target=lambda: connection.execute(statement.encode()))
        deleting.start()
        waits = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
        with changing.connect() as watching:
            while watching.execute(waits, (connection.info.backend_pid,)).fetchone() != (1,):
                time.sleep(0.01)
        other.commit()
        deleting.join()
        assert count(connection, "SELECT count(*) FROM d.changing WHERE id = 1") == 1
        assert count(connection, "SELECT count(*) FROM d.changing WHERE distance < 500") == 0


def test_many_rows_are_updated_in_batches_of_their_own_accord(changing: Database) -> None:
    """A forest is no SQL form for so few rows, and more of them than for a request each."""
    with changing.connect() as connection:
        catalog = ConnectionCatalog(connection)
        few = rewrite("UPDATE d.changing SET p = PREDICT(wood) WHERE id = 5 AND part = 2", catalog).sql
        assert "row_number()" not in few
        many = rewrite("UPDATE d.changing SET p = PREDICT(wood) WHERE distance >= 0 RETURNING *", catalog).sql
        assert "row_number()" in many
        cursor = connection.execute(many.encode())
        names = [column.name for column in cursor.description or ()]
        assert names == ["id", "part", "carrier", "distance", "p"]
        assert cursor.rowcount == 900
        query = "SELECT count(*) FROM d.changing WHERE p IS DISTINCT FROM wood.predict(carrier, distance)"
        assert count(connection, query) == 0


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE d.changing AS c SET p = PREDICT(delay) WHERE random() < 2 AND c.id > 0",
        "UPDATE ONLY d.changing SET (p, part) = (PREDICT(delay), part) WHERE id IN (SELECT 1) OR true",
        "WITH c AS (UPDATE d.changing SET p = PREDICT(delay) RETURNING p, id) SELECT count(*) FROM c",
        "UPDATE d.changing SET p = PREDICT(delay) -- all\n",
    ],
)
def test_statements_around(changing: Database, statement: str) -> None:
    with changing.connect() as connection:
        connection.execute(in_batches(connection, statement).encode())
        assert count(connection) == 0


def test_returning_sees_the_new_row(changing: Database) -> None:
    with changing.connect() as connection:
        statement = in_batches(
            connection,
            "UPDATE d.changing SET p = PREDICT(delay), distance = 2 * distance "
            "RETURNING PREDICT(delay), plain.delay(carrier, distance), p, plain.delay(carrier, distance / 2)",
        )
        rows = connection.execute(statement.encode()).fetchall()
        assert len(rows) == 900
        assert all(row[0] == row[1] and row[2] == row[3] for row in rows)
        assert any(row[0] != row[2] for row in rows)


def test_tables_without_a_key_or_with_children_go_by_row(changing: Database) -> None:
    with changing.connect() as connection, connection.transaction(force_rollback=True):
        connection.execute("CREATE TABLE d.grandchild () INHERITS (d.changing)")
        statement = "UPDATE d.changing SET p = PREDICT(delay)"
        rewritten = rewrite(statement, ConnectionCatalog(connection), setting=Setting("batch")).sql
        assert "row_number()" not in rewritten
