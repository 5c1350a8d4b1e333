"""The steps of docker/steps that can be run without building an image."""

from __future__ import annotations

from pathlib import Path

import pytest

from docker.steps import server as step
from pgpredict.server import private
from pgpredict.server.private import why_not_fetchable, write_apt_configuration


@pytest.fixture
def downloads(tmp_path: Path) -> Path:
    """A build's cache with Debian 11's lists, read from the machine's mirror."""
    if reason := why_not_fetchable():
        pytest.skip(reason)
    for name in ("apt/lists/partial", "apt/parts", "cache/archives/partial"):
        (tmp_path / name).mkdir(parents=True)
    environment = {
        "APT_CONFIG": str(write_apt_configuration(tmp_path)),
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    }
    private.apt_get(["update"], environment, private.SILENT, "reading lists")
    return tmp_path


def test_only_what_apt_names_is_unpacked(downloads: Path) -> None:
    """Of an older version they sort behind, as 13.9 behind 13.23, and would replace the newer one's."""
    archives = downloads / "cache/archives"
    with pytest.raises(SystemExit, match="missing are"):
        step.named_now([], downloads)
    named = step.names_now(downloads)
    assert any(name.startswith("postgresql-13-python3-multicorn_") for name in named)
    assert not any(name.startswith("postgresql-13_13.9-") for name in named)
    old = "postgresql-13_13.9-0+deb11u1_amd64.deb"
    for name in (*named, old):
        (archives / name).touch()
    paths = sorted(archives.glob("*.deb"))
    assert {path.name for path in step.named_now(paths, downloads)} == named
    # and what is there is named again: no build before makes a difference
    assert step.names_now(downloads) == named
    assert not (archives / old).exists()
