"""An engine of our own: images by buildah, containers by namespaces and chroot. Needs root, and no daemon.

The containers of a project share one network, in which their names are known, as those of a pod do.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import json
import os
import shutil
import signal as signals
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.compose import Service

from .engines import Engine, Failed, Result, environment, run_program
from .images import Buildah

INSIDE = Path(__file__).with_name("inside.py")
_CLONE_NEWNET = 0x40000000
#: what engines set up in /etc
_HOSTS = "127.0.0.1 localhost database runtime proxy\n"
#: one system call changes the network of one thread, and only one may be away at a time
_away = threading.RLock()


@dataclasses.dataclass
class _Container:
    service: Service
    process: subprocess.Popen[bytes]
    pid: int
    directory: Path

    def end(self) -> None:
        """Kill what is left of it, all at once: that is its first process.

        What has started it would leave it behind: a process that changes its account is no longer told of its
        parent's end.
        """
        if self.process.poll() is None:
            if self.pid:
                os.kill(self.pid, signals.SIGKILL)
            else:
                self.process.kill()
        self.process.wait()


class Chroot(Engine):
    """Containers of namespaces.

    :param buildah: with the images
    """

    def __init__(self, project: str, buildah: Buildah) -> None:
        super().__init__(project)
        self.buildah = buildah
        self.place = Path(tempfile.mkdtemp(prefix=f"{project}-"))
        self.place.chmod(0o755)
        self._containers: dict[str, _Container] = {}
        self._network = subprocess.Popen(
            ["unshare", "--net", sys.executable, str(INSIDE), "--network"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._network.stdout is not None
        if self._network.stdout.readline() != b"up\n":
            raise Failed("no network of its own could be made")
        (self.place / "hosts").write_text(_HOSTS)
        (self.place / "resolv.conf").touch()

    def start(self, service: Service) -> None:
        """Start it in the background."""
        running = self._containers.get(service.name)
        assert running is None or running.process.poll() is not None, f"{service.name} runs"
        process = self._launch(service)
        self._containers[service.name] = process

    def _launch(self, service: Service) -> _Container:
        image = self.image(service.image)
        directory = Path(tempfile.mkdtemp(prefix=f"{service.name}-", dir=self.place))
        uid, gid = (int(number) for number in image["User"].split(":"))
        words = list(service.command or image.get("Cmd") or ())
        specification = {
            "bundle": str(directory),
            "root": str(self.buildah.mounted(service.image, "running")),
            "environment": environment(service.environment, image),
            "command": [*(image.get("Entrypoint") or ()), *words],
            "directory": image.get("WorkingDir") or "/",
            "uid": uid,
            "gid": gid,
            "binds": [*self._binds(service)],
            "tmpfs": list(service.tmpfs),
            "shm_size": service.shm_size,
            "read_only": service.read_only,
            "no_new_privileges": service.no_new_privileges,
        }
        (directory / "specification.json").write_text(json.dumps(specification))
        words = [*self.entering, "unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child"]
        words += [sys.executable, str(INSIDE), str(directory / "specification.json")]
        with (self.place / f"{service.name}.log").open("wb") as log:
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return _Container(service, process, self._first(process), directory)

    @property
    def entering(self) -> list[str]:
        """Words before a command that is to run in the project's network."""
        return ["nsenter", f"--net=/proc/{self._network.pid}/ns/net"]

    def _binds(self, service: Service) -> Iterator[tuple[str, str, bool]]:
        for name in ("hosts", "resolv.conf"):
            yield str(self.place / name), f"/etc/{name}", True
        for secret, path in service.secrets.items():
            yield str(path), f"/run/secrets/{secret}", True
        for volume in service.volumes:
            source = volume.source if "/" in volume.source else str(self._volume(service, volume.source))
            yield source, volume.target, volume.read_only

    def _volume(self, service: Service, name: str) -> Path:
        """Return a volume's directory; a new one takes over what the image has there, as engines do."""
        place = self.place / f"volume-{name}"
        if not place.exists():
            target = next(volume.target for volume in service.volumes if volume.source == name)
            origin = self.buildah.mounted(service.image) / target.lstrip("/")
            place.mkdir()
            if origin.exists():
                status = origin.stat()
                os.chown(place, status.st_uid, status.st_gid)
                place.chmod(status.st_mode & 0o7777)
        return place

    def _first(self, process: subprocess.Popen[bytes]) -> int:
        """Return the container's first process, as this machine numbers it."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            if children:
                return int(children[0])
            time.sleep(0.01)
        return 0

    def run(self, service: Service, timeout: float = 60) -> Result:
        """Run it to its end."""
        container = self._launch(service)
        log = self.place / f"{service.name}.log"
        try:
            code = container.process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            container.end()
            raise Failed(f"{service.name} did not end: {log.read_text(errors='replace')}") from error
        return Result(code, log.read_text(errors="replace"))

    def signal(self, name: str, signal: str) -> None:
        """Send it from this machine."""
        number = signals.Signals[signal] if signal.startswith("SIG") else signals.Signals[f"SIG{signal}"]
        os.kill(self._containers[name].pid, number)

    def wait(self, name: str, timeout: float) -> int:
        """Wait for the process that waits for it."""
        code = self._containers[name].process.wait(timeout)
        return 128 - code if code < 0 else code

    def execute(self, name: str, command: Sequence[str], timeout: float = 60, stdin: str = "") -> Result:
        """Enter its namespaces and its root."""
        container = self._containers[name]
        image = self.image(container.service.image)
        uid, gid = image["User"].split(":")
        words = ["nsenter", "--target", str(container.pid), "--mount", "--pid", "--ipc", "--uts", "--net"]
        words += ["--root", "--wd", "--setuid", uid, "--setgid", gid, "--", "/usr/bin/env", "-i"]
        words += [f"{key}={text}" for key, text in environment(container.service.environment, image).items()]
        return run_program([*words, *command], timeout, stdin)

    def logs(self, name: str) -> str:
        """Read the file."""
        return (self.place / f"{name}.log").read_text(errors="replace")

    def address(self, service: Service) -> tuple[str, int]:
        """Return it as the project's network knows it."""
        return "127.0.0.1", service.ports[0][2]

    @contextlib.contextmanager
    def network(self) -> Iterator[None]:
        """Be in the project's network: sockets that are made here stay there."""
        libc = ctypes.CDLL(None, use_errno=True)
        with (
            _away,
            Path("/proc/thread-self/ns/net").open() as home,
            Path(f"/proc/{self._network.pid}/ns/net").open() as there,
        ):
            if libc.setns(there.fileno(), _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            try:
                yield
            finally:
                libc.setns(home.fileno(), _CLONE_NEWNET)

    def image(self, image: str) -> dict[str, Any]:
        """Ask buildah."""
        return self.buildah.image(image)

    def files(self, image: str) -> Path:
        """Return where it is mounted."""
        return self.buildah.mounted(image)

    def close(self, names: Sequence[str]) -> None:
        """End the containers; the rest is in one directory."""
        for container in self._containers.values():
            container.end()
        # its end is the sign to end
        self._network.communicate()
        shutil.rmtree(self.place, ignore_errors=True)


def usable() -> str | None:
    """Return why this machine cannot do it; None if it can."""
    if os.geteuid() != 0:
        return "chroots need root"
    for program in ("buildah", "debootstrap", "unshare", "nsenter"):
        if shutil.which(program) is None:
            return f"the program {program!r} is missing (Debian: apt-get install buildah debootstrap)"
    probe = ["unshare", "--mount", "--pid", "--ipc", "--uts", "--net", "--fork", "--mount-proc"]
    done = subprocess.run([*probe, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False)
    if done.returncode != 0:
        return f"namespaces cannot be made here: {done.stderr.decode(errors='replace').strip()}"
    return None
