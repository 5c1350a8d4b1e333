"""node-postgres through the proxy."""

from __future__ import annotations

import pytest

from tests.fix_clients import EXPECTED, INSTALLED, PROGRAMS, Place, found, told


@pytest.mark.one_server
def test_node_postgres(place: Place) -> None:
    node = found("node")
    if not (INSTALLED / "node_modules/pg").exists():
        pytest.skip("no node-postgres here: scripts/clients could not install it")
    modules = str(INSTALLED / "node_modules")
    assert told([node, PROGRAMS / "client.js"], place.through, NODE_PATH=modules) == EXPECTED
