"""docs/operate.md, executed from its first command to its last on hosts that are booted for it.

``sh`` blocks run as root in the shell of the host ``db1``, or of the one that they name; ``sql`` blocks as
the superuser in the database ``shop``. Nothing stands in for anything: systemd, PostgreSQL, the packages and
the network between the hosts are real; what a section says that goes wrong is made to go wrong first. Only
the kernel's choice of a process to kill is made here, by its own signal: hosts have no memory controller.

It takes root and a PostgreSQL of the machine's own with Multicorn; see tests/fix_host.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from pgpredict import __version__
from tests.environment import READ, WRITTEN
from tests.fix_host import Host, connect_hosts, running_host
from tests.pages import ROOT

PAGE = ROOT / "docs/operate.md"
CHECKOUT = ("README.md", "pyproject.toml", "fdw", "onnx_models", "pgpredict", "rewriter", "sql")
ADDRESSES = {"db1": "10.10.0.1", "db2": "10.10.0.2"}
RUNTIME, PROXY = "pgpredict-runtime", "pgpredict-proxy"
#: what an application asks
PREDICT = (
    "PGPASSWORD='another one' psql -h 127.0.0.1 -p 6432 -d shop -U shop_app -Atc "
    '"SELECT PREDICT(returned), count(*) FROM orders GROUP BY 1 ORDER BY 1"'
)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    :ivar heading: that it stands under
    :ivar words: of its info string
    """

    heading: str
    words: list[str]
    line: int
    text: str


def blocks() -> Iterator[Block]:
    """Yield the page's blocks in their order."""
    heading, tokens = "", MarkdownIt().parse(PAGE.read_text(encoding="utf-8"))
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        if token.type == "heading_open" and following is not None:
            heading = following.content
        elif token.type == "fence":
            yield Block(heading, token.info.split(), (token.map or [0])[0] + 1, token.content)


@dataclass
class Site:
    """The hosts, and who ends them."""

    stack: contextlib.ExitStack
    hosts: dict[str, Host] = field(default_factory=dict)
    endings: dict[str, contextlib.ExitStack] = field(default_factory=dict)

    def boot(self, name: str) -> Host:
        """Boot a host with a new cluster, as the packages leave it."""
        ending = self.stack.enter_context(contextlib.ExitStack())
        host = self.hosts[name] = ending.enter_context(running_host(name))
        self.endings[name] = ending
        # a disk that can be filled
        host.run("mount -t tmpfs -o mode=755,size=1500m tmpfs /var/lib/postgresql")
        host.run("chown postgres:postgres /var/lib/postgresql; pg_createcluster 15 main --start")
        for known, address in ADDRESSES.items():
            host.run(f"echo '{address} {known}' >>/etc/hosts")
        return host

    def run(self, block: Block) -> None:
        """Run a block; it must not fail."""
        host = self.hosts[block.words[1] if len(block.words) > 1 else "db1"]
        if block.words[0] == "sql":
            script = (
                f"runuser -u postgres -- psql -X -q -v ON_ERROR_STOP=1 -d shop <<'SQL'\n{block.text}\nSQL"
            )
        else:
            script = block.text
        fetches = "pip " in script
        given = {name: value for name, value in os.environ.items() if fetches and name in FETCHING}
        ended = host.run(script, network=fetches, check=False, environment=given, timeout=600)
        assert ended.returncode == 0, f"{PAGE.name}:{block.line}\n{block.text}\n{ended.stdout}"


#: how this machine fetches packages, if not in the usual way
FETCHING = {
    name for name in os.environ if name.startswith(("PIP_", "SSL_CERT")) or name.lower().endswith("_proxy")
}


@pytest.fixture
def site(database_host: None) -> Iterator[Site]:
    with contextlib.ExitStack() as stack:
        site = Site(stack)
        copy_checkout(site.boot("db1").path("/root/pgpredict"))
        yield site


def copy_checkout(target: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    target.mkdir()
    for name in CHECKOUT:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=ignored, symlinks=True)
        else:
            shutil.copy(source, target)


