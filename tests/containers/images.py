"""Builds the images of docker/Dockerfile.

The base is made by debootstrap where that can be, from the addresses of this machine's apt configuration,
else the Dockerfile's own is pulled. What a build needs to reach mirror and index goes in as secrets, each
with a mark: no image may have it.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pgpredict.server.apt import DEBIAN_SUITES, read_sources
from tests.pages import ROOT

from .engines import Failed

Progress = Callable[[str], None]

#: base image, storage of buildah, caches: kept for the next run
STATE = Path(os.environ.get("PGPREDICT_CONTAINERS_STATE", "/var/tmp/pgpredict-containers"))
LOCAL_BASE = "localhost/pgpredict-test/debian:bookworm-slim"
TARGETS = ("database", "serve", "train")
SUITE = "bookworm"
#: of all files: what `docker build` and buildah take from SOURCE_DATE_EPOCH
TIMESTAMP = "315532800"
#: in every secret of a build, and in no image
MARK = f"pgpredict-{secrets.token_hex(8)}"
#: what the slim variant of Debian's image leaves out
STEPS = re.compile(r"STEP |^#\d+ \[|^(reading|compiling|trying)")
_NOT_SLIM = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/lintian")


def image_name(target: str) -> str:
    """Return an image's name, as compose.yaml has it."""
    return f"localhost/pgpredict/{target}"


