"""``make bench-proxy``: the proxy against no proxy, and against PgBouncer where it is installed, in turns."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
import rich_click as click
from psycopg.conninfo import make_conninfo

from onnx_models.reading import Source
from onnx_models.train import train
from onnx_models.training import Options
from pgpredict.catalog import ConnectionCatalog
from pgpredict.cli.examples import examples
from pgpredict.cli.progress import showing_progress
from pgpredict.server import Cluster, Home
from pgpredict.server.cluster import free_port
from pgpredict.server.local import up
from rewriter import Setting, rewrite

from .report import DOCUMENT, Finding, console, markdown, occasion, setting, show, write

DATABASE = "pgpredict_bench_proxy"
CLIENTS = (1, 8, 32, 64)
SCALE = 10
IDLE = 100
#: rows of 250 bytes that are streamed
STREAMED = 2_000_000
MODEL = "bench_proxy"
PREDICT = f"SELECT PREDICT({MODEL} USING $1::float8 AS a, $2::float8 AS b)"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Way:
    """How pgbench gets to the server.

    :ivar name: for people
    :ivar port: at 127.0.0.1
    """

    name: str
    port: int


class Bench:
    """Runs programs of the server against each way.

    :param cluster: the local server
    :param ways: directly, the proxy, and PgBouncer if it is there
    :param seconds: that each run takes
    :param rounds: in which all ways take turns
    """

    def __init__(self, cluster: Cluster, ways: Sequence[Way], seconds: float, rounds: int) -> None:
        self.cluster, self.ways, self.seconds, self.rounds = cluster, ways, seconds, rounds
        _, environment = cluster.psql_command()
        self.environment = {**environment, "PGPASSWORD": cluster.password, "PGUSER": "pgpredict"}
        self.environment |= {"PGHOST": "127.0.0.1", "PGDATABASE": DATABASE, "LC_ALL": "C"}

    def run(self, program: str, way: Way, *words: str, output: int = subprocess.PIPE) -> str:
        """Run a program of the server's to its end and return what it printed."""
        path = self.cluster.install.bindir / program
        environment = {**self.environment, "PGPORT": str(way.port)}
        done = subprocess.run(
            [path, *words], env=environment, stdout=output, stderr=subprocess.PIPE, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{program} {way.name}: {done.stderr.decode()}")
        return (done.stdout or b"").decode()

    def pgbench(self, way: Way, clients: int, *words: str) -> float:
        """Return transactions a second of pgbench's own select-only script."""
        seconds = str(max(1, round(self.seconds)))
        common = ("-n", "-S", "-c", str(clients), "-j", "1", "-T", seconds)
        printed = self.run("pgbench", way, *common, *words)
        line = next(line for line in printed.splitlines() if line.startswith("tps = "))
        return float(line.split()[2])

    def median_latency(self, way: Way) -> float:
        """Return the median seconds of a transaction, one client."""
        with tempfile.TemporaryDirectory() as name:
            self.pgbench(way, 1, "-l", f"--log-prefix={name}/log")
            lines = [line for path in Path(name).iterdir() for line in path.read_text().splitlines()]
        return statistics.median(int(line.split()[2]) for line in lines) / 1e6

    def stream(self, way: Way) -> float:
        """Return the bytes a second of a large result."""
        started = time.perf_counter()
        self.run("psql", way, "-qc", "COPY streamed TO STDOUT", output=subprocess.DEVNULL)
        return 251.0 * self.rows / (time.perf_counter() - started)

    #: rows of the table that is streamed
    rows = STREAMED

    def medians(self, measure: Callable[[Way], float]) -> dict[str, float]:
        """Measure each way in turns, and return its median."""
        found: dict[str, list[float]] = {way.name: [] for way in self.ways}
        for _ in range(self.rounds):
            for way in self.ways:
                found[way.name].append(measure(way))
        return {name: statistics.median(values) for name, values in found.items()}


def measure(bench: Bench, say: Say, clients: Sequence[int] = CLIENTS) -> list[Finding]:
    """Measure latency, throughput and streaming."""
    findings = []
    say("latency of one client")
    latency = bench.medians(bench.median_latency)
    direct = latency.pop("direct")
    proxy = latency.pop("proxy")
    for name, other in latency.items() or {"direct": direct}.items():
        findings.append(
            Finding(
                "added to the p50 of a SELECT by key, 1 client",
                f"{(proxy - direct) * 1e6:.0f} µs ({proxy * 1e6:.0f} in all)",
                f"{name}: {(other - direct) * 1e6:.0f} µs",
                (proxy - direct) / max(other - direct, 1e-6),
                "times what it adds",
                "below PgBouncer's",
                proxy < other if name == "PgBouncer" else None,
            )
        )
    for count in clients:
        say(f"throughput of {count} clients")
        tps = bench.medians(lambda way, count=count: bench.pgbench(way, count))  # type: ignore[misc]
        ours = tps.pop("proxy")
        for name, other in tps.items():
            judged = name == "PgBouncer" and count in (8, 32)
            findings.append(
                Finding(
                    f"SELECT by key, {count} clients",
                    f"{ours:,.0f}/s",
                    f"{name}: {other:,.0f}/s",
                    ours / other,
                    f"of {name}",
                    "≥ 0.75" if judged else "",
                    ours >= 0.75 * other if judged else None,
                )
            )
    say("a large result")
    speed = bench.medians(bench.stream)
    ours = speed.pop("proxy")
    for name, other in speed.items():
        met = ours >= 400e6 if name == "direct" else None
        goal = "≥ 400 MB/s" if name == "direct" else ""
        findings.append(
            Finding(
                "COPY TO STDOUT, rows of 250 bytes",
                f"{ours / 1e6:,.0f} MB/s",
                f"{name}: {other / 1e6:,.0f} MB/s",
                ours / other,
                f"of {name}",
                goal,
                met,
            )
        )
    return findings


def idle_memory(dsn: str, process: psutil.Process, count: int = IDLE) -> Finding:
    """Measure what connections that do nothing cost the proxy."""
    with psycopg.connect(dsn):
        before = process.memory_full_info().uss
        with contextlib.ExitStack() as stack:
            for _ in range(count):
                stack.enter_context(psycopg.connect(dsn))
            each = (process.memory_full_info().uss - before) / count
    return Finding(
        f"memory of an idle connection, {count} of them",
        f"{each / 1024:.0f} kB",
        f"the proxy itself {before / (1 << 20):.0f} MB",
        each / before,
        "of the proxy itself",
        "≤ 100 kB",
        each <= 100 * 1024,
    )


def predictions(dsn: str, through: str, count: int) -> list[Finding]:
    """Compare PREDICT through the proxy with its rewritten form sent directly."""
    with psycopg.connect(dsn, autocommit=True) as direct, psycopg.connect(through, autocommit=True) as proxy:
        rewritten = rewrite(PREDICT, ConnectionCatalog(direct), setting=Setting(kept=True)).sql
        shown = PREDICT.replace("$1", "1.5").replace("$2", "2.5")
        plain = rewrite(shown, ConnectionCatalog(direct)).sql
        kinds: list[tuple[str, str, str, tuple[float, ...] | None, bool]] = [
            ("prepared once", rewritten, PREDICT, (1.5, 2.5), True),
            ("the same text again", plain, shown, None, False),
        ]
        findings = []
        for name, by_hand, ours, parameters, prepare in kinds:
            seconds: list[list[float]] = [[], []]
            for turn in range(count):
                for index, (connection, text) in enumerate(((direct, by_hand), (proxy, ours))):
                    cursor = psycopg.RawCursor(connection)
                    started = time.perf_counter()
                    cursor.execute(text.encode(), parameters, prepare=prepare).fetchall()
                    if turn >= count // 10:
                        seconds[index].append(time.perf_counter() - started)
            other, mine = map(statistics.median, seconds)
            findings.append(
                Finding(
                    f"PREDICT of one row, {name}",
                    f"{mine * 1e3:.2f} ms",
                    f"rewritten before, sent directly: {other * 1e3:.2f} ms",
                    mine / other,
                    "times as long",
                )
            )
    return findings


@contextlib.contextmanager
def own_proxy(cluster: Cluster) -> Iterator[tuple[Way, psutil.Process]]:
    """Run a proxy of this checkout."""
    port = free_port()
    server = make_conninfo(host="127.0.0.1", port=cluster.port)
    words = ["--listen", f"127.0.0.1:{port}", "--server", server, "--log-level", "warning"]
    process = subprocess.Popen([sys.executable, "-m", "pgpredict", "proxy", *words])
    try:
        yield Way("proxy", port), psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


@contextlib.contextmanager
def pgbouncer(cluster: Cluster) -> Iterator[Way | None]:
    """Run PgBouncer in session mode, if it is installed."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        yield None
        return
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="pgp-bench-") as name:
        directory = Path(name)
        (directory / "users").write_text(f'"pgpredict" "{cluster.password}"\n')
        (directory / "pgbouncer.ini").write_text(
            f"[databases]\n* = host=127.0.0.1 port={cluster.port}\n[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = scram-sha-256\nauth_file = {name}/users\npool_mode = session\n"
            f"default_pool_size = 70\nmax_client_conn = 500\nlogfile = {name}/log\n"
            "ignore_startup_parameters = extra_float_digits\n"
        )
        account = cluster.account
        if account.switch:
            for path in (directory, *directory.iterdir()):
                os.chown(path, account.uid, account.gid)
        identity = {"user": account.uid, "group": account.gid, "extra_groups": []} if account.switch else {}
        process = subprocess.Popen(
            [program, "-q", str(directory / "pgbouncer.ini")],
            stderr=subprocess.DEVNULL,
            **identity,  # type: ignore[call-overload]
        )
        try:
            yield Way("PgBouncer", port)
        finally:
            process.terminate()
            process.wait(30)


@contextlib.contextmanager
def prepared_database(bench: Bench, rows: int, scale: int, say: Say) -> Iterator[str]:
    """Make the database that everything is measured in; return how to connect to it directly."""
    cluster = bench.cluster
    with cluster.connect("postgres", autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {DATABASE}")
    try:
        say("making the tables")
        bench.run("pgbench", bench.ways[0], "-i", "-q", "-s", str(scale))
        dsn = cluster.dsn(DATABASE)
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION pgpredict CASCADE")
            connection.execute(
                "CREATE TABLE streamed AS SELECT repeat('x', 250) AS x FROM generate_series(1, %s)" % rows  # noqa: UP031
            )
            connection.execute("VACUUM ANALYZE")
            query = (
                "SELECT (i % 7)::float8 AS a, (i % 11)::float8 AS b, (i % 77)::float8 AS y "
                "FROM generate_series(1, 500) AS i"
            )
            train(connection, MODEL, Source(query, "y"), Options(algorithm="gradient_boosting"))
        bench.rows = rows
        yield dsn
    finally:
        with cluster.connect("postgres", autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")


def wait_for(bench: Bench) -> None:
    """Wait until all ways lead to the server."""
    deadline = time.monotonic() + 60
    for way in bench.ways:
        while True:
            try:
                bench.run("psql", way, "-d", "postgres", "-Atc", "SELECT 1")
                break
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)


def compare(
    cluster: Cluster,
    seconds: float,
    rounds: int,
    say: Say,
    *,
    clients: Sequence[int] = CLIENTS,
    rows: int = STREAMED,
    idle: int = IDLE,
    points: int = 2_000,
    scale: int = SCALE,
) -> Mapping[str, list[Finding]]:
    """Measure everything.

    :param seconds: of each run
    :param rounds: in which all ways take turns
    """
    with own_proxy(cluster) as (ours, process), pgbouncer(cluster) as theirs:
        ways = [Way("direct", cluster.port), *([theirs] if theirs else []), ours]
        bench = Bench(cluster, ways, seconds, rounds)
        wait_for(bench)
        with prepared_database(bench, rows, scale, say) as dsn:
            through = make_conninfo(dsn, host="127.0.0.1", port=ours.port, password=cluster.password)
            tcp = make_conninfo(dsn, host="127.0.0.1", password=cluster.password)
            # before others have left memory that these would use again
            say(f"{idle} idle connections")
            memory = idle_memory(through, process, idle)
            findings = measure(bench, say, clients)
            say("PREDICT through the proxy")
            findings += [*predictions(tcp, through, points), memory]
    return {"The proxy": findings}


@click.command(epilog=examples("python -m benchmarks.proxy --seconds 10 --write"))
@click.option("--seconds", type=float, default=5, show_default=True, help="Length of each run.")
@click.option("--rounds", type=int, default=3, show_default=True, help="Rounds in which all ways take turns.")
@click.option("--write", "into_docs", is_flag=True, help="Put the results into docs/benchmarks.md.")
def bench_proxy(seconds: float, rounds: int, into_docs: bool) -> None:
    """Measure the proxy against no proxy and PgBouncer, on the local server."""
    with showing_progress() as say:
        cluster = up(Home.default(), say).cluster
        found = compare(cluster, seconds, rounds, say)
        with cluster.connect() as connection:
            where = setting(connection, 1_000_000, rounds)
    for title, findings in found.items():
        show(title, findings)
    console.print(where, highlight=False)
    if into_docs:
        write(DOCUMENT, where, {title: markdown(title, rows, occasion()) for title, rows in found.items()})


if __name__ == "__main__":
    bench_proxy()