@pytest.mark.timeout(1800)
def test_every_command_of_the_page(site: Site) -> None:
    known = list(blocks())
    assert {block.words[0] for block in known} == {"sh", "sql"}
    headings = {block.heading for block in known}
    assert headings >= {*BEFORE, *AFTER}
    for heading in dict.fromkeys(block.heading for block in known):
        for provoke in BEFORE.get(heading, [lambda site: None]):
            provoke(site)
            for block in known:
                if block.heading == heading:
                    for word, before in BEFORE_BLOCK.items():
                        if word in block.text:
                            before(site)
                    site.run(block)
            AFTER.get(heading, works)(site)


def works(site: Site) -> None:
    """The application gets its predictions, and doctor finds nothing wrong."""
    host = site.hosts["db1"]
    counts = dict(line.split("|") for line in host.output(PREDICT).splitlines())
    assert sum(map(int, counts.values())) == 5000
    assert {"yes", "no"} == counts.keys()
    host.run("pgpredict doctor")


def nothing(site: Site) -> None:
    """There is nothing to look at yet."""


def installed(site: Site) -> None:
    assert site.hosts["db1"].output("pgpredict --version").startswith("pgpredict, version")
    # what was built is what was checked out
    listed = site.hosts["db1"].output("/opt/pgpredict-a/bin/pip show -f pgpredict")
    for part in ("pgpredict--0.1.0--0.2.0.sql", "pgpredict/service/files/proxy.toml", "fdw/wrapper.py"):
        assert part in listed, listed


def started(site: Site) -> None:
    host = site.hosts["db1"]
    checks = json.loads(host.output("pgpredict doctor --json"))
    # the disk is a small one, to be filled later
    assert [check for check in checks if check["state"] != "ok" and check["name"] != "disk"] == []
    assert "services under systemd: runtime, proxy" in checks[0]["message"]
    assert (
        host.output("stat -c '%a %U' /run/pgpredict /run/pgpredict/runtime.sock")
        == "700 postgres\n600 postgres"
    )
    passwords(host)
    # as an ordinary user: what it may see, and nothing that breaks
    told = host.run("pgpredict doctor", account="nobody").stdout
    assert "only root and 'postgres' may ask the runtime" in told
    assert (
        "services takes root" in host.run("pgpredict service install", account="nobody", check=False).stdout
    )


def passwords(host: Host) -> None:
    """The server asks its own account for a password, too, which is in ~/.pgpass as the page says."""
    rules, home = "/etc/postgresql/15/main/pg_hba.conf", "/var/lib/postgresql"
    for role in ("postgres", "pgpredict_runtime"):
        host.run(f"psql -c \"ALTER ROLE {role} PASSWORD 'pass word'\"", account="postgres")
    host.run(f"cp -p {rules} {rules}.kept; sed -i '1i local all all scram-sha-256' {rules}")
    host.run("systemctl reload postgresql; systemctl restart pgpredict-runtime")
    doctor_says(host, "no password supplied")
    host.run(f"umask 077; echo '*:*:*:*:pass word' >{home}/.pgpass; chown postgres: {home}/.pgpass")
    host.run("systemctl restart pgpredict-runtime; pgpredict doctor")
    host.run("pgpredict install 'host=/run/postgresql dbname=shop'")
    host.run(f"mv {rules}.kept {rules}; rm {home}/.pgpass; systemctl reload postgresql")
    for role in ("postgres", "pgpredict_runtime"):
        host.run(f"psql -c 'ALTER ROLE {role} PASSWORD NULL'", account="postgres")
    host.run("systemctl restart pgpredict-runtime; pgpredict doctor")


