"""``pgpredict doctor``: what kind of deployment this is, by evidence, and everything that it needs.

There may be several at once: the local server of ``pgpredict up``, services of this host under systemd, the
inside of a container, and a server that a connection string leads to, wherever it runs.
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg

from pgpredict.connection import connect_as_owner
from pgpredict.server import Home, container
from pgpredict.server.checks import Check, check_database, guarded
from pgpredict.server.doctor import examine as examine_local
from pgpredict.server.foreign import check_multicorn, check_superuser, local_install
from pgpredict.service import Host
from pgpredict.service.doctor import check_services


def examine(home: Home, dsn: str | None = None, host: Host | None = None) -> Iterator[Check]:
    """Check whatever is here.

    :param home: of the local server; it is not changed
    :param dsn: of a server to look at as well, a superuser's
    :param host: whose services to look at, this machine by default
    """
    host = host or Host()
    services, local = host.installed(), bool(home.read_state().get("server"))
    # a local server, or services, make a machine of a container
    inside = "" if services or local else container.evidence()
    found = [f"services under systemd: {', '.join(services)}"] if services else []
    found += [f"inside of a container ({inside})"] if inside else []
    found += [f"local server in {home.path}"] if local else []
    if found:
        yield Check("deployment", "ok", "; ".join(found))
    if inside:
        yield from container.check_container()
    if services:
        yield from check_services(host)
    if dsn:
        yield from guarded("server", lambda: check_given(dsn))
    if local or not (services or inside or dsn):
        yield from examine_local(home)


def check_given(dsn: str) -> Iterator[Check]:
    """Look at a server of the user's, wherever it runs, through SQL."""
    with connect_as_owner(dsn, autocommit=True) as connection:
        check_superuser(connection)
        info = connection.info
        place = f"{info.host}, port {info.port}"
        here = local_install(connection) is not None
        way = "through the proxy" if knows_predict(connection) else "directly, where PREDICT is not known"
        yield Check("server", "ok", f"PostgreSQL {info.parameter_status('server_version')} at {place}, {way}")
        if not here:
            yield Check(
                "server",
                "ok",
                "it runs on another machine or in a container; only what SQL shows is seen from here",
                "run 'pgpredict doctor' there too, as by 'docker compose exec runtime pgpredict doctor'",
            )
        row = connection.execute("SELECT pg_is_in_recovery()").fetchone()
        if row and row[0]:
            yield Check("server", "ok", "a standby: it predicts; train and deploy on its primary")
        check_multicorn(connection)
        where = "" if here else " on the server's machine"
        yield from check_database(
            connection,
            f"run 'pgpredict install'{where}, then restart runtime and proxy",
            f"see the logs of the runtime and of the server{where}; 'systemctl restart pgpredict-runtime' or "
            "'docker compose restart runtime'",
            required=True,
        )


def knows_predict(connection: psycopg.Connection) -> bool:
    """Tell whether a connection goes through the proxy: PostgreSQL does not know the option."""
    try:
        connection.execute("EXPLAIN (PREDICT) SELECT 1")
    except psycopg.errors.SyntaxError:
        return False
    return True
