"""A database cluster of ours: made, started and stopped."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import time
from pathlib import Path
from typing import IO

import psutil
import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.pq import PGconn, Ping

from pgpredict.errors import ServerError

from .account import Account, acting_as, last_words, make_directory, run, server_account
from .configuration import ACCESS_RULES, FILE_NAME, INCLUDE, render, settings
from .home import Home, owner, write_atomically
from .install import ServerInstall
from .library import sync_library
from .private import SILENT, Progress
from .shadow import shadow

SUPERUSER = "pgpredict"
DATABASE = "pgpredict"
#: seconds; a crashed server replays its log before it answers
START_TIMEOUT = 300
STOP_TIMEOUT = 60
#: encodings are UTF8; the second where the C library has no C.UTF-8
LOCALES = ("C.UTF-8", "C")


class Cluster:
    """One PostgreSQL cluster in a home.

    :param home: where its data, sockets, logs and copies of our packages are
    :param install: the server that runs it, as ``find_servers`` gave it and fetched
    :param durable: whether data has to survive a crash of the machine; False for tests
    """

    def __init__(self, home: Home, install: ServerInstall, *, durable: bool = True) -> None:
        self.home = home
        self.install = install
        self.durable = durable
        self.account = server_account()

    @property
    def data(self) -> Path:
        """Its data directory."""
        return self.home.data(self.install.major)

    @property
    def log(self) -> Path:
        """Log of the server."""
        return self.home.log / f"postgres-{self.install.major}.log"

    @property
    def port(self) -> int:
        """Its TCP port, 0 if it was never started."""
        remembered = int(self.home.read_state().get("ports", {}).get(str(self.install.major), 0))
        return remembered or self._port_of_running()

    def _port_of_running(self) -> int:
        # the state may have got lost; a server that runs tells its port in the fourth line
        try:
            return int((self.data / "postmaster.pid").read_text().split("\n")[3])
        except (OSError, ValueError, IndexError):
            return 0

    def dsn(self, dbname: str = DATABASE, user: str = SUPERUSER) -> str:
        """Return the connection string over the socket, for those who may enter its directory."""
        return make_conninfo(host=str(self.home.run), port=self.port, user=user, dbname=dbname)

    def tcp_dsn(self, dbname: str = DATABASE, user: str = SUPERUSER) -> str:
        """Return the connection string over TCP, without the password."""
        return make_conninfo(host="127.0.0.1", port=self.port, user=user, dbname=dbname)

    @property
    def password(self) -> str:
        """Password of the superuser over TCP."""
        return self.home.password_file.read_text().strip()

    def environment(self, install: ServerInstall | None = None) -> dict[str, str]:
        """Return the environment of the server process: nothing of ours leaks into it."""
        server = install or self.install
        path = [self.home.lib, *server.python_path]
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LC_ALL": "C.UTF-8",
            "HOME": str(self.home.path),
            **server.environment,
            "PYTHONPATH": ":".join(map(str, path)),
            "PYTHONNOUSERSITE": "1",
            "PGPREDICT_SOCKET": str(self.home.runtime_socket),
        }

    def prepare(self) -> tuple[ServerInstall, bool]:
        """Bring the copies of our packages and extension files up to date.

        :returns: the server in its shadow tree, and whether a running one has to be restarted for it
        :raises ServerError: if the home cannot be used
        """
        self.home.create()
        sync_library(self.home, self.install)
        return shadow(self.home, self.install)

    def initialise(self, progress: Progress = SILENT) -> None:
        """Make the cluster unless it exists; one that was left half made is made again.

        :raises ServerError: if initdb fails
        """
        if (self.data / "PG_VERSION").exists():
            return
        if self.data.exists() and any(self.data.iterdir()):
            raise ServerError(
                f"the directory {str(self.data)!r} is no database cluster: it has no PG_VERSION",
                hint="restore it from a backup, or move it away and run this again",
            )
        progress("making a database cluster")
        if not self.home.password_file.exists():
            write_atomically(self.home.password_file, secrets.token_urlsafe(24) + "\n", 0o600, self.account)
        error = None
        for locale in LOCALES:
            for left in self.data.parent.glob(f"{self.data.name}.new*"):
                shutil.rmtree(left, ignore_errors=True)
            # never the same name twice: the initdb of a run that was killed may still be at work, and it
            # removes its directory when it fails
            new = self.data.with_name(f"{self.data.name}.new-{secrets.token_hex(4)}")
            make_directory(new, self.account)
            try:
                self._initdb(new, locale)
            except ServerError as failure:
                error = failure
                continue
            new.rename(self.data)
            return
        raise error or ServerError("initdb failed")

    def _initdb(self, directory: Path, locale: str) -> None:
        options = ["--encoding=UTF8", f"--locale={locale}", "--data-checksums", f"--username={SUPERUSER}"]
        options += ["--auth=scram-sha-256", f"--pwfile={self.home.password_file}"]
        if not self.durable:
            options.append("--no-sync")
        environment = {**self.environment(), "LC_ALL": locale}
        run(
            [self.install.bindir / "initdb", "-D", directory, *options], env=environment, account=self.account
        )
        write_atomically(directory / "pg_hba.conf", ACCESS_RULES, 0o600, self.account)
        with acting_as(self.account), (directory / "postgresql.conf").open("a") as file:
            file.write(f"\n# settings of pgpredict; what follows this line overrides them\n{INCLUDE}\n")

    def start(self, progress: Progress = SILENT) -> bool:
        """Start the server unless it runs; a crashed one recovers.

        :returns: whether it had to be started
        :raises ServerError: if it does not come up
        """
        shadowed, restart = self.prepare()
        self.initialise(progress)
        if self.pid() is not None and restart:
            progress("restarting the server, its files changed")
            self.stop()
        if self._is_ready():
            return False
        self._end_orphans()
        self._forget_zombie()
        progress(f"starting PostgreSQL {self.install.version}")
        for _ in range(5):
            port = self.choose_port(str(self.install.major))
            write_atomically(
                self.data / FILE_NAME,
                render(settings(self.install.major, port, self.home.run, durable=self.durable)),
                0o600,
                self.account,
            )
            try:
                self._pg_ctl_start(shadowed)
            except ServerError:
                if is_free(port):
                    raise
                continue  # somebody else took the port in between
            return True
        raise ServerError("no free port was found for the server")

    def _is_ready(self) -> bool:
        """Tell whether the server runs; wait while it starts, or recovers from a crash of a backend.

        :raises ServerError: if it does not come to an end with that
        """
        deadline = time.monotonic() + START_TIMEOUT
        while self.pid() is not None:
            if PGconn.ping(self.dsn("postgres").encode()) == Ping.OK:
                return True
            if time.monotonic() > deadline:
                raise ServerError(
                    f"the server runs but lets nobody in for {START_TIMEOUT} s",
                    hint=f"its log is {str(self.log)!r}",
                )
            time.sleep(0.05)
        return False

    def choose_port(self, key: str) -> int:
        """Return the port that a program had before, if it is free, or one that it is to have from now on.

        :param key: what the port is remembered by
        """
        ports = dict(self.home.read_state().get("ports", {}))
        if not is_free(int(ports.get(key, 0))):
            ports[key] = free_port()
            self.home.remember(ports=ports)
        return int(ports[key])

    def _pg_ctl_start(self, shadowed: ServerInstall) -> None:
        open_log(self.log, self.account).close()
        start = self.log.stat().st_size
        words: list[str | Path] = [
            shadowed.bindir / "pg_ctl",
            "start",
            "-s",
            "-w",
            "-t",
            str(START_TIMEOUT),
            "-D",
            self.data,
            "-l",
            self.log,
        ]
        try:
            run(words, env=self.environment(shadowed), account=self.account)
        except ServerError as error:
            with self.log.open(errors="replace") as file:
                file.seek(start)
                said = last_words(file.read(), 8)
            raise ServerError(
                f"the server did not start: {said or error.message}", hint=f"its log is {str(self.log)!r}"
            ) from error

    def stop(self) -> bool:
        """Stop the server: sessions are ended, their transactions rolled back.

        :returns: whether it ran
        :raises ServerError: if it does not end
        """
        pid = self.pid()
        if pid is None:
            return False
        process = psutil.Process(pid)
        for number, seconds in ((signal.SIGINT, STOP_TIMEOUT), (signal.SIGQUIT, 15), (signal.SIGKILL, 15)):
            try:
                process.send_signal(number)
                process.wait(seconds)
            except psutil.NoSuchProcess:
                return True
            except psutil.TimeoutExpired:
                continue
            return True
        raise ServerError(f"the server with process id {pid} does not end")

    def pid(self) -> int | None:
        """Return the process id of the running server, None if it does not run.

        :raises ServerError: if it is another account's
        """
        try:
            pid = int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
        except PermissionError as error:
            raise ServerError(
                f"the server in {str(self.home.path)!r} belongs to the account {owner(self.data)!r}",
                hint="run this as root or as whoever started it, or set PGPREDICT_HOME to a directory "
                "of your own",
            ) from error
        except (OSError, ValueError):
            return None
        return pid if self._runs_here(pid) else None

    def _runs_here(self, pid: int) -> bool:
        # the file of a crashed server may name a process id that belongs to somebody else by now
        try:
            process = psutil.Process(pid)
            return process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == self.data.resolve()
        except psutil.Error:
            return False

    def _end_orphans(self) -> None:
        """End the backends that a killed postmaster left: with one alive no new server may start."""
        deadline = time.monotonic() + 5
        while orphans := self._orphans():
            if time.monotonic() > deadline:
                for process in orphans:
                    process.kill()
            time.sleep(0.1)

    def _forget_zombie(self) -> None:
        """Remove the lock files of a killed server whose process nobody has reaped.

        In a container, process 1 is often a program that reaps none but its own children; to PostgreSQL such
        a process is a server that runs. Nothing of it is left once its backends are gone.
        """
        for lock in (self.data / "postmaster.pid", self.home.run / f".s.PGSQL.{self.port}.lock"):
            with contextlib.suppress(OSError, ValueError, psutil.Error):
                pid = int(lock.read_text().split("\n", 1)[0])
                if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                    lock.unlink()

    def _orphans(self) -> list[psutil.Process]:
        data = self.data.resolve()
        found = []
        for process in psutil.process_iter(["uids", "name"]):
            uids = process.info["uids"]
            if (
                uids is None
                or uids.real != self.account.uid
                or not process.info["name"].startswith("postgres")
            ):
                continue
            try:
                if Path(process.cwd()) == data:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def connect(self, dbname: str = DATABASE, *, autocommit: bool = False) -> psycopg.Connection:
        """Open a connection of the superuser over the socket."""
        return psycopg.connect(self.dsn(dbname), autocommit=autocommit)

    def psql_command(self) -> tuple[Path, dict[str, str]]:
        """Return the server's own psql and the environment that it needs."""
        environment = dict(os.environ)
        libraries = self.install.environment.get("LD_LIBRARY_PATH")
        if libraries:
            environment["LD_LIBRARY_PATH"] = libraries
            # programs that psql starts belong to the machine and need the machine's libraries
            pager = environment.get("PSQL_PAGER") or environment.get("PAGER") or "less"
            environment["PSQL_PAGER"] = f"env -u LD_LIBRARY_PATH {pager}"
        return self.install.bindir / "psql", environment


def open_log(path: Path, account: Account) -> IO[bytes]:
    """Open a log file of the account's for appending; it is made if it is missing.

    As the account: its directory is the account's, who could have put a link to a file of root's there.

    :raises ServerError: if the account cannot write to it
    """
    try:
        with acting_as(account):
            return open(path, "ab", opener=lambda name, flags: os.open(name, flags, 0o600))
    except OSError as error:
        raise ServerError(
            f"the account {account.name!r} cannot write the log {str(path)!r}: {error.strerror}",
            hint="remove that file, then run this again",
        ) from error


def is_free(port: int) -> bool:
    """Tell whether a TCP port of the loopback address can be bound."""
    if not port:
        return False
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a free TCP port of the loopback address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
