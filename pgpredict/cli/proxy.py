"""``pgpredict proxy``: the proxy in the foreground."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rich_click as click

from pgpredict.notify import notify, watchdog_seconds

from .examples import examples

#: option, metavar or type, help; each is a setting of the same name
_OPTIONS: tuple[tuple[str, Any, str], ...] = (
    ("listen", "HOST:PORT", "Where to listen; several with commas between them."),
    ("listen-socket", "DIRECTORY", "Directory of a unix socket to listen on as well."),
    ("server", "DSN", "How to reach the server: host, port, sslmode and what belongs to it."),
    ("server-socket", "DIRECTORY", "The server's socket directory, for clients over our unix socket."),
    ("tls-cert", "FILE", "Certificate chain for clients."),
    ("tls-key", "FILE", "Its key."),
    ("tls-required", bool, "Take no client over TCP without TLS."),
    ("client-ca", "FILE", "Authorities of clients' certificates; each must bring one for its user."),
    ("trust-server", bool, "Let clients from elsewhere in where the server asks them for nothing."),
    ("connections", int, "Clients at once."),
    ("statement-bytes", int, "Longest statement that is looked at; longer ones pass as they are."),
    ("rewrite-seconds", float, "That rewriting may take at a stretch."),
    ("login-seconds", float, "That a client may take until it is let in."),
    ("linger-seconds", float, "That the rest of a connection may take once one side is gone."),
    ("drain-seconds", float, "That running statements get at shutdown."),
    ("http", "HOST:PORT", "Where to serve /metrics and /health."),
    ("log", "FILE", "Log file; by default standard error."),
    ("log-level", click.Choice(["debug", "info", "warning", "error"]), "What is logged."),
)


def _options(command: Callable[..., None]) -> Callable[..., None]:
    for name, kind, text in reversed(_OPTIONS):
        if kind is bool:
            option = click.option(f"--{name}/--no-{name}", default=None, help=text)
        elif isinstance(kind, str):
            option = click.option(f"--{name}", metavar=kind, help=text)
        else:
            option = click.option(f"--{name}", type=kind, help=text)
        command = option(command)
    return command


@click.command(
    epilog=examples(
        "pgpredict proxy --listen 127.0.0.1:6432 --server 'host=127.0.0.1 port=5432'",
        "pgpredict proxy --config proxy.toml",
        "psql 'host=127.0.0.1 port=6432 dbname=shop user=me'",
    )
)
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="TOML file of these settings, named with _ for -; read again at SIGHUP. Options come before it.",
)
@_options
def proxy(config: Path | None, **options: Any) -> None:
    """Run the proxy in the foreground: PREDICT for any client.

    Clients connect to it as if it were the server, which asks them for their password as ever. Statements
    without PREDICT pass untouched. SIGTERM ends it after the statements that are running.
    """
    import uvloop

    from pgpredict.proxy import Proxy, make_settings
    from pgpredict.runtime.process import set_up_logging

    given = {name: value for name, value in options.items() if value is not None}
    settings = make_settings(given, config)
    set_up_logging(settings.log or None)
    # a thread that rewrites must not hold up the bytes of all others
    sys.setswitchinterval(0.0005)
    service = Proxy(settings, lambda: make_settings(given, config))

    async def serve() -> None:
        # the watchdog hears of us as long as the loop turns that all sessions depend on
        beating = asyncio.create_task(beat())
        try:
            await service.run(ready=tell_ready)
        finally:
            beating.cancel()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())


def tell_ready() -> None:
    """Tell the service manager that connections are taken."""
    notify("READY=1")


async def beat() -> None:
    """Tell the service manager again and again that we live, if it wants to know."""
    seconds = watchdog_seconds()
    while seconds is not None:
        notify("WATCHDOG=1")
        await asyncio.sleep(seconds)
