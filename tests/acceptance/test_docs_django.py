"""docs/django.md is a project: what a reader would type is typed, in order, beside the flights of the demo.

A ``python`` block that begins with ``# path`` is a file, or more of one; any other runs in the project.
Commands run in its folder. What is in it beside the page: where the database of the test is.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from pgpredict.demo import data
from tests.acceptance.test_docs import blocks, commands
from tests.fix_flights import Flights
from tests.fix_proxy import RunningProxy
from tests.pages import ROOT

PAGE = ROOT / "docs/django.md"
FILE = re.compile(r"# (\S+\.py)\n")
SHELL = "import django; django.setup(); exec(compile(open({!r}).read(), {!r}, 'exec'))"


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("way", ["engine", "proxy"])
@pytest.mark.one_server
def test_the_project_works(own_flights: Flights, proxy: RunningProxy, tmp_path: Path, way: str) -> None:
    if own_flights.database.server.name == "pg13":
        pytest.skip("the current Django takes PostgreSQL 14 or later")
    with own_flights.connect() as connection:
        data.depart(connection)
        data.arrive(connection)
    place = own_flights.database.dsn if way == "engine" else proxy.dsn(own_flights.database.dsn)
    try:
        for number, (language, line, content) in enumerate(blocks(PAGE)):
            where = f"django.md:{line}"
            if language == "python" and (file := FILE.match(content)):
                write(tmp_path / file[1], content, place, way)
            elif language == "python":
                snippet = tmp_path / f"block_{number}.py"
                snippet.write_text(content)
                execute(["python", "-c", SHELL.format(str(snippet), where)], own_flights, tmp_path, where)
            elif language == "console":
                for command, _ in commands(content):
                    execute(shlex.split(command), own_flights, tmp_path, f"{where}: {command}")
    finally:
        with own_flights.database.server.admin() as connection:
            connection.execute(f"DROP DATABASE IF EXISTS test_{own_flights.database.name} WITH (FORCE)")


def write(path: Path, content: str, place: str, way: str) -> None:
    """Write a file of the page, or go on with one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.read_text() if path.exists() else ""
    if path.name == "settings.py":
        known = conninfo_to_dict(place)
        names = {"NAME": "dbname", "USER": "user", "HOST": "host", "PORT": "port"}
        here = {key: str(known.get(name, "")) for key, name in names.items()}
        if way == "proxy":
            # the other way that the page tells of
            here["ENGINE"] = "django.db.backends.postgresql"
        content += f"\nDATABASES['default'].update({here!r})\n"
    path.write_text(f"{before}\n{content}")


def execute(words: list[str], flights: Flights, directory: Path, where: str) -> None:
    """Run a command in the project; it must succeed, and say nothing that it should not."""
    programs = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(directory),
        "PGPREDICT_DSN": flights.database.dsn,
        "DJANGO_SETTINGS_MODULE": "mysite.settings",
    }
    if words[:2] == ["django-admin", "startproject"]:
        del environment["DJANGO_SETTINGS_MODULE"]
    assert words[0] in ("pgpredict", "python", "django-admin"), where
    done = subprocess.run(
        words, cwd=directory, env=environment, capture_output=True, text=True, timeout=300, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, f"{where}\n{done.stdout}{done.stderr}"
    assert "Warning" not in done.stderr, f"{where}\n{done.stderr}"
