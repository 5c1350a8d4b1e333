"""The wheel: built from this checkout and installed into an environment of its own, it has everything.

With its dependencies fetched as well, on a host: tests/acceptance/test_operate.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from tests.pages import ROOT


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``pgpredict`` of the wheel; what it depends on is that of the tests."""
    directory = tmp_path_factory.mktemp("wheel")
    source = directory / "checkout"
    source.mkdir()
    # a build leaves files behind
    names = ("README.md", "pyproject.toml", "fdw", "onnx_models", "pgpredict", "rewriter", "sql")
    # what others compile meanwhile comes and goes
    ignored = shutil.ignore_patterns("__pycache__")
    for path in (ROOT / name for name in names):
        if path.is_dir():
            shutil.copytree(path, source / path.name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(path, source)
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", directory, source], check=True)
    venv.create(directory / "venv", with_pip=False)
    [wheel] = directory.glob("*.whl")
    into = ["--python", str(directory / "venv/bin/python"), "install", "--no-deps", "--no-index"]
    subprocess.run([*pip, *into, wheel], check=True)
    return directory / "venv/bin/pgpredict"


def run(program: Path, *words: str) -> str:
    # dependencies, but not our packages: an editable install is no directory in there
    environment = {**os.environ, "PYTHONPATH": str(Path(np.__file__).parents[1]), "HOME": "/nonexistent"}
    ended = subprocess.run(
        [program, *words], env=environment, cwd="/", capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_it_has_every_file_that_is_not_code(program: Path) -> None:
    [site] = program.parents[1].glob("lib/python3*/site-packages")
    for package in ("fdw", "onnx_models", "pgpredict", "rewriter"):
        here = ROOT / package
        for path in here.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts and path.name != "README.md":
                assert (site / package / path.relative_to(here)).read_bytes() == path.read_bytes(), path
    assert {path.name for path in (ROOT / "sql").glob("*.sql")} <= {
        path.name for path in (site / "pgpredict/sql").iterdir()
    }
    assert not (site / "tests").exists()


def test_it_runs(program: Path) -> None:
    assert run(program, "--version").startswith("pgpredict, version")
    for command in ("runtime", "proxy", "train", "service"):
        assert "Usage" in run(program, command, "--help")
    printed = run(program, "service", "install", "--print", "--account", "postgres")
    assert f"ExecStart={program.parent}/python" in printed
    for name in ("proxy.toml", "runtime.env", "sysusers.conf"):
        assert (files("pgpredict.service") / "files" / name).read_text() in printed
