"""``pgpredict runtime``: the inference process in the foreground, and its status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import rich_click as click
from rich.console import Console
from rich.table import Table

from pgpredict.runtime.client import RuntimeClient
from pgpredict.runtime.settings import RuntimeSettings, default_socket, parse_size


@click.command()
@click.option(
    "--socket",
    "socket_path",
    type=click.Path(path_type=Path),
    default=default_socket,
    help="Unix socket to serve. [default: $PGPREDICT_SOCKET, else /run/pgpredict/runtime.sock]",
)
@click.option(
    "--dsn",
    envvar="PGPREDICT_DSN",
    default="",
    help="Server to read models from. [default: $PGPREDICT_DSN, else libpq's variables]",
)
@click.option("--role", help="Role to become after connecting, such as pgpredict_runtime.")
@click.option(
    "--memory",
    envvar="PGPREDICT_MEMORY",
    default="2GB",
    show_default=True,
    help="Bound on the memory of all loaded models.",
)
@click.option(
    "--threads",
    envvar="PGPREDICT_THREADS",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Threads that one prediction may use.",
)
@click.option(
    "--connections",
    envvar="PGPREDICT_CONNECTIONS",
    type=click.IntRange(1, 100_000),
    default=1000,
    show_default=True,
    help="Connections served at once.",
)
@click.option(
    "--address-space",
    envvar="PGPREDICT_ADDRESS_SPACE",
    help="Bound on the whole process's address space, such as 8GB.",
)
@click.option(
    "--grace",
    type=click.FloatRange(0),
    default=10.0,
    show_default=True,
    help="Seconds that running predictions get at shutdown.",
)
@click.option("--log", type=click.Path(dir_okay=False), help="Log file. [default: standard error]")
@click.option("--status", is_flag=True, help="Print the status of the runtime on the socket, and end.")
@click.option("--json", "as_json", is_flag=True, help="With --status: print JSON.")
@click.option("--metrics", is_flag=True, help="Print the status as Prometheus reads it, and end.")
def runtime(
    socket_path: Path,
    dsn: str,
    role: str | None,
    memory: str,
    threads: int,
    connections: int,
    address_space: str | None,
    grace: float,
    log: str | None,
    status: bool,
    as_json: bool,
    metrics: bool,
) -> None:
    """Run the inference process in the foreground, for the server on this machine.

    `pgpredict up` starts it by itself. It must run under the account of the PostgreSQL server, whose
    sessions connect to its socket. SIGTERM ends it after the predictions that are running.

    \b
    Examples:
        pgpredict runtime --dsn "host=/run/postgresql user=pgpredict"
        pgpredict runtime --memory 8GB --threads 4 --log runtime.log
        pgpredict runtime --status
        pgpredict runtime --status --json
    """  # noqa: D301 - click marks a verbatim paragraph with the character
    if status or metrics:
        with RuntimeClient(socket_path) as client:
            found = client.status()
        if metrics:
            from pgpredict.runtime.metrics import exposition

            click.echo(exposition(found), nl=False)
        else:
            show(found, as_json)
        return
    # NumPy and ONNX Runtime are the worker's; the supervisor stays small
    from pgpredict.runtime.supervisor import Supervisor

    settings = RuntimeSettings(
        socket=str(socket_path.absolute()),
        dsn=dsn,
        memory=parse_size(memory),
        threads=threads,
        connections=connections,
        address_space=None if address_space is None else parse_size(address_space),
        grace=grace,
        role=role,
        log=log,
    )
    Supervisor(settings).run()


def show(status: dict[str, Any], as_json: bool) -> None:
    """Print a runtime's status to standard output.

    :param status: as the runtime answers
    :param as_json: as one JSON object, for scripts
    """
    console = Console()
    if as_json:
        click.echo(json.dumps(status, indent=2))
        return
    console.print(
        f"runtime {status['version']} (ONNX Runtime {status['onnxruntime']}), pid {status['pid']}, "
        f"up {status['uptime']:.0f} s, restarts {status.get('restarts', 0)}, "
        f"connections {status['connections']}",
        highlight=False,
        soft_wrap=True,
    )
    console.print(
        f"memory: process {_megabytes(status['rss'])}, models {_megabytes(status['memory'])} "
        f"of {_megabytes(status['memory_limit'])}",
        highlight=False,
        soft_wrap=True,
    )
    if status["models"]:
        console.print(model_table(status["models"]))


def model_table(models: list[dict[str, Any]]) -> Table:
    """Return a table of models with their counters and latencies, median and 99th percentile.

    :param models: the status's
    """
    table = Table(
        box=None,
        header_style="bold",
        title_justify="left",
        caption_justify="left",
        caption="ms: median/99th percentile",
    )
    table.add_column("artifact", no_wrap=True)
    table.add_column("predicts")
    for name in ("memory", "requests", "rows", "errors", "row ms", "batch ms"):
        table.add_column(name, justify="right", no_wrap=True)
    for model in models:
        point, batch = model.get("point", {}), model.get("batch", {})
        table.add_row(
            model["artifact"][:12],
            model.get("target", ""),
            _megabytes(model["memory"]) if model["loaded"] else "-",
            *(f"{model.get(name, 0):,}" for name in ("requests", "rows", "errors")),
            _latencies(point),
            _latencies(batch),
        )
    return table


def _megabytes(size: int) -> str:
    return f"{size / (1 << 20):,.0f} MB"


def _latencies(summary: dict[str, Any]) -> str:
    if not summary.get("count"):
        return ""
    return "/".join(f"{ms:.2f}" if ms < 10 else f"{ms:,.0f}" for ms in (summary["p50_ms"], summary["p99_ms"]))