def services(site: Site) -> None:
    """What the tables say of the services."""
    host = site.hosts["db1"]
    confined(host)
    for unit in (RUNTIME, PROXY):
        first = host.output(f"systemctl show -P MainPID {unit}")
        host.run(f"kill -9 {first}")
        host.eventually(
            f"pid=$(systemctl show -P MainPID {unit}); [ $pid != {first} ] && systemctl is-active {unit}"
        )
    watched(host)
    host.path("/root/awkward.env").write_bytes(WRITTEN.encode())
    read = host.output("systemd-run -q --wait --pipe -p EnvironmentFile=/root/awkward.env env -0")
    variables = dict(entry.split("=", 1) for entry in read.split("\0") if entry.startswith("X_"))
    assert variables == READ
    # again: nothing to do
    assert "wrote" not in host.output("pgpredict service install")
    unit = f"/usr/local/lib/systemd/system/{PROXY}.service"
    kept = host.output(f"cat {unit}")
    host.run(f"echo '# mine' >>{unit}")
    refused = host.run("pgpredict service install", check=False)
    assert refused.returncode == 1
    assert "was edited, and is left as it is" in refused.stdout
    assert "was edited" in host.run("pgpredict doctor").stdout
    assert host.run("pgpredict service uninstall", check=False).returncode == 1
    host.run(f"sed -i '/^# mine/d' {unit}")
    assert host.output(f"cat {unit}") == kept
    accounts(host)
    # what systemd has given up is started again, and when it is gone there is nothing left of it
    kill_until_it_stays_dead(host, PROXY)
    host.run("pgpredict service install")
    assert host.output(f"systemctl is-active {PROXY}") == "active"
    kill_until_it_stays_dead(host, PROXY)
    assert PROXY in host.output("systemctl list-units --all --plain")
    host.run("pgpredict service uninstall")
    assert PROXY not in host.output("systemctl list-units --all --plain")
    assert (
        host.run("systemctl is-active pgpredict-runtime pgpredict-proxy", check=False).stdout.count(
            "inactive"
        )
        == 2
    )
    assert host.output("ls /etc/pgpredict") == "proxy.toml\nruntime.env"
    assert "there is no local server" in host.run("pgpredict doctor", check=False).stdout
    assert "nothing was installed" in host.output("pgpredict service uninstall")
    host.run("pgpredict service install --no-start")
    assert host.run("pgpredict service status", check=False).returncode == 1
    assert "is inactive" in host.run("pgpredict doctor", check=False).stdout
    host.run("pgpredict service install")
    assert json.loads(host.output("pgpredict service status --json"))["proxy"]["User"] == "pgpredict"


def confined(host: Host) -> None:
    """Both processes are where the units want them."""
    for unit in (RUNTIME, PROXY):
        pid = host.output(f"systemctl show -P MainPID {unit}")
        status = host.output(f"cat /proc/{pid}/status")
        for line in ("CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"):
            assert line in status, f"{unit}: {status}"
        assert " / overlay ro," in host.output(f"cat /proc/{pid}/mounts")
        assert host.output(f"cd /proc/{pid}/root; ls -A home root tmp").split() == ["home:", "root:", "tmp:"]
    pid = host.output(f"systemctl show -P MainPID {RUNTIME}")
    assert host.output(f"nsenter -t {pid} -n ip -o link").count("\n") == 0


def accounts(host: Host) -> None:
    """A drop-in may name another account than our file, by its number, too; doctor looks at what holds."""
    directory = f"/etc/systemd/system/{RUNTIME}.service.d"
    number = host.output("id -u postgres")
    host.run(f"pgpredict service install --account www-data; mkdir -p {directory}")
    for user in ("postgres", number):
        host.run(f"printf '[Service]\\nUser={user}\\n' >{directory}/account.conf")
        host.run(f"systemctl daemon-reload; systemctl restart {RUNTIME}")
        assert "another version" not in host.output("pgpredict doctor")
    host.run(f"printf '[Service]\\nUser=4321\\n' >{directory}/account.conf; systemctl daemon-reload")
    doctor_says(host, "there is no account '4321'", "systemctl edit pgpredict-runtime.service", "disk")
    host.run(f"rm -r {directory}; pgpredict service install --account postgres")
    host.run(f"systemctl restart {RUNTIME}; pgpredict doctor")


