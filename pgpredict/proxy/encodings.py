"""PostgreSQL's names of encodings, and Python's."""

from __future__ import annotations

import psycopg
from psycopg._encodings import pg2pyenc


def codec(name: str) -> str | None:
    """Return Python's codec for an encoding of PostgreSQL's; None if it has none.

    :param name: as the parameter ``client_encoding`` has it
    """
    if name == "SQL_ASCII":  # bytes of any sort: what is not UTF-8 is left alone
        return "utf-8"
    try:
        return pg2pyenc(name.encode())
    except psycopg.NotSupportedError:
        return None
