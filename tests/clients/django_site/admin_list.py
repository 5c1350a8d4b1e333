"""The admin's list of flights, as a browser gets it."""

from __future__ import annotations

import json
import re
import sys

from start import tables

# isort: split
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext, setup_test_environment

CELL = re.compile(r'class="field-(\w+)[^"]*">(?:<a[^>]*>)?([^<]*)')


def rows(client: Client, query: str) -> list[list[str]]:
    """Return the cells of the list, line by line."""
    page = client.get(f"/admin/fleet/flight/?{query}").content.decode()
    cells = [text for _, text in CELL.findall(page)]
    return [cells[at : at + 3] for at in range(0, len(cells), 3)]


setup_test_environment()
for app in ("auth", "sessions", "admin"):
    call_command("migrate", app, verbosity=0)
with tables():
    client = Client()
    client.force_login(User.objects.create_superuser("admin"))
    first = rows(client, "")
    with CaptureQueriesContext(connection) as captured:
        by_weight = rows(client, "o=2")
    sent = [query["sql"] for query in captured]
    seen = {
        "sorted by weight": by_weight,
        "by risk, falling": [row[0] for row in rows(client, "o=-3")],
        "by both": [row[0] for row in rows(client, "o=3.-2")],
        "as many": len(first),
        "sorts in the database": any("ORDER BY 9" in sql for sql in sent),
    }
    sys.stdout.write(json.dumps(seen))
