"""What runs containers: Docker or Podman where one works, else chroots with namespaces of our own."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shlex
import shutil
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.compose import Service

#: further words of `run`, for machines that need them: PGPREDICT_RUN_OPTIONS="--ulimit nofile=1024:1024"
OPTIONS = shlex.split(os.environ.get("PGPREDICT_RUN_OPTIONS", ""))


@dataclasses.dataclass(frozen=True)
class Result:
    """How a program ended.

    :param output: what it wrote, errors too
    """

    code: int
    output: str


def run_program(words: Sequence[str], timeout: float, stdin: str = "") -> Result:
    """Run a program; bytes that are no text stay what they are."""
    done = subprocess.run(
        words,
        input=stdin.encode(errors="surrogateescape"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout,
        check=False,
    )
    return Result(done.returncode, done.stdout.decode(errors="surrogateescape"))


class Failed(AssertionError):
    """A program of the engine's failed."""


class Engine(ABC):
    """Runs the services of one project, which have a network and volumes of their own."""

    def __init__(self, project: str) -> None:
        self.project = project

    @abstractmethod
    def start(self, service: Service) -> None:
        """Start a service's container, which must not run."""

    @abstractmethod
    def run(self, service: Service, timeout: float = 60) -> Result:
        """Run a container to its end, and remove it."""

    @abstractmethod
    def signal(self, name: str, signal: str) -> None:
        """Send a signal to a container's first process."""

    @abstractmethod
    def wait(self, name: str, timeout: float) -> int:
        """Wait for a container's end and return its exit code."""

    @abstractmethod
    def execute(self, name: str, command: Sequence[str], timeout: float = 60, stdin: str = "") -> Result:
        """Run a program in a container, as its account."""

    @abstractmethod
    def logs(self, name: str) -> str:
        """Return what a container has written since it was started last."""

    @abstractmethod
    def address(self, service: Service) -> tuple[str, int]:
        """Return where this machine reaches the port that a service publishes."""

    @abstractmethod
    def network(self) -> contextlib.AbstractContextManager[None]:
        """Be where :meth:`address` is reached from."""

    @abstractmethod
    def image(self, image: str) -> dict[str, Any]:
        """Return an image's configuration."""

    @abstractmethod
    def files(self, image: str) -> Path:
        """Return a directory with the files of an image."""

    @abstractmethod
    def close(self, names: Sequence[str]) -> None:
        """Remove containers, volumes and network."""

    def stop(self, service: Service) -> tuple[int, float]:
        """Stop a container as engines do; return its exit code and how long that took."""
        start = time.monotonic()
        self.signal(service.name, self.image(service.image).get("StopSignal") or "SIGTERM")
        code = self.wait(service.name, service.grace)
        return code, time.monotonic() - start

    def kill(self, name: str) -> None:
        """Kill a container."""
        self.signal(name, "SIGKILL")
        self.wait(name, 20)

    def health(self, service: Service) -> Result:
        """Run a service's health check once."""
        assert service.health is not None
        try:
            return self.execute(service.name, service.health.test, service.health.timeout)
        except subprocess.TimeoutExpired:
            return Result(1, "the health check timed out")


