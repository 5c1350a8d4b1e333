"""Our packages, copied to where the server's and the runtime's account can read them.

``lib`` is a link to ``lib-<digest>``: it changes in one step, and what a running
process has imported from stays until the next change.
"""

from __future__ import annotations

import compileall
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from pgpredict.errors import ServerError

from .account import run
from .home import Home
from .install import ServerInstall

PACKAGES = ("fdw", "onnx_models", "pgpredict", "rewriter")
IGNORED = {"__pycache__", ".mypy_cache", ".ruff_cache"}


def source_directory() -> Path:
    """Return the directory that holds our packages: a checkout, site-packages, or a copy made by us."""
    return Path(__file__).resolve().parents[2]


def package_files(source: Path) -> Iterator[Path]:
    """Return the files of our packages in a fixed order; links are followed."""
    for package in PACKAGES:
        for directory, subdirectories, names in os.walk(source / package, followlinks=True):
            subdirectories[:] = sorted(name for name in subdirectories if name not in IGNORED)
            yield from (
                Path(directory) / name for name in sorted(names) if not name.endswith((".pyc", ".pyo"))
            )


def sync_library(home: Home, install: ServerInstall) -> bool:
    """Copy our packages to ``lib`` if they changed.

    :param install: the server whose Python imports them; they are compiled for it, as it cannot write here
    :returns: whether they changed
    :raises ServerError: if they cannot be written
    """
    source = source_directory()
    files = list(package_files(source))
    digest = hashlib.sha256(f"{install.python_version}\0".encode())
    for path in files:
        digest.update(f"{path.relative_to(source)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    target = home.path / f"lib-{digest.hexdigest()[:16]}"
    current = home.lib.resolve() if home.lib.is_symlink() else None
    if current == target and target.exists():
        return False
    try:
        if not target.exists():
            copy(files, source, target, install)
        link = home.path / "lib.new"
        link.unlink(missing_ok=True)
        link.symlink_to(target.name)
        link.replace(home.lib)
    except OSError as error:
        raise ServerError(f"cannot copy our packages to {str(target)!r}: {error.strerror}") from error
    for old in home.path.glob("lib-*"):
        if old not in (target, current):
            shutil.rmtree(old, ignore_errors=True)
    return True


def copy(files: list[Path], source: Path, target: Path, install: ServerInstall) -> None:
    """Copy and compile the packages under a temporary name, and rename when whole."""
    new = target.with_name(f"{target.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    for path in files:
        place = new / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        shutil.copyfile(path, place)
        # the mode of the checkout does not matter: the account has to be able to read it
        place.chmod(0o644)
    for directory, _, _ in os.walk(new):
        Path(directory).chmod(0o755)
    new.rename(target)
    compileall.compile_dir(str(target), quiet=2)
    if install.python is not None and install.python.exists():
        environment = {**os.environ, **install.environment, "PYTHONPATH": ""}
        run([install.python, "-m", "compileall", "-q", target / "fdw"], env=environment)
