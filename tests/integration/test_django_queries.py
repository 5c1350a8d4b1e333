"""Django's queries with predictions, each way: what they give is what was calculated by hand."""

from __future__ import annotations

import json

import pytest

from tests.fix_clients import Place
from tests.fix_django import Configuration, each_way, tell

pytestmark = pytest.mark.one_server
EXPECTED = {}


@each_way
def test_queries(site: Place, way: Configuration) -> None:
    seen = tell(way, site, "queries.py")
    print(json.dumps(seen, indent=1))
    assert seen == EXPECTED
