"""Questions to the server within a client's session, and their answers, whoever carries them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

#: around questions in a transaction
SAVEPOINT = "SAVEPOINT _pgpredict"
RELEASE = "RELEASE SAVEPOINT _pgpredict"
UNDO = "ROLLBACK TO SAVEPOINT _pgpredict"
# as bytes of UTF-8 in the binary format, whatever the client's encoding and bytea_output are
_AS_JSON = (
    "SELECT pg_catalog.convert_to(a.rows, 'UTF8') "
    "FROM (SELECT pg_catalog.json_agg(pg_catalog.to_json(q))::pg_catalog.text AS rows FROM ({}) AS q) AS a"
)


@dataclass(frozen=True)
class Rows:
    """What a query returns.

    :ivar sql: the query, with parameters ``$1`` ...
    :ivar parameters: their values: texts, numbers, tuples of these
    """

    sql: str
    parameters: tuple[Any, ...] = ()

    @property
    def as_json(self) -> str:
        """The query whose one value, in binary format, is the rows as JSON."""
        return _AS_JSON.format(self.sql)

    @property
    def texts(self) -> list[str | None]:
        """The parameters in text format."""
        return [None if value is None else _text(value) for value in self.parameters]


@dataclass(frozen=True)
class Description:
    """The columns that a query would return; it is prepared and never run.

    :ivar types: oids of its parameters' types, 0 where the server is to find out
    """

    sql: str
    types: tuple[int, ...] = ()


Question = Rows | Description


class Answer(Protocol):
    """What the server said to one question."""

    @property
    def error(self) -> dict[str, str] | None:
        """Fields of the error by the letters of the protocol, None if there was none."""
        ...

    @property
    def value(self) -> object:
        """What is equal if the server has said the same."""
        ...

    def rows(self) -> list[list[Any]]:
        """Return the rows of a :class:`Rows`."""
        ...

    def columns(self) -> Sequence[tuple[str, int, int]]:
        """Return (name, oid of the type, modifier) of the columns of a :class:`Description`."""
        ...


def rows_of(value: bytes | None) -> list[list[Any]]:
    """Return the rows that :attr:`Rows.as_json` has given."""
    return [] if value is None else [list(row.values()) for row in json.loads(value)]


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "{" + ",".join(map(_element, value)) + "}"
    return str(value)


def _element(value: Any) -> str:
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
