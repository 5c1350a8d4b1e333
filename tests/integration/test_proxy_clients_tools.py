"""What graphical tools ask a server: the same answers through the proxy as without it, byte by byte."""

from __future__ import annotations

from typing import Any

from psycopg import pq
from psycopg.conninfo import make_conninfo

from rewriter import split
from tests.fix_clients import PROGRAMS, Address, Place

TABLES = """
CREATE TABLE customers (id int PRIMARY KEY, a float8 DEFAULT 1.5, name varchar(20));
CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES customers, UNIQUE (customer, id));
CREATE VIEW predicted AS SELECT id, a AS predict FROM customers;
COMMENT ON VIEW predicted IS 'what PREDICT(x) is about';
COMMENT ON COLUMN predicted.predict IS 'PREDICT(a)';
"""


def statements() -> list[str]:
    """Those of the file; what stands in one line is one message."""
    text = (PROGRAMS / "tools.sql").read_text()
    found: list[str] = []
    line = -1
    for start, statement in split(text):
        begins = text[: start + len(statement) - len(statement.lstrip())].count("\n")
        if found and begins == line:
            found[-1] += statement
        else:
            found.append(statement)
        line = text[: start + len(statement)].count("\n")
    return found


def answers(address: Address) -> list[Any]:
    """Each statement by the simple and by the extended protocol, in the text and the binary format."""
    connection = pq.PGconn.connect(make_conninfo(address.dsn, application_name="tool").encode())
    found: list[Any] = []
    for statement in statements():
        sql = statement.encode()
        results = [connection.exec_(sql)]
        if results[0].status == pq.ExecStatus.TUPLES_OK and results[0].ntuples:
            connection.prepare(b"", sql)
            results += [
                connection.describe_prepared(b""),
                connection.exec_prepared(b"", None, result_format=1),
            ]
        assert results[0].status in (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK), results[
            0
        ].error_message
        for result in results:
            # some types have no binary format; the complaint is the same as well
            columns = range(result.nfields)
            found.append(
                (statement, result.command_status, result.error_message, connection.transaction_status)
            )
            found.append(
                [(result.fname(i), result.ftype(i), result.fmod(i), result.ftable(i)) for i in columns]
            )
            found.append([[result.get_value(row, i) for i in columns] for row in range(result.ntuples)])
    connection.finish()
    return found


def test_what_tools_ask_is_answered_the_same(place: Place) -> None:
    with place.direct.connect() as connection:
        connection.execute(TABLES)
    assert len(statements()) > 30
    direct, through = map(answers, place.ways)
    assert through == direct
