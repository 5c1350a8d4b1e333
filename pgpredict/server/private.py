"""The private server: Debian 11's own PostgreSQL and Multicorn, unpacked beside our data.

Nothing of the system is touched and root is not needed: apt works in a state
directory of its own, and the packages are unpacked, not installed. An
interrupted download is resumed; the directory gets its final name when whole.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pgpredict.errors import ServerError

from .account import can_read, last_words, run, server_account
from .apt import bullseye_sources, read_sources
from .home import ENTERABLE, Home
from .install import ServerInstall, find_system_servers, read_pg_config

Progress = Callable[[str], None]

MAJOR = 13
#: seconds to wait for a download that an interrupted run left
LOCK_TIMEOUT = 60
PACKAGE = "postgresql-13-python3-multicorn"
#: named apart: Debian ties the procedural languages and the server's libraries together through it
DIRECTORY = "server-debian11"
#: packages whose files the machine itself has to provide, or that nothing here runs
NOT_UNPACKED = (
    *("libc6_", "libc-bin_", "libc-l10n_", "locales_", "perl", "libperl", "dpkg_", "base-", "debconf_"),
    *("coreutils_", "passwd_", "adduser_", "tar_", "libpam-", "lsb-base_", "ssl-cert_", "ucf_"),
    *("postgresql-common_", "sensible-utils_"),
)
SILENT: Progress = lambda _: None  # noqa: E731 - a default argument


def private_server(home: Home) -> ServerInstall | None:
    """Return the private server if it has been fetched into this home, or could be.

    :returns: None where it can be neither; ``fetched`` tells which
    """
    root = home.path / DIRECTORY / "root"
    if (root / "usr/lib/postgresql" / str(MAJOR) / "bin/postgres").exists():
        return describe(root)
    return placeholder(root) if why_not_fetchable() is None else None


def find_servers(home: Home | None = None) -> list[ServerInstall]:
    """Return every server that can be used: the machine's own, highest version first, then the private one.

    :param home: where the private server is or would be, the default home by default
    """
    private = private_server(home or Home.default())
    return find_system_servers() + ([private] if private else [])


def why_not_fetchable() -> str | None:
    """Return what keeps this machine from fetching the private server; None if nothing does."""
    for program in ("apt-get", "apt-config", "dpkg-deb"):
        if shutil.which(program) is None:
            return f"the program {program!r} is missing"
    if not bullseye_sources(read_sources(apt_directory())):
        return f"no Debian archive is configured in {str(apt_directory())!r}"
    return None


def apt_directory() -> Path:
    """Return the directory of apt's configuration."""
    for line in run(["apt-config", "shell", "ETC", "Dir::Etc/d"]).splitlines():
        if line.startswith("ETC='"):
            return Path(line[5:-1])
    return Path("/etc/apt")


def placeholder(root: Path) -> ServerInstall:
    """Return the private server as it will be after fetching."""
    base = root / "usr/lib/postgresql" / str(MAJOR)
    return ServerInstall(
        str(MAJOR), base / "bin", root / "usr/share/postgresql" / str(MAJOR), base / "lib", root
    )


def describe(root: Path) -> ServerInstall:
    """Return the private server that was unpacked into a directory.

    :raises ServerError: if its programs do not run here
    """
    libraries = tuple(sorted([*root.glob("usr/lib/*-linux-gnu*"), *root.glob("lib/*-linux-gnu*")]))
    environment = {"LD_LIBRARY_PATH": ":".join(map(str, libraries))}
    server = placeholder(root)
    # Debian's pg_config reports the compiled-in paths wherever it runs: only the version is taken from it
    version = read_pg_config(server.bindir / "pg_config", environment).version
    return replace(server, version=version, libraries=libraries)


def fetch(home: Home, progress: Progress = SILENT) -> ServerInstall:
    """Download and unpack the private server, unless that has been done.

    Two at once are safe: the second waits and finds it done.

    :param progress: called with a line about what is going on
    :raises ServerError: if the machine has no Debian archive, the download fails, or the server does not run
    """
    target = home.path / DIRECTORY
    with home.lock(".fetch.lock"):
        if not (target / "root").exists():
            reason = why_not_fetchable()
            if reason:
                raise ServerError(
                    f"cannot fetch a PostgreSQL with Multicorn: {reason}",
                    hint="install PostgreSQL 14 or later with Multicorn2, then run this again",
                )
            work = home.path / f"{DIRECTORY}.new"
            archives = download(work, progress)
            unpack(archives, work / "root", progress)
            check(work / "root", progress)
            for leftover in ("apt", "cache"):
                shutil.rmtree(work / leftover)
            work.rename(target)
        return describe(target / "root")


def download(work: Path, progress: Progress) -> list[Path]:
    """Download the packages into ``work/cache``; what is already there is kept.

    :returns: the package files
    """
    for name in ("apt/lists/partial", "apt/parts", "cache/archives/partial"):
        (work / name).mkdir(parents=True, exist_ok=True, mode=0o755)
    config = write_apt_configuration(work)
    environment = {
        **os.environ,
        "APT_CONFIG": str(config),
        "LC_ALL": "C",
        "DEBIAN_FRONTEND": "noninteractive",
    }
    progress("reading Debian 11's package lists")
    apt_get(["update"], environment, progress, "reading Debian 11's package lists")
    apt_get(
        ["install", "--download-only", "--yes", "--no-install-recommends", PACKAGE],
        environment,
        progress,
        "downloading PostgreSQL 13 and Multicorn (about 95 MB)",
    )
    return sorted((work / "cache/archives").glob("*.deb"))


