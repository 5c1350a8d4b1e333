"""Our extension files where a server looks for them, without touching its installation.

PostgreSQL derives its share directory from where its own binary is
(``make_relative_path``), and resolves symbolic links to find that out
(``find_my_exec``). So a *shadow tree* holds a real copy of ``postgres`` and of the
programs that start it, links for everything else, and a real ``extension``
directory of links plus our files. Its layout below the root is that of the
installation, since the tails of the compiled-in paths have to match.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from importlib import resources
from pathlib import Path

from pgpredict.errors import ServerError

from .home import Home, write_atomically
from .install import ServerInstall

#: programs that look for others, or for the share directory, beside themselves
COPIED = ("postgres", "pg_ctl", "initdb", "pg_config")
STAMP = "shadow.json"


def extension_files() -> dict[str, str]:
    """Return our extension's files: name and contents."""
    directory = resources.files("pgpredict") / "sql"
    if not directory.is_dir():
        return {}
    return {
        entry.name: entry.read_text(encoding="utf-8")
        for entry in sorted(directory.iterdir(), key=lambda entry: entry.name)
        if entry.name.startswith("pgpredict") and entry.name.endswith((".control", ".sql"))
    }


def shadow(home: Home, install: ServerInstall) -> tuple[ServerInstall, bool]:
    """Make or renew the shadow tree of a server.

    :returns: the server in the tree, and whether a server that runs from it has to be restarted
    """
    tree = home.path / f"server-{install.name}{'-private' if install.private else ''}"
    rebuilt = False
    if _read_stamp(tree) != fingerprint(install):
        build(tree, install)
        rebuilt = True
    shadowed = in_tree(tree, install)
    sync_extension(shadowed, install)
    return shadowed, rebuilt


def in_tree(tree: Path, install: ServerInstall) -> ServerInstall:
    """Return the server as it is inside a shadow tree."""
    return replace(
        install,
        bindir=mirrored(tree, install.bindir),
        sharedir=mirrored(tree, install.sharedir),
        pkglibdir=mirrored(tree, install.pkglibdir),
    )


def mirrored(tree: Path, path: Path) -> Path:
    """Return the place in the tree of a path of the installation."""
    return tree / path.relative_to("/")


def fingerprint(install: ServerInstall) -> dict[str, object]:
    """Return what changes when the installation does."""
    seen: dict[str, object] = {"bindir": str(install.bindir), "version": install.version}
    for path in (
        install.bindir / "postgres",
        install.pkglibdir / "multicorn.so",
        install.sharedir / "extension",
    ):
        status = path.stat()
        seen[path.name] = [status.st_size, status.st_mtime_ns]
    return seen


def _read_stamp(tree: Path) -> object:
    try:
        return json.loads((tree / STAMP).read_text())
    except (OSError, ValueError):
        return None


def build(tree: Path, install: ServerInstall) -> None:
    """Make the tree under a temporary name and put it in its place when whole."""
    new, old = tree.with_name(f"{tree.name}.new"), tree.with_name(f"{tree.name}.old")
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)
    new.mkdir(mode=0o755)
    seen = fingerprint(install)
    shadowed = in_tree(new, install)
    shadowed.bindir.mkdir(parents=True)
    for program in install.bindir.iterdir():
        if program.name in COPIED:
            shutil.copy2(program.resolve(), shadowed.bindir / program.name)
        else:
            (shadowed.bindir / program.name).symlink_to(program)
    link_directory(install.sharedir, shadowed.sharedir)
    (shadowed.sharedir / "extension").unlink()
    link_directory(install.sharedir / "extension", shadowed.sharedir / "extension")
    if not shadowed.pkglibdir.exists():
        shadowed.pkglibdir.parent.mkdir(parents=True, exist_ok=True)
        shadowed.pkglibdir.symlink_to(install.pkglibdir)
    (new / STAMP).write_text(json.dumps(seen))
    if tree.exists():
        tree.rename(old)
    new.rename(tree)
    shutil.rmtree(old, ignore_errors=True)


def link_directory(source: Path, target: Path) -> None:
    """Make a directory of links to the entries of another, those that are there already kept."""
    target.mkdir(parents=True, exist_ok=True)
    for entry in source.iterdir():
        if not (target / entry.name).exists():
            (target / entry.name).symlink_to(entry)


def sync_extension(shadowed: ServerInstall, install: ServerInstall) -> None:
    """Put our extension files into the tree and take away those that are no longer ours.

    :raises ServerError: if the tree cannot be written to
    """
    directory = shadowed.sharedir / "extension"
    wanted = extension_files()
    try:
        for path in set(_ours(directory)) - {directory / name for name in wanted}:
            path.unlink()
        for name, text in wanted.items():
            path = directory / name
            if path.is_symlink() or not path.exists() or path.read_text(encoding="utf-8") != text:
                write_atomically(path, text)
    except OSError as error:
        raise ServerError(f"cannot write to {str(directory)!r}: {error.strerror}") from error


def _ours(directory: Path) -> Iterator[Path]:
    yield from directory.glob("pgpredict.control")
    yield from directory.glob("pgpredict--*.sql")


def extension_digest() -> str:
    """Return a digest of our extension files."""
    digest = hashlib.sha256()
    for name, text in extension_files().items():
        digest.update(f"{name}\0{text}\0".encode())
    return digest.hexdigest()
