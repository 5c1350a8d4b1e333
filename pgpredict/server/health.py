"""Whether a proxy answers, and what it says of itself."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass

from psycopg.conninfo import make_conninfo
from psycopg.pq import PGconn, Ping

from pgpredict.proxy.settings import parse_address

#: seconds; the proxy takes 3 at the most
PATIENCE = 10


@dataclass(frozen=True)
class Health:
    """What ``/health`` tells.

    :ivar problem: why clients cannot be served, empty if they can
    """

    problem: str


def health(host: str, port: int) -> Health | None:
    """Ask a proxy; None if nobody there speaks HTTP."""
    connection = http.client.HTTPConnection(host, port, timeout=PATIENCE)
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        told = json.loads(answer.read())
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    if answer.status == 200:
        return Health("")
    if told.get("draining"):
        return Health("it is shutting down")
    if "loop" in told:
        return Health(f"its event loop {told['loop']}")
    return Health(f"server: {told.get('server', answer.status)}")


def reachable(address: str) -> tuple[str, int]:
    """Return where to connect to what listens on an address."""
    host, port = parse_address(address)
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port  # noqa: S104 - compared, not bound


def answers(host: str, port: int) -> bool:
    """Tell whether something that speaks PostgreSQL's protocol answers.

    Not whether the server behind a proxy does: libpq counts any answer, the proxy's own refusal too.
    """
    dsn = make_conninfo(host=host, port=port, dbname="postgres", connect_timeout=PATIENCE)
    return PGconn.ping(dsn.encode()) == Ping.OK