def watched(host: Host) -> None:
    """A process that hangs is replaced by systemd."""
    for unit in (RUNTIME, PROXY):
        directory = f"/etc/systemd/system/{unit}.service.d"
        host.run(f"mkdir -p {directory}; printf '[Service]\\nWatchdogSec=10\\n' >{directory}/watchdog.conf")
        host.run(f"systemctl daemon-reload; systemctl restart {unit}")
        pid = host.output(f"systemctl show -P MainPID {unit}")
        time.sleep(13)
        # it lives on as long as it tells so
        assert host.output(f"systemctl show -P MainPID {unit}") == pid
        host.run(f"kill -STOP {pid}")
        host.eventually(
            f"new=$(systemctl show -P MainPID {unit}); [ $new != {pid} ] && systemctl is-active {unit}"
        )
        host.run(f"rm -r {directory}; systemctl daemon-reload; systemctl restart {unit}")


def monitored(site: Site) -> None:
    host = site.hosts["db1"]
    file = "/var/lib/prometheus/node-exporter/pgpredict.prom"
    host.eventually(f"grep -q '^pgpredict_runtime_rows_total.*target=\"returned\"' {file}")
    promtool = found_promtool()
    if promtool is not None:
        with host.path(file).open() as text:
            subprocess.run([promtool, "check", "metrics"], stdin=text, check=True)
    works(site)


def found_promtool() -> str | None:
    unpacked = ROOT / ".venv/clients/debian/usr/bin"
    return shutil.which("promtool", path=f"{os.environ['PATH']}:{unpacked}")


def backed_up(site: Site) -> None:
    """Nobody else reads what the roles' passwords are checked by, nor the data."""
    host = site.hosts["db1"]
    host.run("grep -q SCRAM-SHA-256 /var/backups/pgpredict/globals.sql")
    for file in ("globals.sql", "shop.dump", "base/PG_VERSION"):
        refused = host.run(f"cat /var/backups/pgpredict/{file}", account="nobody", check=False)
        assert "Permission denied" in refused.stdout
    works(site)


def older(site: Site) -> None:
    """An upgrade finds an older extension in one database, and an older wrapper; the checkout is newer."""
    host = site.hosts["db1"]
    versions = "pyproject.toml pgpredict/__init__.py pgpredict/sql/pgpredict.control"
    change = "s/^(version|__version__|default_version) = .*/\\1 = '99.1'/"
    host.run(f'cd /root/pgpredict; sed -i -E "{change}" {versions}')
    update = host.path(f"/root/pgpredict/pgpredict/sql/pgpredict--{__version__}--99.1.sql")
    update.write_text("CREATE FUNCTION ml.newer() RETURNS integer LANGUAGE sql AS 'SELECT 99';\n")
    # the build of the older version left what the newer one has no more
    host.run("touch /root/pgpredict/build/lib/pgpredict/gone.py")
    extension = host.output("pg_config --sharedir") + "/extension"
    shutil.copy(ROOT / "tests/data/pgpredict--0.1.0.sql", host.path(extension))
    host.run("createdb archive", account="postgres")
    host.run("psql -q -d archive -c 'CREATE EXTENSION multicorn'", account="postgres")
    host.run("psql -q -d archive -c \"CREATE EXTENSION pgpredict VERSION '0.1.0'\"", account="postgres")
    host.run("echo '# older' | tee -a /usr/local/lib/python3*/dist-packages/fdw/wrapper.py")
    found = host.run("pgpredict doctor", check=False)
    assert found.returncode == 1
    assert "extension 0.1.0, but" in found.stdout


def upgraded(site: Site) -> None:
    """The new version runs, in each database that has the extension."""
    host = site.hosts["db1"]
    works(site)
    assert host.output("pgpredict --version").endswith("99.1")
    assert "/opt/pgpredict-b/" in host.output(f"systemctl show -P ExecStart {RUNTIME} {PROXY}")
    for name in ("archive", "shop", "shop_restored"):
        assert host.output(f"psql -d {name} -Atc 'SELECT ml.newer()'", account="postgres") == "99"
    # written after the backup
    host.run("psql -qd shop -c 'CREATE TABLE later ()'", account="postgres")


