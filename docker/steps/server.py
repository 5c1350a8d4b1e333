"""Put the private server (docs/server.md) with our extension and wrapper into one directory of the image.

usage: server.py DOWNLOADS TARGET

Packages come from Debian 11, at the addresses of the apt configuration of the machine that builds. What a
server in a container has no use for is left out: manuals, translations, LLVM (`jit` is off), Perl programs.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pgpredict.server.account import run
from pgpredict.server.install import ServerInstall
from pgpredict.server.library import source_directory
from pgpredict.server.private import PACKAGE, check, describe, download, unpack
from pgpredict.server.shadow import extension_files

#: a proxy, credentials or authorities of the machine that builds
SECRET = Path("/run/secrets/apt_conf")
#: of the unpacked packages
UNUSED = (
    *(
        "etc",
        "usr/include",
        "usr/sbin",
        "usr/share/doc",
        "usr/share/man",
        "usr/share/locale",
        "usr/share/zoneinfo",
    ),
    *(
        "usr/share/bug",
        "usr/share/lintian",
        "usr/share/doc-base",
        "usr/share/postgresql-common",
        "usr/share/perl5",
    ),
    *("usr/share/postgresql/*/man", "usr/share/pixmaps", "usr/share/applications", "usr/share/info"),
    *(
        "usr/lib/postgresql/*/lib/bitcode",
        "usr/lib/postgresql/*/lib/llvm*",
        "usr/lib/*/libLLVM*",
        "usr/lib/llvm-*",
    ),
    *(
        "usr/lib/*/libz3.so*",
        "usr/lib/python3.*/idlelib",
        "usr/lib/python3.*/lib2to3",
        "usr/lib/python3.*/test",
    ),
    *("usr/lib/python3.*/pydoc_data", "usr/lib/python3.*/turtle*", "usr/lib/python3.*/tkinter"),
)


def main() -> None:
    """Download, unpack, prune, add what is ours, compile, try."""
    downloads, target = map(Path, sys.argv[1:])
    if SECRET.exists() and SECRET.stat().st_size:
        os.environ["APT_CONFIG"] = str(SECRET)
    try:
        archives = named_now(download(downloads, say), downloads)
    finally:
        # the directory is kept for the next build, and these may have passwords of proxies and mirrors
        for name in ("apt.conf", "pgpredict.sources"):
            (downloads / "apt" / name).unlink(missing_ok=True)
    unpack(archives, target, say)
    prune(target)
    (target / "packages.txt").write_text("".join(f"{path.stem}\n" for path in archives))
    server = describe(target)
    for name, text in extension_files().items():
        (server.sharedir / "extension" / name).write_text(text, encoding="utf-8")
    (packages,) = server.python_path
    shutil.copytree(
        source_directory() / "fdw", packages / "fdw", ignore=shutil.ignore_patterns("__pycache__")
    )
    compile_library(server, target)
    check(target, say)


def named_now(archives: list[Path], downloads: Path) -> list[Path]:
    """Return the packages that apt names today, and remove what builds before have left beside them."""
    names = names_now(downloads)
    missing = names - {path.name for path in archives}
    if missing or not names:
        raise SystemExit(f"apt has downloaded other packages than it names; missing are {sorted(missing)}")
    for path in archives:
        if path.name not in names:
            path.unlink()
    return [path for path in archives if path.name in names]


def names_now(downloads: Path) -> set[str]:
    """Return the files that apt would download if none were there."""
    environment = {**os.environ, "APT_CONFIG": str(downloads / "apt/apt.conf"), "LC_ALL": "C"}
    with tempfile.TemporaryDirectory() as empty:
        (Path(empty) / "partial").mkdir()
        words = ["apt-get", "-qq", "-o", f"Dir::Cache::archives={empty}", "--print-uris", "--yes"]
        said = run([*words, "--no-install-recommends", "install", PACKAGE], env=environment)
    return set(re.findall(r"^'[^']*' (\S+\.deb) \d+", said, re.MULTILINE))


def say(line: str) -> None:
    """Tell what goes on."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def prune(target: Path) -> None:
    """Remove what is not needed."""
    for pattern in UNUSED:
        for path in target.glob(pattern):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for path in (target / "usr/bin").iterdir():
        if not path.name.startswith("python3"):
            path.unlink()
    for path in dangling(target):
        path.unlink()


def dangling(target: Path) -> Iterator[Path]:
    """Return the links that lead nowhere."""
    return (path for path in list(target.rglob("*")) if path.is_symlink() and not path.exists())


def compile_library(server: ServerInstall, target: Path) -> None:
    """Compile the Python in the server so that the times of its files do not matter.

    Nothing can be written where it runs, and the times are set by who builds the image.
    """
    for path in list(target.rglob("__pycache__")):
        shutil.rmtree(path)
    directories = [*target.glob("usr/lib/python3.*"), target / "usr/lib/python3"]
    if server.python is None:
        raise SystemExit(f"the Multicorn in {str(target)!r} is linked to no Python")
    # sets in one order: what is compiled must not differ from build to build
    environment = {**os.environ, **server.environment, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    options = ["-q", "-f", "--invalidation-mode", "unchecked-hash"]
    run([server.python, "-m", "compileall", *options, *directories], env=environment)


if __name__ == "__main__":
    main()
