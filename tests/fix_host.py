"""A host of its own for tests: this machine's files, copied on write, run by this machine's systemd.

Everything that an operator does is done for real in it, as root: units, accounts, files of the server's,
and the machine's own PostgreSQL. It takes root, namespaces, overlayfs and systemd's programs; where one is
missing the test is skipped and says which. What a host did is gone when it ends.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from pgpredict.server.home import MARKER
from pgpredict.server.install import find_system_servers

BOOT = Path(__file__).parent / "hosts" / "boot"
SYSTEMD = Path("/lib/systemd/systemd")
#: cgroups of the hosts' own, as systemd wants the whole tree to itself
CGROUPS = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
BOOT_SECONDS = 240


@dataclass(frozen=True)
class Host:
    """A host that runs.

    :ivar init: its systemd, as seen from here
    :ivar root: its files, as seen from here
    """

    init: psutil.Process
    root: Path

    def run(
        self,
        command: str,
        *,
        account: str | None = None,
        network: bool = False,
        check: bool = True,
        environment: Mapping[str, str] = {},
        timeout: float = 600,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the host's shell.

        :param account: whom as, root by default
        :param network: with this machine's network, as for fetching packages, instead of the host's own
        :param check: whether it must not fail
        """
        words = ["nsenter", "-t", str(self.init.pid), "-m", "-p", "-i", "-u", "-C", "-r", "-w"]
        words += [] if network else ["-n"]
        words += ["runuser", "-u", account, "--"] if account else []
        # as a login shell has it; nothing of the tests' own environment
        known = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
        known |= {"LANG": "C.UTF-8", "TERM": "dumb", "COLUMNS": "160", **environment}
        given = [f"{name}={value}" for name, value in known.items()]
        ended = subprocess.run(
            [*words, "env", "-i", *given, "sh", "-eu", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert not check or ended.returncode == 0, f"{command}\n{ended.stdout}"
        return ended

    def output(self, command: str, *, account: str | None = None, timeout: float = 600) -> str:
        """Run a command that must not fail, and return what it printed."""
        return self.run(command, account=account, timeout=timeout).stdout.strip()

    def eventually(self, command: str, seconds: float = 240) -> str:
        """Run a command again and again until it succeeds, and return what it printed."""
        deadline = time.monotonic() + seconds
        while True:
            ended = self.run(command, check=False)
            if ended.returncode == 0:
                return ended.stdout.strip()
            assert time.monotonic() < deadline, f"{command}\n{ended.stdout}"
            time.sleep(0.2)

    def path(self, name: str) -> Path:
        """Return a file of the host, as seen from here."""
        return self.root / name.lstrip("/")


def lacking() -> str:
    """Return what this machine lacks to run hosts; empty if nothing."""
    if os.geteuid() != 0:
        return "root"
    if not SYSTEMD.exists():
        return "systemd"
    for program in ("unshare", "nsenter", "runuser", "ip"):
        if shutil.which(program) is None:
            return f"the program {program}"
    if _cgroups() is None:
        return "cgroups"
    with tempfile.TemporaryDirectory(prefix="pgp-test-") as name:
        base = Path(name)
        for part in ("upper", "work", "root"):
            (base / part).mkdir()
        trial = "mount -t overlay overlay -o lowerdir=/,upperdir=$0/upper,workdir=$0/work $0/root"
        tried = subprocess.run(
            ["unshare", "-m", "-p", "-n", "-i", "-u", "-C", "--fork", "sh", "-c", trial, name],
            capture_output=True,
            check=False,
        )
        shutil.rmtree(base / "work", ignore_errors=True)
    return "namespaces and overlayfs" if tried.returncode else ""


def _cgroups() -> Path | None:
    return next((path for path in CGROUPS if (path / "cgroup.procs").exists()), None)


@contextlib.contextmanager
def running_host(name: str = "db1") -> Iterator[Host]:
    """Boot a host, and end it.

    :param name: its host name
    """
    above = _cgroups()
    assert above is not None
    base = Path(tempfile.mkdtemp(prefix="pgp-test-"))
    for part in ("upper", "work", "root"):
        (base / part).mkdir(mode=0o755)
    base.chmod(0o755)
    # 'make clean' removes what killed runs left
    (base / MARKER).touch()
    (base / "owner.pid").write_text(f"{os.getpid()}\n")
    cgroup = above / base.name
    cgroup.mkdir()
    script = f'echo $$ >"{cgroup}/cgroup.procs"; exec unshare -m -p -n -i -u -C --fork --kill-child '
    script += f'--propagation private "{BOOT}" "{base}" "{name}"'
    log = base / "log"
    with log.open("wb") as output:
        outer = subprocess.Popen(
            ["sh", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield _booted(outer, log)
    finally:
        _end(outer)
        # systemd's own groups are left, the innermost first
        for directory, _, _ in os.walk(cgroup, topdown=False):
            with contextlib.suppress(OSError):
                Path(directory).rmdir()
        shutil.rmtree(base, ignore_errors=True)


def _booted(outer: subprocess.Popen[bytes], log: Path) -> Host:
    deadline = time.monotonic() + BOOT_SECONDS
    while time.monotonic() < deadline:
        assert outer.poll() is None, log.read_text(errors="replace")
        children = psutil.Process(outer.pid).children()
        if children and children[0].name() == "systemd":
            host = Host(children[0], Path(f"/proc/{children[0].pid}/root"))
            state = host.run("systemctl is-system-running", check=False).stdout.strip()
            if state in ("running", "degraded"):
                return host
        time.sleep(0.1)
    raise AssertionError(f"the host does not boot: {log.read_text(errors='replace')}")


def _end(outer: subprocess.Popen[bytes]) -> None:
    # the end of its first process is the end of all in its namespace
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(outer.pid).children():
            child.kill()
    try:
        outer.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(outer.pid, signal.SIGKILL)
        outer.wait()


def connect_hosts(hosts: list[tuple[Host, str]]) -> None:
    """Join two hosts by a cable.

    :param hosts: each with its address and the length of its network, such as ``10.0.0.1/24``
    """
    (first, _), (second, _) = hosts
    ends = [
        "netns",
        str(first.init.pid),
        "type",
        "veth",
        "peer",
        "name",
        "cable0",
        "netns",
        str(second.init.pid),
    ]
    subprocess.run(["ip", "link", "add", "cable0", *ends], check=True)
    for host, address in hosts:
        host.run(f"ip address add {address} dev cable0; ip link set cable0 up")


@pytest.fixture(scope="session")
def can_host() -> None:
    """Skip a test that needs a host where there can be none, and say why."""
    missing = lacking()
    if missing:
        pytest.skip(f"a host of its own cannot be run here: it takes {missing}")


@pytest.fixture(scope="session")
def database_host(can_host: None) -> None:
    """Skip a test that needs hosts with the machine's own PostgreSQL, and say why."""
    if not [server for server in find_system_servers() if "/usr/lib/postgresql" in str(server.bindir)]:
        pytest.skip("this machine has no PostgreSQL of its own with Multicorn, as Debian packages it")
