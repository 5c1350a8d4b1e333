"""Unit files: values in them, and the programs that read them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pgpredict.errors import InvalidInput, ServerError
from pgpredict.proxy import make_settings
from pgpredict.service import SERVICES, Settings, render
from pgpredict.service.host import Host, environment, files, memory, write
from pgpredict.service.units import HEADROOM, is_untouched, quoted
from tests.environment import READ, WRITTEN
from tests.fix_unit import parse

SETTINGS = Settings(Path("/usr/bin/python3"), "postgres", 2 << 30)


def analyze(*words: str | Path) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not here: Debian's package systemd has it")
    return subprocess.run(
        ["systemd-analyze", *map(str, words)], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("unit", SERVICES.values())
def test_systemd_understands_every_line(unit: str, tmp_path: Path) -> None:
    (tmp_path / unit).write_text(render(unit, SETTINGS))
    ended = analyze("verify", "--man=no", "--recursive-errors=no", tmp_path / unit)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.parametrize("unit", SERVICES.values())
def test_a_line_that_it_does_not_understand_is_noticed(unit: str, tmp_path: Path) -> None:
    (tmp_path / unit).write_text(render(unit, SETTINGS).replace("ProtectHome=yes", "ProtectHomes=yes"))
    assert "ProtectHomes" in analyze("verify", "--man=no", "--recursive-errors=no", tmp_path / unit).stderr


@pytest.mark.parametrize(("service", "exposure"), [("runtime", 1.0), ("proxy", 1.5)])
def test_services_are_exposed_to_little(service: str, exposure: float, tmp_path: Path) -> None:
    path = tmp_path / SERVICES[service]
    path.write_text(render(path.name, SETTINGS))
    ended = analyze("security", "--offline=true", f"--threshold={exposure * 10:.0f}", "--no-pager", path)
    assert ended.returncode == 0, ended.stdout
    level = re.search(r"Overall exposure level for \S+: ([\d.]+)", ended.stdout)
    assert level is not None
    assert float(level[1]) <= exposure


AWKWARD = [
    "/srv/my models/python3",
    "/srv/100%/bin/python3",
    "/srv/%h/a;b#c/python3",
    "/srv/ünï code/python3",
]


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_paths_arrive_as_they_are(name: str, tmp_path: Path) -> None:
    """systemd says that a program which is not there cannot be executed, by the path that it has read."""
    program = tmp_path / name.lstrip("/")
    program.parent.mkdir(parents=True)
    path = tmp_path / "pgpredict-proxy.service"
    path.write_text(render(path.name, Settings(program, "postgres", 1)))
    said = analyze("verify", "--man=no", "--recursive-errors=no", path).stderr
    assert f"Command {program} is not executable" in said, said
    program.symlink_to("/usr/bin/true")
    assert analyze("verify", "--man=no", "--recursive-errors=no", path).stderr == ""


REFUSED = ["/srv/$HOME/p", "bin/p", "/srv/a\nUser=root", "/srv/\x7f", '/srv/"p', "/srv/it's/p", "/srv/a\\b"]


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_written_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be written"):
        render("pgpredict-proxy.service", Settings(Path(name), "postgres", 1))


@pytest.mark.parametrize("name", ["", "a b", "a\nExecStart=/bin/sh", "-x", '"postgres"'])
def test_what_is_no_account_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be written"):
        render("pgpredict-runtime.service", Settings(Path("/usr/bin/python3"), name, 1))


def test_values_are_quoted() -> None:
    assert quoted("postgres") == "postgres"
    assert quoted("a b") == '"a b"'
    assert quoted('50%"\\') == '"50%%\\"\\\\"'


def test_memory_of_the_unit_follows_the_settings(tmp_path: Path) -> None:
    host = Host(tmp_path)
    assert (memory(host), environment(host), host.account()) == (2 << 30, {}, "")
    settings = host.configuration / "runtime.env"
    settings.parent.mkdir(parents=True)
    settings.write_text('PGPREDICT_DSN="host=/run/postgresql user=x"\n; don\'t\nPGPREDICT_MEMORY=512 MB\n')
    assert memory(host) == 512 << 20
    assert environment(host)["PGPREDICT_DSN"] == "host=/run/postgresql user=x"
    text = render(SERVICES["runtime"], Settings(Path("/usr/bin/python3"), "postgres", memory(host)))
    assert parse(text)["MemoryMax"] == [str((512 << 20) + HEADROOM)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("plenty", "'plenty', which is no size"),
        # the runtime gets it with the comment, and refuses it as well
        ("4GB # half of it", "'4GB # half of it', which is no size"),
        ("4", "'4', which is less than 16MB"),
        ("15MB", "less than 16MB"),
    ],
)
def test_memory_that_makes_no_sense_is_refused(text: str, problem: str, tmp_path: Path) -> None:
    settings = Host(tmp_path).configuration / "runtime.env"
    settings.parent.mkdir(parents=True)
    settings.write_text(f"PGPREDICT_MEMORY={text}\n")
    with pytest.raises(InvalidInput, match=problem) as caught:
        memory(Host(tmp_path))
    assert "512MB" in (caught.value.hint or "")


def test_variables_are_read_as_systemd_reads_them(tmp_path: Path) -> None:
    settings = Host(tmp_path).configuration / "runtime.env"
    settings.parent.mkdir(parents=True)
    settings.write_bytes(WRITTEN.encode())
    assert environment(Host(tmp_path)) == READ


def test_a_comment_that_versions_of_systemd_read_differently_is_refused(tmp_path: Path) -> None:
    settings = Host(tmp_path).configuration / "runtime.env"
    settings.parent.mkdir(parents=True)
    settings.write_text("A=1\n# goes on \\\nPGPREDICT_MEMORY=4GB\n")
    with pytest.raises(InvalidInput, match=r"runtime\.env': line 2 is a comment that ends in a backslash"):
        memory(Host(tmp_path))


def test_settings_that_are_shipped_are_what_the_programs_have_anyway(tmp_path: Path) -> None:
    host = Host(tmp_path)
    write(host, list(SERVICES), SETTINGS)
    settings = make_settings({}, host.configuration / "proxy.toml")
    assert (settings.listen, settings.connections) == ("127.0.0.1:6432", 1000)
    assert memory(host) == 2 << 30
    assert host.installed() == ["runtime", "proxy"]
    assert host.account() == "postgres"


def test_written_again_nothing_changes(tmp_path: Path) -> None:
    host = Host(tmp_path)
    assert set(write(host, list(SERVICES), SETTINGS).written) == set(files(host, list(SERVICES), SETTINGS))
    assert write(host, list(SERVICES), SETTINGS).written == []
    changed = write(host, list(SERVICES), Settings(Path("/opt/new/bin/python3"), "postgres", 2 << 30))
    assert sorted(path.name for path in changed.written) == sorted(SERVICES.values())


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_services_read_their_files_whatever_the_umask(umask: int, tmp_path: Path) -> None:
    host = Host(tmp_path / "root")
    before = os.umask(umask)
    try:
        changes = write(host, list(SERVICES), SETTINGS)
    finally:
        os.umask(before)
    assert changes.written
    for path in changes.written:
        assert path.stat().st_mode & 0o777 == 0o644
        for directory in path.parents[: len(path.relative_to(host.root).parts)]:
            assert directory.stat().st_mode & 0o777 == 0o755, directory


def test_directories_of_the_operators_stay_as_they_are(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.configuration.mkdir(parents=True)
    host.configuration.chmod(0o711)
    write(host, ["proxy"], SETTINGS)
    assert host.configuration.stat().st_mode & 0o777 == 0o711


def test_operators_edits_are_left_alone(tmp_path: Path) -> None:
    host = Host(tmp_path)
    write(host, list(SERVICES), SETTINGS)
    (host.configuration / "proxy.toml").write_text('listen = "127.0.0.1:7777"\n')
    drop_in = host.overrides / "pgpredict-proxy.service.d/override.conf"
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text("[Service]\nMemoryMax=2G\n")
    newer = Settings(Path("/opt/new/bin/python3"), "postgres", 2 << 30)
    write(host, list(SERVICES), newer)
    assert (host.configuration / "proxy.toml").read_text() == 'listen = "127.0.0.1:7777"\n'
    assert drop_in.read_text() == "[Service]\nMemoryMax=2G\n"
    # and one in its place keeps everything as it was
    unit = host.unit("proxy")
    edited = unit.read_text().replace("MemoryMax=1G", "MemoryMax=3G")
    unit.write_text(edited)
    assert not is_untouched(edited)
    before = host.unit("runtime").read_text()
    with pytest.raises(ServerError, match="was edited") as caught:
        write(host, list(SERVICES), SETTINGS)
    assert "systemctl edit pgpredict-proxy.service" in (caught.value.hint or "")
    assert (unit.read_text(), host.unit("runtime").read_text()) == (edited, before)


@pytest.mark.parametrize("edit", ["[Service]\nMemoryMax=4G\n", "\n", "# mine\n"])
def test_edits_above_our_head_are_left_alone(edit: str, tmp_path: Path) -> None:
    host = Host(tmp_path)
    write(host, ["proxy"], SETTINGS)
    unit = host.unit("proxy")
    text = unit.read_text()
    assert is_untouched(text)
    for edited in (edit + text, text.replace("\n\n", f"\n{edit}\n", 1), text + edit):
        unit.write_text(edited)
        with pytest.raises(ServerError, match="was edited"):
            write(host, ["proxy"], SETTINGS)
        assert unit.read_text() == edited


def test_a_unit_of_the_operators_own_comes_first(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.overrides.mkdir(parents=True)
    (host.overrides / SERVICES["proxy"]).write_text("[Service]\nExecStart=/bin/true\n")
    assert host.installed() == ["proxy"]
    changes = write(host, ["proxy"], SETTINGS)
    assert any("comes before" in note for note in changes.notes)
    assert "/bin/true" in (host.overrides / SERVICES["proxy"]).read_text()
