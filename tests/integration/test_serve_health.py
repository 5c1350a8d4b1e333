"""The health check of the image `serve`, with a proxy of this machine as process 1."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.boxes import why_not
from tests.fix_proxy import free_port
from tests.fix_runtime import eventually
from tests.fix_server import Server
from tests.pages import ROOT

SCRIPT = ROOT / "docker/serve/pgpredict-health"


@contextlib.contextmanager
def proxy_as_process_1(*options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a proxy in a namespace of processes."""
    if reason := why_not():
        pytest.skip(reason)
    words = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, "-m", "pgpredict"]
    with subprocess.Popen([*words, "proxy", "--listen", f"127.0.0.1:{free_port()}", *options]) as process:
        try:
            yield process
        finally:
            process.kill()


def ask(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Run the health check beside it, as engines do."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    if not children:
        assert process.poll() is None
        return -1, "it is not started yet"
    (first,) = children
    words = ["nsenter", "--target", first, "--pid", "--mount", "env", "http_proxy=http://127.0.0.1:1"]
    done = subprocess.run([*words, sys.executable, SCRIPT], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2", "0.0.0.0"])
@pytest.mark.parametrize("how", ["option", "file", "both"])
def test_it_asks_where_the_proxy_says(server: Server, tmp_path: Path, address: str, how: str) -> None:
    known = conninfo_to_dict(server.admin_dsn)
    place = f"{address}:{free_port()}"
    file = tmp_path / "proxy.toml"
    options = ["--server", make_conninfo(host=known["host"], port=known["port"])]
    if how != "option":
        # the option comes before what the file says
        http = place if how == "file" else "127.0.0.1:1"
        file.write_text(f"http = {json.dumps(http)}\n")
        options += ["--config", str(file)]
    if how != "file":
        options += ["--http", "127.0.0.1:1", f"--http={place}"]
    with proxy_as_process_1(*options) as process:
        eventually(lambda: ask(process) == (0, ""))


def test_it_says_what_is_missing() -> None:
    with proxy_as_process_1() as process:
        eventually(lambda: "give it --http 127.0.0.1:9187" in ask(process)[1])