class CommandLine(Engine):
    """Docker or Podman, by their common command line.

    :param program: ``docker`` or ``podman``
    """

    def __init__(self, project: str, program: str) -> None:
        super().__init__(project)
        self.program = program
        self._created: dict[str, Service] = {}
        self._since: dict[str, str] = {}
        for network in ("inside", "outside"):
            internal = ["--internal"] if network == "inside" else []
            self._run("network", "create", *internal, f"{project}-{network}")

    def _run(self, *words: str, timeout: float = 120, check: bool = True, stdin: str = "") -> Result:
        done = run_program([self.program, *words], timeout, stdin)
        if check and done.code != 0:
            raise Failed(f"{self.program} {shlex.join(words)}: {done.output}")
        return done

    def options(self, service: Service) -> list[str]:
        """Return the words of `run` that describe a service."""
        words = ["--name", self.name(service.name), "--pull=never", *OPTIONS]
        first, *further = service.networks
        words += ["--network", f"{self.project}-{first}", "--network-alias", service.name]
        assert len(further) <= 1  # connected after the start
        for key, text in service.environment.items():
            words += ["--env", f"{key}={text}"]
        for secret, path in service.secrets.items():
            words += ["--volume", f"{path}:/run/secrets/{secret}:ro"]
        for volume in service.volumes:
            source = volume.source if "/" in volume.source else f"{self.project}-{volume.source}"
            words += ["--volume", f"{source}:{volume.target}{':ro' if volume.read_only else ''}"]
        for target in service.tmpfs:
            words += ["--tmpfs", target]
        for address, outer, inner in service.ports:
            words += ["--publish", f"{address}:{outer}:{inner}"]
        words += [f"--cap-drop={name}" for name in service.cap_drop]
        if service.read_only:
            # Podman makes exceptions by itself
            words += ["--read-only", *(["--read-only-tmpfs=false"] if self.program == "podman" else [])]
        words += ["--security-opt", "no-new-privileges"] if service.no_new_privileges else []
        words += ["--shm-size", str(service.shm_size)]
        words += ["--memory", str(service.memory)] if service.memory else []
        words += ["--cpus", str(service.cpus)] if service.cpus else []
        words += ["--pids-limit", str(service.pids)] if service.pids else []
        return [*words, service.image, *service.command]

    def name(self, service: str) -> str:
        """Return a container's name."""
        return f"{self.project}-{service}"

    def start(self, service: Service) -> None:
        """Start it; a published port needs a network that is not closed."""
        self._since[service.name] = f"{time.time():.3f}"
        if self._created.get(service.name) == service:
            self._run("start", self.name(service.name))
            return
        self._created[service.name] = service
        self._run("rm", "-f", self.name(service.name), check=False)
        if service.ports:
            service = dataclasses.replace(service, networks=tuple(reversed(service.networks)))
        self._run("create", *self.options(service))
        for further in service.networks[1:]:
            words = ["network", "connect", "--alias", service.name, f"{self.project}-{further}"]
            self._run(*words, self.name(service.name))
        self._run("start", self.name(service.name))

    def run(self, service: Service, timeout: float = 60) -> Result:
        """Run it with the engine's own `--rm`."""
        try:
            return self._run("run", "--rm", *self.options(service), timeout=timeout, check=False)
        finally:
            self._run("rm", "-f", self.name(service.name), check=False)

    def signal(self, name: str, signal: str) -> None:
        """Send it by the engine."""
        self._run("kill", "--signal", signal, self.name(name))

    def wait(self, name: str, timeout: float) -> int:
        """Wait by the engine."""
        return int(self._run("wait", self.name(name), timeout=timeout).output.split()[-1])

    def execute(self, name: str, command: Sequence[str], timeout: float = 60, stdin: str = "") -> Result:
        """Run it by the engine."""
        return self._run("exec", "-i", self.name(name), *command, timeout=timeout, check=False, stdin=stdin)

    def logs(self, name: str) -> str:
        """Read them from the engine."""
        return self._run("logs", "--since", self._since[name], self.name(name), check=False).output

    def address(self, service: Service) -> tuple[str, int]:
        """Return where the engine publishes it."""
        address, outer, _ = service.ports[0]
        return address, outer

    def network(self) -> contextlib.AbstractContextManager[None]:
        """Nothing to do: ports are published."""
        return contextlib.nullcontext()

    def image(self, image: str) -> dict[str, Any]:
        """Ask the engine."""
        found: dict[str, Any] = json.loads(self._run("image", "inspect", image).output)[0]
        config: dict[str, Any] = found["Config"]
        history = self._run("history", "--no-trunc", "--format", "{{.CreatedBy}}", image).output
        config.setdefault("Healthcheck", found.get("HealthCheck") or found.get("Healthcheck"))
        return {**config, "history": history}

    def files(self, image: str) -> Path:
        """Unpack them."""
        place = Path(f"/var/tmp/{self.project}-{image.replace('/', '-')}")
        if not place.exists():
            place.mkdir()
            name = f"{self.project}-files"
            self._run("create", "--name", name, image)
            command = (
                f"{self.program} export {name} | tar --numeric-owner -xpf - -C {shlex.quote(str(place))}"
            )
            subprocess.run(["sh", "-c", command], check=True)
            self._run("rm", "-f", name)
        return place

    def close(self, names: Sequence[str]) -> None:
        """Remove everything that carries the project's name."""
        for name in names:
            self._run("rm", "-f", "-v", self.name(name), check=False)
        for volume in self._run("volume", "ls", "--quiet").output.split():
            if volume.startswith(f"{self.project}-"):
                self._run("volume", "rm", "-f", volume, check=False)
        for network in ("inside", "outside"):
            self._run("network", "rm", f"{self.project}-{network}", check=False)
        for place in Path("/var/tmp").glob(f"{self.project}-*"):
            shutil.rmtree(place, ignore_errors=True)


def environment(given: Mapping[str, str], image: Mapping[str, Any]) -> dict[str, str]:
    """Return a container's environment: the image's and the service's."""
    return {**dict(text.split("=", 1) for text in image.get("Env") or ()), **given}