def gone_back(site: Site) -> None:
    host = site.hosts["db1"]
    assert "older" not in host.output("cat /usr/local/lib/python3*/dist-packages/fdw/wrapper.py")
    version = "SELECT extversion FROM pg_extension WHERE extname = 'pgpredict'"
    found = {
        host.output(f'psql -d {name} -Atc "{version}"', account="postgres") for name in ("shop", "archive")
    }
    assert len(found) == 1
    assert found == {__version__}
    assert host.output("psql -d shop -Atc \"SELECT to_regclass('later')\"", account="postgres") == ""
    assert host.output("ls /opt/pgpredict-b/lib/python3*/site-packages/pgpredict/doctor.py")
    assert (
        "No such file"
        in host.run("ls /opt/pgpredict-b/lib/python3*/site-packages/pgpredict/gone.py", check=False).stdout
    )
    listed = host.output("cat /var/backups/pgpredict/databases").split()
    assert sorted(listed) == ["archive", "shop", "shop_restored"]
    assert "/opt/pgpredict-a/" in host.output(f"systemctl show -P ExecStart {RUNTIME}")
    works(site)


def fails(host: Host, *parts: str) -> None:
    """The application's prediction fails with a message."""
    ended = host.run(PREDICT, check=False)
    assert ended.returncode != 0, ended.stdout
    for part in parts:
        assert part in ended.stdout, ended.stdout


def doctor_says(host: Host, *parts: str) -> None:
    """Doctor finds it, too."""
    ended = host.run("pgpredict doctor", check=False)
    assert ended.returncode == 1, ended.stdout
    for part in parts:
        assert part in ended.stdout, ended.stdout


def kill_until_it_stays_dead(host: Host, unit: str) -> None:
    deadline = time.monotonic() + 240
    while (state := host.output(f"systemctl show -P ActiveState {unit}")) != "failed":
        assert time.monotonic() < deadline, state
        host.run(f"pid=$(systemctl show -P MainPID {unit}); [ $pid = 0 ] || kill -9 $pid", check=False)
        time.sleep(0.1)


def runtime_dead(site: Site) -> None:
    host = site.hosts["db1"]
    kill_until_it_stays_dead(host, RUNTIME)
    fails(host, "does not answer")
    host.run(PREDICT.replace("SELECT PREDICT(returned), count(*)", "SELECT weekday, count(*)"))
    doctor_says(host, "pgpredict-runtime.service is failed", "systemctl reset-failed pgpredict-runtime")


def proxy_dead(site: Site) -> None:
    host = site.hosts["db1"]
    kill_until_it_stays_dead(host, PROXY)
    fails(host, "refused")
    direct = (
        "PGPASSWORD='another one' psql -h 127.0.0.1 -d shop -U shop_app -Atc 'SELECT count(*) FROM orders'"
    )
    assert host.output(direct) == "5000"
    doctor_says(host, "pgpredict-proxy.service is failed", "the proxy does not answer at")


def settings_wrong(site: Site) -> None:
    host = site.hosts["db1"]
    host.run("echo 'conections = 500' >>/etc/pgpredict/proxy.toml; systemctl reload pgpredict-proxy")
    host.eventually(f"journalctl -u {PROXY} -o cat | grep -q event=reload_failed")
    host.run(PREDICT)
    doctor_says(host, "a setting 'conections' that there is not")
    assert host.run("systemctl restart pgpredict-proxy", check=False).returncode != 0
    fails(host, "refused")


def disk_full(site: Site) -> None:
    host = site.hosts["db1"]
    host.run("fallocate -l 200M /var/lib/postgresql/ballast")
    host.run("cat /dev/zero >/var/lib/postgresql/growing", check=False)
    assert host.output("df --output=avail /var/lib/postgresql").split()[-1] == "0"
    train = (
        "PGPASSWORD='a long one' pgpredict train returned --target returned --table orders --exclude id "
        "--algorithm random_forest --param n_estimators=101 --dsn 'host=127.0.0.1 dbname=shop user=trainer'"
    )
    ended = host.run(train, check=False)
    assert ended.returncode == 1, ended.stdout
    assert "No space left on device" in ended.stdout
    assert "Traceback" not in ended.stdout
    host.run(PREDICT)
    doctor_says(host, "GB free at", "make room")


