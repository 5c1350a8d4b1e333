"""The machine's package sources, in both forms of apt's configuration."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pgpredict.server.apt import Source, bullseye_sources, parse_deb822, parse_lines, read_sources
from pgpredict.server.private import write_apt_configuration

DEB822 = """\
# a comment
Types: deb deb-src
# another inside of the stanza
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBF
 -----END PGP PUBLIC KEY BLOCK-----

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main

Types: deb-src
URIs: http://source.example/debian
Suites: bookworm
Components: main
"""

LINES = """\
# deb http://commented.example/debian bookworm main
deb [arch=amd64 signed-by=/etc/apt/keyrings/a.gpg] http://mirror.example/debian bookworm main contrib # tail
deb-src http://mirror.example/debian bookworm main
deb http://mirror.example/debian-security/ bookworm-security main
deb cdrom:[Debian GNU/Linux 12 _Bookworm_]/ bookworm main
deb https://apt.example.org/pgdg bookworm-pgdg main
deb https://node.example.org/node_20.x nodistro main
"""


def test_deb822_is_read() -> None:
    sources = list(parse_deb822(DEB822))
    assert [(source.uri, source.suite) for source in sources] == [
        ("http://mirror.example/debian", "bookworm"),
        ("http://mirror.example/debian", "bookworm-updates"),
        ("http://mirror.example/debian-security", "bookworm-security"),
    ]
    assert sources[0].signed_by == "/usr/share/keyrings/debian-archive-keyring.gpg"
    assert sources[0].components == ("main", "contrib")


def test_embedded_key_survives() -> None:
    source = list(parse_deb822(DEB822))[2]
    assert "BEGIN PGP" in source.signed_by
    assert next(parse_deb822(source.to_deb822())) == source


def test_lines_are_read() -> None:
    sources = list(parse_lines(LINES))
    assert sources[0] == Source(
        "http://mirror.example/debian", "bookworm", ("main", "contrib"), "/etc/apt/keyrings/a.gpg"
    )
    assert not any("commented" in source.uri for source in sources)


@pytest.mark.parametrize("form", ["deb822", "lines"])
def test_only_suites_are_exchanged(form: str) -> None:
    parsed = list(parse_deb822(DEB822) if form == "deb822" else parse_lines(LINES))
    found = bullseye_sources(parsed)
    assert [(source.uri.rstrip("/"), source.suite, source.components) for source in found] == [
        ("http://mirror.example/debian", "bullseye", ("main",)),
        ("http://mirror.example/debian-security", "bullseye-security", ("main",)),
    ]
    assert found[0].signed_by == parsed[0].signed_by


def test_machine_without_debian_has_none() -> None:
    assert bullseye_sources([Source("http://ubuntu.example/ubuntu", "jammy", ("main",))]) == []


def test_all_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text("deb http://one.example/debian bookworm main\n")
    (tmp_path / "sources.list.d/two.list").write_text("deb http://two.example/debian bookworm main\n")
    (tmp_path / "sources.list.d/three.sources").write_text(DEB822)
    (tmp_path / "sources.list.d/four.list.disabled").write_text(
        "deb http://four.example/debian bookworm main\n"
    )
    uris = {source.uri for source in read_sources(tmp_path)}
    assert {"http://one.example/debian", "http://two.example/debian", "http://mirror.example/debian"} <= uris
    assert "http://four.example/debian" not in uris


@pytest.mark.skipif(shutil.which("apt-config") is None, reason="not a Debian machine")
def test_apt_accepts_our_configuration(tmp_path: Path) -> None:
    (tmp_path / "apt").mkdir()
    config = write_apt_configuration(tmp_path)
    dump = apt_config("dump", APT_CONFIG=str(config))
    assert f'Dir::State::lists "{tmp_path}/apt/lists";' in dump
    assert "Post-Invoke" not in dump
    # proxies and the like stay the machine's
    assert all(line in dump for line in apt_config("dump", "Acquire::http").splitlines())


def apt_config(*arguments: str, **environment: str) -> str:
    command = ["apt-config", *arguments]
    env = {**os.environ, **environment}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