def write_apt_configuration(work: Path) -> Path:
    """Write an apt configuration that knows only ``work`` and returns its path.

    Proxies, TLS settings and time-outs (``Acquire::*``) are the machine's own; hooks of the machine's
    configuration are left out, they are for its own package database. Addresses keep their ``Signed-By``.
    """
    (work / "apt/status").write_text("")
    sources = bullseye_sources(read_sources(apt_directory()))
    (work / "apt/pgpredict.sources").write_text("\n".join(source.to_deb822() for source in sources))
    settings = {
        "Dir::Etc::main": "/dev/null",
        "Dir::Etc::parts": work / "apt/parts",
        "Dir::Etc::sourcelist": work / "apt/pgpredict.sources",
        "Dir::Etc::sourceparts": work / "apt/parts",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": work / "apt/parts",
        "Dir::State": work / "apt",
        "Dir::State::lists": work / "apt/lists",
        "Dir::State::status": work / "apt/status",
        "Dir::State::extended_states": work / "apt/extended_states",
        "Dir::Cache": work / "cache",
        "Dir::Cache::archives": work / "cache/archives",
        "Dir::Log": work / "apt",
        "APT::Install-Recommends": "false",
        # apt drops root for downloads; its sandbox account may be unable to enter our directory
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
        # Debian 11 is past its end of life, its Release files are no longer renewed; signatures still count
        "Acquire::Check-Valid-Until": "false",
    }
    inherited = run(["apt-config", "dump", "Acquire"])
    config = work / "apt/apt.conf"
    config.write_text(inherited + "".join(f'{key} "{value}";\n' for key, value in settings.items()))
    return config


def apt_get(arguments: list[str], environment: dict[str, str], progress: Progress, activity: str) -> None:
    """Run apt-get, turning its status lines into progress.

    :raises ServerError: if it fails
    """
    deadline = time.monotonic() + LOCK_TIMEOUT
    while True:
        code, errors = _run_apt_get(arguments, environment, progress, activity)
        # a download outlives its killed parent by a little, and holds apt's lock
        if code == 0 or "Could not get lock" not in errors or time.monotonic() > deadline:
            break
        time.sleep(1)
    if code != 0:
        raise ServerError(
            f"apt-get {arguments[0]} failed while {activity}: {last_words(errors)}",
            hint="is the network up, and does a proxy have to be set (http_proxy or apt's configuration)? "
            "Alternatively install PostgreSQL 14 or later with Multicorn2",
        )


def _run_apt_get(
    arguments: list[str], environment: dict[str, str], progress: Progress, activity: str
) -> tuple[int, str]:
    reader, writer = os.pipe()
    command = ["apt-get", "-q", "-o", f"APT::Status-Fd={writer}", *arguments]
    with (
        os.fdopen(reader) as status,
        subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=(writer,),
        ) as process,
    ):
        os.close(writer)
        shown = -1
        for line in status:
            kind, _, rest = line.partition(":")
            percent = int(float(rest.split(":")[1])) if kind == "dlstatus" else shown
            if percent > shown:
                shown = percent
                progress(f"{activity}: {percent} %")
        errors = process.stderr.read() if process.stderr else ""
        return process.wait(), errors


def unpack(archives: list[Path], root: Path, progress: Progress) -> None:
    """Unpack the packages and byte-compile the Python in them.

    :param root: directory to make; one that an interrupted run left is replaced
    """
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(mode=0o755)
    wanted = [path for path in archives if not path.name.startswith(NOT_UNPACKED)]
    for number, path in enumerate(wanted, 1):
        if number % 10 == 1:
            progress(f"unpacking {len(wanted)} packages: {100 * number // len(wanted)} %")
        run(["dpkg-deb", "--extract", path, root])
    progress("compiling the server's Python library")
    install = describe(root)
    environment = {**os.environ, **install.environment}
    directories = [*root.glob("usr/lib/python3.*"), root / "usr/lib/python3"]
    python = next(iter(sorted(root.glob("usr/bin/python3.?"))), None)
    if python is None:
        raise ServerError("the packages of Debian 11 have no Python")
    # each new backend would compile the library again: it cannot write into this directory
    run([python, "-m", "compileall", "-q", "-x", "lib2to3/tests|/test/", *directories], env=environment)


def check(root: Path, progress: Progress) -> None:
    """Prove that the server and the Python in it start on this machine.

    :raises ServerError: if they do not
    """
    progress("trying the server")
    install = describe(root)
    account = server_account()
    if not can_read(account, install.bindir / "postgres"):
        raise ServerError(
            f"the account {account.name!r}, which runs the server, cannot enter {str(root)!r}",
            hint=ENTERABLE,
        )
    environment = {**os.environ, **install.environment, "PYTHONPATH": ":".join(map(str, install.python_path))}
    run([install.bindir / "postgres", "--version"], env=environment, account=account)
    # outside of a server `import multicorn` fails for lack of `_utils`: looking for it has to do
    script = (
        "import ctypes, json, socket, sys, importlib.util as u; sys.exit(u.find_spec('multicorn') is None)"
    )
    if install.python is None:
        raise ServerError(f"the Multicorn in {str(root)!r} is linked to no Python")
    run([install.python, "-c", script], env=environment, account=account)