def disk_mended(site: Site) -> None:
    host = site.hosts["db1"]
    host.run("rm /var/lib/postgresql/growing")
    works(site)
    versions = "SELECT count(*) FROM ml.model_version WHERE model = 'returned'"
    assert host.output(f'psql -d shop -Atc "{versions}"', account="postgres") == "1"


def worker_killed(site: Site) -> None:
    host = site.hosts["db1"]
    worker = (
        'runuser -u postgres -- pgpredict runtime --status --json | grep -o \'"pid": [0-9]*\' | cut -d" " -f2'
    )
    pid = host.output(worker)
    assert host.output(f"cat /proc/{pid}/oom_score_adj") == "300"
    host.run(f"kill -9 {pid}")
    host.eventually(PREDICT)
    assert host.output(worker) != pid
    host.eventually(f"journalctl -u {RUNTIME} -o cat | grep -q 'event=worker_ended status=-9'")


def with_less_memory(site: Site) -> None:
    assert site.hosts["db1"].output(f"systemctl show -P MemoryMax {RUNTIME}") == str(2 << 30)
    works(site)


def another_runtime(site: Site) -> None:
    host = site.hosts["db1"]
    host.run(f"systemctl stop {RUNTIME}; install -d -m 0700 -o postgres /run/pgpredict")
    by_hand = "--dsn 'host=/run/postgresql user=pgpredict_runtime'"
    host.run(f"systemd-run -q --unit by-hand --uid postgres pgpredict runtime {by_hand}")
    host.eventually("runuser -u postgres -- pgpredict runtime --status")
    assert host.run(f"systemctl start {RUNTIME}", check=False).returncode != 0
    host.eventually(f"journalctl -u {RUNTIME} -o cat | grep -q 'another runtime holds'")


def stale_socket(site: Site) -> None:
    """What a killed one leaves is replaced, without a word."""
    host = site.hosts["db1"]
    pid = host.output(f"systemctl show -P MainPID {RUNTIME}")
    host.run(f"kill -9 {pid}")
    host.eventually(f"[ $(systemctl show -P MainPID {RUNTIME}) != {pid} ] && systemctl is-active {RUNTIME}")
    works(site)


def wrong_account(site: Site) -> None:
    host = site.hosts["db1"]
    host.run(f"pgpredict service install --account www-data; systemctl restart {RUNTIME}")
    fails(host, "does not answer")
    doctor_says(
        host, "it runs as 'www-data', and the server as 'postgres'", "service install --account postgres"
    )


def artifact_damaged(site: Site) -> None:
    host = site.hosts["db1"]
    where = "SELECT pg_relation_filepath(reltoastrelid) FROM pg_class WHERE oid = 'ml.artifact'::regclass"
    file = host.output(f'psql -d shop -Atc "{where}"', account="postgres")
    host.run("systemctl stop postgresql@15-main")
    # a bit that the disk has lost
    path = host.path(f"/var/lib/postgresql/15/main/{file}")
    content = bytearray(path.read_bytes())
    content[content.index(b"TreeEnsemble") + 1000] ^= 1
    path.write_bytes(content)
    host.run(f"systemctl start postgresql@15-main; systemctl restart {RUNTIME}")
    fails(host, "is damaged")
    doctor_says(host, "its artifact does not fit its hash")


def artifact_lost(site: Site) -> None:
    host = site.hosts["db1"]
    host.run('psql -qd shop -c "DELETE FROM ml.artifact"', account="postgres")
    host.run(f"systemctl restart {RUNTIME}")
    fails(host, "is not in the database")
    doctor_says(host, "its artifact is missing")


def second_host(site: Site) -> None:
    host = site.boot("db2")
    connect_hosts([(site.hosts[name], f"{address}/24") for name, address in ADDRESSES.items()])
    for wheel in site.hosts["db1"].path("/opt/pgpredict-a/wheel").glob("*.whl"):
        shutil.copy(wheel, host.path("/root"))
    # of a third one that was lost
    slot = "SELECT pg_create_physical_replication_slot('db3', true)"
    site.hosts["db1"].run(f'psql -c "{slot}"', account="postgres")