def run(words: Sequence[str | Path], said: Progress | None = None, **options: Any) -> str:
    """Run a program, telling each step of a Dockerfile; fail with its last words."""
    lines: list[str] = []
    with subprocess.Popen(
        [str(word) for word in words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        **options,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if said is not None and STEPS.search(line):
                said(line.strip()[:110])
    if process.returncode != 0:
        raise Failed(f"{' '.join(map(str, words))}\n{''.join(lines[-40:])}")
    return "".join(lines)


def debian_sources() -> str:
    """Return this machine's sources of the suite; empty if it has none."""
    sources = [
        source
        for source in read_sources(Path("/etc/apt"))
        if "main" in source.components and source.suite.split("-")[0] == SUITE and SUITE in DEBIAN_SUITES
    ]
    return "\n".join(source.to_deb822() for source in sources)


def base_archive(said: Progress) -> Path | None:
    """Make the base's files, once; None where they cannot be made."""
    archive = STATE / "base.tar"
    sources = debian_sources()
    if archive.exists():
        return archive
    if os.geteuid() != 0 or shutil.which("debootstrap") is None or not sources:
        return None
    said("making a base image with debootstrap")
    STATE.mkdir(parents=True, exist_ok=True)
    root = STATE / "base"
    shutil.rmtree(root, ignore_errors=True)
    mirror = next(line.split()[1] for line in sources.splitlines() if line.startswith("URIs:"))
    run(["debootstrap", "--variant=minbase", SUITE, root, mirror])
    (root / "etc/apt/sources.list").unlink(missing_ok=True)
    (root / "etc/apt/sources.list.d/debian.sources").write_text(sources)
    for pattern in (
        "var/cache/apt/*",
        "var/lib/apt/lists/*",
        "var/log/*",
        *(f"{name}/*" for name in _NOT_SLIM),
    ):
        for path in root.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    new = archive.with_suffix(".new")
    run(["tar", "-C", root, "--numeric-owner", "-cf", new, "."])
    new.rename(archive)
    shutil.rmtree(root)
    return archive


@functools.cache
def build_secrets() -> dict[str, Path]:
    """Write what this machine's pip and apt are configured with, for a build."""
    place = STATE / "secrets"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True, mode=0o700)
    listed = run([sys.executable, "-m", "pip", "config", "list"])
    lines = ["[global]", f"# {MARK}"]
    authorities = ""
    for key, value in re.findall(r"^(?:global|:env:)\.([\w-]+)='(.*)'$", listed, re.MULTILINE):
        if key == "cert":
            authorities = value
        elif key in ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout"):
            # a directory of this machine is not there in a build
            lines += [f"{key} = {text}" for text in value.split() if not text.startswith("file:")]
    authorities = authorities or os.environ.get("SSL_CERT_FILE", "")
    found: dict[str, str] = {}
    if authorities and Path(authorities).exists():
        lines.append("cert = /run/secrets/ca")
        found["ca"] = f"{Path(authorities).read_text()}\n# {MARK}\n"
    found["pip_conf"] = "\n".join(lines) + "\n"
    if shutil.which("apt-config"):
        found["apt_conf"] = run(["apt-config", "dump", "Acquire"]) + f'Acquire::Mark "{MARK}";\n'
    for name, text in found.items():
        (place / name).write_text(text)
    return {name: place / name for name in found}


def arguments(target: str, base: str | None) -> list[str]:
    """Return the words that all builders understand."""
    words = ["--target", target, "--tag", image_name(target), "--file", str(ROOT / "docker/Dockerfile")]
    if base is not None:
        words += ["--build-arg", f"BASE={base}"]
    for name, path in build_secrets().items():
        words += ["--secret", f"id={name},src={path}"]
    return words


def import_base(program: str, said: Progress) -> str | None:
    """Give Docker or Podman the base image; None if it has to pull the usual one."""
    if given := os.environ.get("PGPREDICT_TEST_BASE"):
        return given
    archive = base_archive(said)
    if archive is None:
        return None
    probe = [program, "image", "inspect", LOCAL_BASE]
    if subprocess.run(probe, capture_output=True, check=False).returncode != 0:
        run([program, "import", archive, LOCAL_BASE])
    return LOCAL_BASE


def steps_have_changed(builder: str) -> bool:
    """Tell whether docker/steps is another than at the last build.

    Podman and buildah take a layer for the same when what is mounted at its RUN has other contents.
    """
    digest = hashlib.sha256()
    for path in sorted((ROOT / "docker/steps").iterdir()):
        digest.update(f"{path.name}\0".encode() + path.read_bytes() + b"\0")
    record = STATE / f"steps-{builder}"
    if record.exists() and record.read_text() == digest.hexdigest():
        return False
    STATE.mkdir(parents=True, exist_ok=True)
    record.write_text(digest.hexdigest())
    return True


def build_with(program: str, said: Progress) -> None:
    """Build all images with Docker or Podman."""
    base = import_base(program, said)
    further = ["--format", "docker", "--layers"] if program == "podman" else []
    further += ["--no-cache"] if program == "podman" and steps_have_changed(program) else []
    for target in TARGETS:
        said(f"building {target} with {program}")
        run([program, "build", *further, *arguments(target, base), ROOT], said)


class Buildah:
    """buildah with a storage of its own."""

    def __init__(self, said: Progress) -> None:
        self.said = said
        STATE.mkdir(parents=True, exist_ok=True)
        (STATE / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}\n')
        (STATE / "tmp").mkdir(exist_ok=True)
        self.driver = os.environ.get("STORAGE_DRIVER") or ("overlay" if overlay_works() else "vfs")
        # where a layer is a copy of all files, keeping those in between costs more than it saves
        self.layers = self.driver != "vfs"
        self._mounted: dict[str, Path] = {}
        self._images: dict[str, dict[str, Any]] = {}

    def command(self, *words: str | Path) -> list[str | Path]:
        """Return a command line of buildah."""
        place = STATE / self.driver
        return [
            "buildah",
            "--storage-driver",
            self.driver,
            "--root",
            place,
            "--runroot",
            f"{place}-run",
            *words,
        ]

    def call(self, *words: str | Path, said: Progress | None = None) -> str:
        """Run buildah."""
        environment = {
            key: text for key, text in os.environ.items() if not key.startswith(("STORAGE_", "BUILDAH_"))
        }
        return run(self.command(*words), said, env={**environment, "TMPDIR": str(STATE / "tmp")})

    def build_base(self) -> None:
        """Make the base image."""
        archive = base_archive(self.said)
        assert archive is not None
        if self._exists(LOCAL_BASE):
            return
        file = STATE / "Base"
        file.write_text(f'FROM scratch\nADD {archive.name} /\nCMD ["bash"]\n')
        (STATE / ".dockerignore").write_text(f"*\n!{archive.name}\n")
        self._bud("--tag", LOCAL_BASE, "--file", file, STATE)

    def _exists(self, image: str) -> bool:
        done = subprocess.run(
            [str(word) for word in self.command("inspect", "--type", "image", image)],
            capture_output=True,
            check=False,
        )
        return done.returncode == 0

    def _bud(self, *words: str | Path) -> None:
        options = [
            "--signature-policy",
            str(STATE / "policy.json"),
            "--isolation",
            "chroot",
            "--format",
            "docker",
        ]
        options += ["--timestamp", TIMESTAMP, f"--layers={str(self.layers).lower()}"]
        self.call("bud", *options, *words, said=self.said)

    def build(self, target: str, *further: str, context: Path = ROOT) -> None:
        """Build an image."""
        self._bud(*arguments(target, LOCAL_BASE), *further, context)

    def build_all(self) -> None:
        """Build the base and all images."""
        if steps_have_changed("buildah"):
            self.call("rmi", "--all", "--force")
        self.build_base()
        for target in TARGETS:
            self.said(f"building {target} with buildah, storage {self.driver}")
            self.build(target)

    def derive(self, image: str, name: str, steps: str, context: Path) -> None:
        """Make an image from another."""
        file = STATE / "Derived"
        file.write_text(f"FROM {image}\n{steps}")
        self._bud("--tag", name, "--file", file, context)

    def mounted(self, image: str, use: str = "looking") -> Path:
        """Return where an image's files are.

        :param use: each has them apart; the one for running gets the places that things are mounted on
        """
        key = f"{image} {use}"
        if key not in self._mounted:
            policy = ["--signature-policy", str(STATE / "policy.json"), "--pull-never"]
            name = self.call("from", *policy, image).split()[-1]
            self._containers.append(name)
            self._mounted[key] = Path(self.call("mount", name).split()[-1])
        return self._mounted[key]

    @functools.cached_property
    def _containers(self) -> list[str]:
        return []

    def image(self, image: str) -> dict[str, Any]:
        """Return an image's configuration and its history."""
        if image not in self._images:
            found = json.loads(self.call("inspect", "--type", "image", image))["Docker"]
            history = "\n".join(entry.get("created_by", "") for entry in found["history"])
            self._images[image] = {**found["config"], "history": history}
        return self._images[image]

    def close(self) -> None:
        """Remove the containers that images were mounted as."""
        for name in self._containers:
            subprocess.run(
                [str(word) for word in self.command("umount", name)], capture_output=True, check=False
            )
            subprocess.run([str(word) for word in self.command("rm", name)], capture_output=True, check=False)


def overlay_works() -> bool:
    """Tell whether directories can be laid over each other here."""
    place = STATE / "probe"
    for name in ("lower", "upper", "work", "merged"):
        (place / name).mkdir(parents=True, exist_ok=True)
    options = f"lowerdir={place}/lower,upperdir={place}/upper,workdir={place}/work"
    words = ["unshare", "--mount", "mount", "-t", "overlay", "-o", options, "overlay", str(place / "merged")]
    works = subprocess.run(words, capture_output=True, check=False).returncode == 0
    shutil.rmtree(place, ignore_errors=True)
    return works
