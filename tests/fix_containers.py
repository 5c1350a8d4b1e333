"""The container images, and projects that run them as docker/compose.yaml says.

``PGPREDICT_TEST_CONTAINERS`` chooses: ``auto`` (what works here: Docker, Podman, chroots), ``docker``,
``podman``, ``chroot``; without it, which is not `make test-containers`, these tests are skipped. Images are
built once a run. ``PGPREDICT_TEST_BASE`` names a base image; without it one is made by debootstrap where that
can be.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.compose import FILE, Service, read
from tests.containers import chroot
from tests.containers.engines import OPTIONS, CommandLine, Engine, Failed, Result
from tests.containers.images import Buildah, Progress, build_with, import_base, run
from tests.fix_runtime import eventually

ENGINES = ("docker", "podman", "chroot")
SUPERUSER_PASSWORD = "pass:word\\with 'signs' " + secrets.token_hex(6)
RUNTIME_PASSWORD = "run:time\\ 'too' " + secrets.token_hex(6)


def why_not(engine: str, said: Progress) -> str | None:
    """Return why an engine does not work here; None if it does."""
    if engine == "chroot":
        return chroot.usable()
    if shutil.which(engine) is None:
        return f"{engine} is not here"
    done = subprocess.run([engine, "info"], capture_output=True, check=False, timeout=60)
    if done.returncode != 0:
        return f"{engine} does not run: {done.stderr.decode(errors='replace').strip()[:200]}"
    base = import_base(engine, said)
    # a program that is installed may still be kept from starting anything, by the machine that it is on
    done = subprocess.run(
        [engine, "run", "--rm", *OPTIONS, base or "debian:bookworm-slim", "true"],
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        return f"{engine} starts no container: {done.stderr.decode(errors='replace').strip()[:200]}"
    return None


def chosen_engine(said: Progress) -> str:
    """Return the engine of this run, or skip."""
    wanted = os.environ.get("PGPREDICT_TEST_CONTAINERS")
    if not wanted:
        pytest.skip("PGPREDICT_TEST_CONTAINERS is not set: `make test-containers` runs these")
    if wanted != "auto":
        reason = why_not(wanted, said) if wanted in ENGINES else f"there are {', '.join(ENGINES)}"
        if reason:
            pytest.exit(f"PGPREDICT_TEST_CONTAINERS is {wanted!r}: {reason}", returncode=2)
        return wanted
    reasons: list[str] = []
    for engine in ENGINES:
        reason = why_not(engine, said)
        if reason is None:
            return engine
        said(reason)
        reasons.append(reason)
    pytest.skip("; ".join(reasons))


@dataclasses.dataclass
class Images:
    """Built images.

    :param make_engine: makes an engine that runs them
    :param buildah: None with Docker and Podman
    """

    name: str
    make_engine: Callable[[str], Engine]
    buildah: Buildah | None

    def derive(self, image: str, name: str, steps: str, context: Path) -> None:
        """Make an image from another, by further steps of a Dockerfile."""
        if self.buildah is not None:
            self.buildah.derive(image, name, steps, context)
            return
        (context / "Dockerfile").write_text(f"FROM {image}\n{steps}")
        run([self.name, "build", "--tag", name, context])


@pytest.fixture(scope="session")
def images(request: pytest.FixtureRequest) -> Iterator[Images]:
    """The three images, built."""
    reporter = request.config.pluginmanager.getplugin("terminalreporter")
    capturing = request.config.pluginmanager.getplugin("capturemanager")
    start = time.monotonic()

    def said(line: str) -> None:
        with capturing.global_and_fixture_disabled():
            reporter.write_line(f"  {time.monotonic() - start:5.0f} s  {line}")

    with capturing.global_and_fixture_disabled():
        reporter.ensure_newline()
    name = chosen_engine(said)
    if name != "chroot":
        build_with(name, said)
        yield Images(name, lambda project: CommandLine(project, name), None)
        return
    buildah = Buildah(said)
    buildah.build_all()
    said("built")
    try:
        yield Images(name, lambda project: chroot.Chroot(project, buildah), buildah)
    finally:
        buildah.close()


def named_images() -> dict[str, str]:
    """Variables of compose.yaml for the images that this run is to use: docker/check-pgdg names one."""
    return {name: os.environ[name] for name in ("PGPREDICT_DATABASE_IMAGE",) if name in os.environ}


class Project:
    """The services of compose.yaml on an engine.

    :ivar services: as the file describes them; a test may replace some
    :ivar secrets: directory with the files of the secrets
    """

    def __init__(self, engine: Engine, directory: Path, *files: Path, **environment: str) -> None:
        self.engine = engine
        self.secrets = directory
        given = {"PGPREDICT_PORT": str(free_port()), **named_images(), **environment}
        self.services = read(*(files or (FILE,)), environment=given)
        for name, text in (
            ("superuser_password", SUPERUSER_PASSWORD),
            ("runtime_password", RUNTIME_PASSWORD),
        ):
            self.write_secret(name, text)
        for name in self.services:
            self.change(name, secrets={key: directory / key for key in self.services[name].secrets})

    @property
    def major(self) -> int:
        """Version of the database's PostgreSQL."""
        variables = self.engine.image(self.services["database"].image)["Env"]
        (data,) = (text for text in variables if text.startswith("PGDATA="))
        return int(data.split("/")[-2])

    def write_secret(self, name: str, text: str) -> Path:
        """Write a secret as docker/secrets/make does."""
        path = self.secrets / name
        if path.exists():
            path.chmod(0o644)
        path.write_text(f"{text}\n")
        path.chmod(0o444)
        return path

    def change(self, name: str, **values: Any) -> Service:
        """Change something of a service."""
        self.services[name] = dataclasses.replace(self.services[name], **values)
        return self.services[name]

    def up(self, *names: str) -> None:
        """Start services and those that they depend on, and wait until they are well."""
        for name in names or ("database", "runtime", "proxy"):
            for needed, condition in self.services[name].depends_on.items():
                assert condition == "service_healthy"
                if not self.well(needed):
                    self.up(needed)
            if not self.well(name):
                self.engine.start(self.services[name])
                self.wait_well(name)

    def well(self, name: str) -> bool:
        """Tell whether a service's health check says that it is well."""
        try:
            return self.engine.health(self.services[name]).code == 0
        except (KeyError, Failed):
            return False

    def wait_well(self, name: str, seconds: float = 240) -> None:
        """Wait until a service is well."""
        try:
            eventually(lambda: self.well(name), seconds=seconds)
        except AssertionError as error:
            raise AssertionError(f"{name} does not get well: {self.engine.logs(name)}") from error

    def wait_sick(self, name: str, seconds: float = 240) -> Result:
        """Wait until a service is not well."""
        found: list[Result] = []

        def sick() -> bool:
            found.append(self.engine.health(self.services[name]))
            return found[-1].code != 0

        eventually(sick, seconds=seconds)
        return found[-1]

    def restart(self, name: str) -> None:
        """Start a service again whose container has ended, as its restart policy does."""
        assert self.services[name].restart == "unless-stopped"
        self.engine.start(self.services[name])
        self.wait_well(name)

    def connect(self, **further: Any) -> psycopg.Connection:
        """Connect to the proxy, as somebody outside does."""
        host, port = self.engine.address(self.services["proxy"])
        with self.engine.network():
            return psycopg.connect(
                **{
                    "host": host,
                    "port": port,
                    "dbname": "pgpredict",
                    "user": "postgres",
                    "password": SUPERUSER_PASSWORD,
                    "connect_timeout": 60,
                    "autocommit": True,
                    **further,
                }
            )

    def query(self, statement: str, **further: Any) -> list[tuple[Any, ...]]:
        """Run a statement through the proxy, on a new connection."""
        with contextlib.closing(self.connect(**further)) as connection:
            return connection.execute(statement.encode()).fetchall()

    def psql(self, *words: str, stdin: str = "") -> Result:
        """Run psql in the database's container."""
        return self.engine.execute(
            "database", ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", *words], stdin=stdin
        )

    def command(self, *words: str) -> Result:
        """Run a command of pgpredict in the image that trains, in the place of the demo."""
        service = dataclasses.replace(self.services["demo"], name="command", command=words)
        return self.engine.run(service, timeout=300)

    def train(self, model: str, query: str, *options: str) -> None:
        """Train a model on a query with a column y."""
        dsn = "host=database user=postgres dbname=pgpredict"
        done = self.command("train", model, "--dsn", dsn, "--target", "y", "--query", query, *options)
        assert done.code == 0, done.output

    def close(self) -> None:
        """End everything."""
        self.engine.close([*self.services, "command"])


@pytest.fixture(scope="module")
def make_project(
    images: Images, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Project]]:
    """Makes projects, each with networks and volumes of its own."""
    made: list[Project] = []

    def make(*files: Path, **environment: str) -> Project:
        directory = tmp_path_factory.mktemp("secrets")
        engine = images.make_engine(f"pgp-test-{secrets.token_hex(3)}")
        made.append(Project(engine, directory, *files, **environment))
        return made[-1]

    yield make
    for project in made:
        project.close()


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    """A project of one test, with nothing running."""
    return make_project()


def free_port() -> int:
    """Return a free port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