def lose_primary(site: Site) -> None:
    """What is deployed on the primary predicts on the standby; then the primary's host is gone."""
    first, second = site.hosts["db1"], site.hosts["db2"]
    works(site)
    replicated(first, second)
    assert sum(int(line.split("|")[1]) for line in second.output(PREDICT).splitlines()) == 5000
    assert second.output("psql -Atc 'SELECT pg_is_in_recovery()'", account="postgres") == "t"
    train = (
        "PGPASSWORD='a long one' pgpredict train second --target returned --table orders --exclude id "
        "--algorithm random_forest --dsn 'host=127.0.0.1 dbname=shop user=trainer'"
    )
    first.run(train)
    use = "psql -d shop -Atc \"SELECT count(*) FROM models.second WHERE features = '{}'\""
    with contextlib.suppress(AssertionError):
        second.run(use, account="postgres")
    named = "SELECT count(prediction) FROM models.second WHERE weekday = 1 AND amount = 3 AND country = 'de'"
    second.eventually(f'[ "$(runuser -u postgres -- psql -d shop -Atc "{named}")" = 1 ]')
    refused = second.run(train, check=False)
    assert refused.returncode == 1
    assert "read-only" in refused.stdout
    assert second.output("pgpredict doctor --dsn 'host=/run/postgresql dbname=shop'").count("a standby") == 1
    site.endings["db1"].close()
    # the cable went with its other end; the address is the host's own
    second.run(f"ip address add {ADDRESSES['db2']}/32 dev lo")


def replicated(first: Host, second: Host) -> None:
    """The standby streams by its slot, and the password is in its file alone."""
    streams = "SELECT slot_name, active, wal_status FROM pg_replication_slots"
    first.eventually(f'[ "$(runuser -u postgres -- psql -Atc "{streams}")" = "db2|t|reserved" ]')
    assert first.output("psql -Atc 'SHOW max_slot_wal_keep_size'", account="postgres") == "10GB"
    assert second.output("stat -c '%a %U' /var/lib/postgresql/.pgpass") == "600 postgres"
    assert "third" not in second.output("cat /var/lib/postgresql/15/main/postgresql.auto.conf")
    assert not [block for block in blocks() if "pg_basebackup" in block.text and "password=" in block.text]


def failed_over(site: Site) -> None:
    second = site.hosts["db2"]
    second.eventually(f"journalctl -u {RUNTIME} -o cat | grep -q 'event=listen database'")
    train = (
        "PGPASSWORD='a long one' pgpredict train returned --target returned --table orders --exclude id "
        "--algorithm random_forest --param n_estimators=20 --dsn 'host=127.0.0.1 dbname=shop user=trainer'"
    )
    second.run(train)
    second.run("pgpredict doctor")


#: by heading: what goes wrong before its commands, once for each
BEFORE: dict[str, list[Callable[[Site], None]]] = {
    "Upgrade": [older],
    "The runtime is dead": [runtime_dead],
    "The proxy is dead": [proxy_dead],
    "The settings of the proxy are wrong": [settings_wrong],
    "The disk is full": [disk_full],
    "Out of memory": [worker_killed],
    "Another runtime has the socket": [another_runtime],
    "The runtime has the wrong account": [wrong_account],
    "An artifact is lost or damaged": [artifact_damaged, artifact_lost],
    "Standby servers": [second_host],
}
#: by what stands in a block of commands: what holds, or goes wrong, before it
BEFORE_BLOCK: dict[str, Callable[[Site], None]] = {"dropdb --force": upgraded, "promote": lose_primary}
#: by heading: what holds afterwards; of others, that it works
AFTER: dict[str, Callable[[Site], None]] = {
    "Install": installed,
    "First start": started,
    "The services": services,
    "Monitoring": monitored,
    "Backup and restore": backed_up,
    "Upgrade": gone_back,
    "The disk is full": disk_mended,
    "Out of memory": with_less_memory,
    "Another runtime has the socket": stale_socket,
    "Standby servers": failed_over,
}
