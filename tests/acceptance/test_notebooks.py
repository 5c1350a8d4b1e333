"""docs/notebooks-and-pandas.md is run as a notebook: with the plugin, and through the proxy without it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from tests.fix_clients import Address
from tests.fix_examples import environment, role_of, through
from tests.fix_flights import Flights, predict
from tests.fix_proxy import RunningProxy
from tests.pages import ROOT

pytestmark = [pytest.mark.one_server, pytest.mark.timeout(900)]

PAGE = ROOT / "docs/notebooks-and-pandas.md"
#: what makes an engine and a cursor ours
HOOKS = (', plugins=["pgpredict"]', "cursor_factory=pgpredict.psycopg.Cursor")
DAY = "day = '2013-12-17'"
#: what jupyter-execute does, but for its patience with a kernel: after 4 s it goes on without the output
EXECUTE = """
import sys, nbformat
from nbclient import NotebookClient
file, *options = sys.argv[1:]
notebook = nbformat.read(file, as_version=4)
patience = dict(timeout=None, startup_timeout=240, iopub_timeout=120)
allow_errors = "--allow-errors" in options
NotebookClient(notebook, kernel_name="python3", allow_errors=allow_errors, **patience).execute()
nbformat.write(notebook, file)
"""
#: makes a frame's values known to the test
TELLING = """
import json
def tell(frame):
    print(json.dumps(frame.astype(object).to_numpy().tolist()))
"""


def cells() -> list[str]:
    """Return the page's."""
    tokens = MarkdownIt().parse(PAGE.read_text(encoding="utf-8"))
    return [token.content for token in tokens if token.type == "fence" and token.info.strip() == "ipython"]


def run_notebook(
    sources: list[str], address: Address, directory: Path, *options: str
) -> list[dict[str, Any]]:
    """Run cells in a kernel of their own, as a user's, and return them with their outputs."""
    empty: dict[str, Any] = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    made = [{**empty, "id": f"c{number}", "source": source} for number, source in enumerate(sources)]
    file = directory / "page.ipynb"
    file.write_text(json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    # what a user's own set-up would change, and what reports to others
    own = {"HOME": str(directory), "IPYTHONDIR": str(directory), "PLOOMBER_STATS_ENABLED": "false"}
    ended = subprocess.run(
        [sys.executable, "-c", EXECUTE, file, *options],
        env={**environment(address), **own},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    found: list[dict[str, Any]] = json.loads(file.read_text())["cells"]
    return [{**cell, "source": "".join(cell["source"])} for cell in found]


def told(cell: dict[str, Any]) -> Any:
    """Return the values of the frame that a cell told."""
    return json.loads("".join("".join(output["text"]) for output in cell["outputs"] if "text" in output))


def results(cell: dict[str, Any]) -> str:
    """Return the result that a cell shows."""
    return "\n".join("".join(output["data"]["text/plain"]) for output in cell["outputs"] if "data" in output)


def without_hooks(source: str) -> str:
    """Return a cell of somebody who has the proxy's address."""
    for hook in HOOKS:
        source = source.replace(hook, "")
    return source


@pytest.fixture(scope="module")
def address(shared_flights: Flights) -> Address:
    """A role's that may predict with both models."""
    address = role_of(shared_flights)
    with shared_flights.connect() as connection:
        connection.execute(f"GRANT SELECT ON models.arrival_delay TO {address.user}")
        connection.execute(f"GRANT TEMPORARY ON DATABASE {shared_flights.database.name} TO {address.user}")
    return address


def test_the_page_runs_and_tells_the_same_both_ways(
    address: Address, tcp_proxy: RunningProxy, tmp_path: Path
) -> None:
    assert all(any(hook in source for source in cells()) for hook in HOOKS)
    direct = run_notebook(cells(), address, tmp_path)
    proxied = run_notebook(
        [without_hooks(source) for source in cells()], through(address, tcp_proxy.port), tmp_path
    )
    assert [results(cell) for cell in direct] == [results(cell) for cell in proxied]
    shown = [cell for cell in direct if results(cell)]
    # the others only prepare: import, load, configure, keep
    assert len(shown) >= len(direct) - 3
    for cell in direct:
        assert "Error" not in str(cell["outputs"]), cell["source"]


def test_frames_have_what_sql_has(address: Address, shared_flights: Flights, tmp_path: Path) -> None:
    statement = (
        "SELECT id, carrier, PREDICT(late_arrival) AS late, PROBABILITY(late_arrival FOR '{}') AS risk,"
        " PREDICT(arrival_delay) AS minutes FROM departures WHERE {} ORDER BY id"
    )
    with shared_flights.connect() as connection:
        truth = [list(row.values()) for row in predict(connection, statement.format("yes", DAY))]
    sql = statement.format("yes", DAY)
    named = statement.format("yes", "day = :day").replace("'yes'", ":label")
    # :name and {{name}} are JupySQL's, %(name)s is psycopg's
    positional = statement.replace("'{}'", "%(label)s").format("day = %(day)s")
    sources = [
        cells()[0] + TELLING,
        f'tell(pd.read_sql("""{sql}""", engine))',
        f'tell(pd.read_sql("""{positional}""", engine, params=dict(day="2013-12-17", label="yes")))',
        f'from sqlalchemy import text\ntell(pd.read_sql(text("""{named}"""), engine,'
        ' params=dict(day="2013-12-17", label="yes")))',
        "import psycopg, pgpredict.psycopg\n"
        "with psycopg.connect(cursor_factory=pgpredict.psycopg.Cursor) as connection:\n"
        f'    tell(pd.DataFrame(connection.execute("""{sql}""").fetchall()))',
        "%load_ext sql\n%sql engine\n%config SqlMagic.feedback = 0\n"
        '%config SqlMagic.named_parameters = "enabled"\nday, label = "2013-12-17", "yes"',
        f"%%sql kept <<\n{sql}",
        "tell(kept.DataFrame())",
        f"%%sql kept <<\n{named}",
        "tell(kept.DataFrame())",
        f"kept = %sql {named.replace(':label', chr(39) + '{{label}}' + chr(39))}\ntell(kept.DataFrame())",
    ]
    ran = run_notebook(sources, address, tmp_path)
    frames = [told(cell) for cell in ran if "tell(" in cell["source"] and cell["outputs"]]
    assert len(frames) == 7
    assert len(truth) > 500
    for frame in frames:
        assert frame == truth


def test_errors_in_a_cell_are_told(address: Address, tmp_path: Path) -> None:
    sources = [
        cells()[0],
        "%load_ext sql\n%sql engine",
        "%%sql\nSELECT PREDICT(late_arival) FROM departures",
        "%%sql\nSELECT count(*) AS still_here FROM departures WHERE id < 10",
        'pd.read_sql("SELECT PREDICT(late_arrival USING carrier) FROM departures", engine)',
    ]
    ran = run_notebook(sources, address, tmp_path, "--allow-errors")
    shown = [str(cell["outputs"]) for cell in ran]
    assert 'model "late_arival" does not exist' in shown[2]
    assert "did you mean late_arrival" in shown[2]
    assert "still_here" in shown[3]
    assert "does not exist" not in shown[3]
    assert "misses features" in shown[4]
