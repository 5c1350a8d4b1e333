"""PostgreSQL's names of encodings, and Python's."""

from __future__ import annotations

import psycopg
from psycopg._encodings import pg2pyenc

#: bytes of any sort, which PostgreSQL does not convert
_ASCII = "SQL_ASCII"


def codec(name: str, server: str = _ASCII) -> str | None:
    """Return Python's codec for a client's encoding; None if it has none.

    :param name: as the parameter ``client_encoding`` has it
    :param server: as the parameter ``server_encoding`` has it
    """
    if name == _ASCII:  # then bytes are the server's
        name = server
    if name == _ASCII:  # what is not UTF-8 is left alone
        return "utf-8"
    try:
        return pg2pyenc(name.encode())
    except psycopg.NotSupportedError:
        return None


def is_convertible(server: str) -> bool:
    """Tell whether PostgreSQL can say all that a database holds in UTF-8.

    :param server: as the parameter ``server_encoding`` has it
    """
    return server != _ASCII
