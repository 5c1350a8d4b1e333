"""The commands of docs/containers.md, by a shell, in their order.

`docker` is a program that hands them to this test, which does what `docker compose` does: with the services
of docker/compose.yaml, on the engine of this run.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.test_docs import blocks
from tests.compose import FILE, TLS, read
from tests.containers.chroot import Chroot
from tests.containers.engines import Result
from tests.fix_containers import Project, named_images
from tests.fix_runtime import eventually
from tests.pages import ROOT

pytestmark = pytest.mark.timeout(1200)

PAGE = ROOT / "docs/containers.md"
PORT = 6432
STAND_IN = Path(__file__).with_name("docker_program.py")


class Compose:
    """What the page uses of `docker compose`."""

    def __init__(self, project: Project, checkout: Path) -> None:
        self.project = project
        self.checkout = checkout
        #: services that the files describe differently than before
        self.changed: set[str] = set()

    def run(self, words: list[str], stdin: str) -> Result:
        """Do what a command line says."""
        assert words.pop(0) == "compose"
        files = []
        profiles = []
        while words[0].startswith("-"):
            option, value = words.pop(0), words.pop(0)
            if option == "-f":
                files.append(ROOT / value)
            else:
                assert option == "--profile"
                profiles.append(value)
        assert set(files) <= {FILE, TLS}
        self._read(*files)
        action = getattr(self, f"_{words.pop(0)}")
        done: Result = action(words, stdin)
        return done

    def _read(self, *files: Path) -> None:
        given = {"PGPREDICT_PORT": str(self.project.services["proxy"].ports[0][1]), **named_images()}
        before = self.project.services
        self.project.services = read(*files, environment=given)
        for name, service in self.project.services.items():
            # of the checkout that the commands are run in
            secrets = {key: self.checkout / "docker/secrets" / key for key in service.secrets}
            self.project.change(name, secrets=secrets)
            if name in before and before[name] != self.project.services[name]:
                self.changed.add(name)

    def _up(self, words: list[str], stdin: str) -> Result:
        if "--force-recreate" in words:
            assert words[:-1] == ["--wait", "--no-deps", "--force-recreate"]
            return self._restart(words[-1:], stdin)
        assert set(words) <= {"--build", "--wait"}
        for name in self.changed & {"proxy"}:
            if self.project.well(name):
                self.project.engine.stop(self.project.services[name])
        self.changed.clear()
        self.project.up()
        return Result(0, "")

    def _kill(self, words: list[str], stdin: str) -> Result:
        assert words == ["-s", "HUP", "proxy"]
        before = self.project.engine.logs("proxy").count("event=reloaded")
        self.project.engine.signal("proxy", "SIGHUP")
        eventually(lambda: self.project.engine.logs("proxy").count("event=reloaded") > before)
        return Result(0, "")

    def _exec(self, words: list[str], stdin: str) -> Result:
        assert words.pop(0) == "-T"
        return self.project.engine.execute(words[0], words[1:], timeout=120, stdin=stdin)

    def _run(self, words: list[str], stdin: str) -> Result:
        assert words.pop(0) == "--rm"
        service = self.project.services[words.pop(0)]
        assert service.profiles
        return self.project.engine.run(
            dataclasses.replace(service, command=tuple(words) or service.command), timeout=600
        )

    def _restart(self, words: list[str], stdin: str) -> Result:
        for name in words:
            self.project.engine.stop(self.project.services[name])
            self.project.restart(name)
        return Result(0, "")

    def _logs(self, words: list[str], stdin: str) -> Result:
        assert words[:2] == ["--tail", "20"]
        return Result(0, self.project.engine.logs(words[2]))

    def _down(self, words: list[str], stdin: str) -> Result:
        for name in ("proxy", "runtime", "database"):
            code, _ = self.project.engine.stop(self.project.services[name])
            assert code == 0
        return Result(0, "")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A place to run the commands in: what they name of the repository, and no passwords yet."""
    place = tmp_path / "checkout"
    (place / "docker/secrets").mkdir(parents=True)
    shutil.copy(ROOT / "docker/secrets/make", place / "docker/secrets")
    return place


def test_every_command_of_the_page(
    make_project: Callable[..., Project], checkout: Path, tmp_path: Path
) -> None:
    if shutil.which("psql") is None:
        pytest.skip("no psql here")
    project = make_project()
    compose = Compose(project, checkout)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            asked: dict[str, Any] = json.loads(self.rfile.readline())
            try:
                done = compose.run(asked["words"], asked["stdin"])
            except Exception as error:
                done = Result(1, f"{type(error).__name__}: {error}\n")
            self.wfile.write(json.dumps(dataclasses.asdict(done)).encode() + b"\n")

    path = tmp_path / "docker.sock"
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "docker").write_text(f'#!/bin/sh\nexec {sys.executable} {STAND_IN} {path} "$@"\n')
    (programs / "docker").chmod(0o755)
    with socketserver.ThreadingUnixStreamServer(str(path), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        script = "\n".join(content for language, _, content in blocks(PAGE) if language == "sh")
        _, port = project.engine.address(project.services["proxy"])
        script = script.replace(f"port={PORT}", f"port={port}")
        environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
        environment = {name: text for name, text in environment.items() if not name.startswith("PG")}
        words = ["sh", "-e", "-x", "-c", script]
        if isinstance(project.engine, Chroot):
            words = [*project.engine.entering, *words]
        done = subprocess.run(
            words, cwd=checkout, env=environment, capture_output=True, text=True, check=False
        )
        server.shutdown()
    assert done.returncode == 0, f"{done.stdout[-1500:]}\n{done.stderr[-1500:]}"
    assert done.stderr.count("\n+ ") > 15
    # the commands' own reading of the file has not lost the image that this run is about
    assert project.services["database"].image == read(environment=named_images())["database"].image
    # of the demo, and of what is asked through the proxy then
    assert "late_arrival: trained, verified, deployed" in done.stdout
    assert re.search(r"^ yes +\| +\d+$", done.stdout, re.MULTILINE)
    assert re.search(r"^pgpredict_sessions \d", done.stdout, re.MULTILINE)
    assert re.search(r"^# HELP pgpredict_runtime", done.stdout, re.MULTILINE)
    assert (checkout / "pgpredict.dump").stat().st_size > 10_000
