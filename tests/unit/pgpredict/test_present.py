"""What the commands print for people to copy must run as it stands."""

from __future__ import annotations

import shlex

from pgpredict.cli.present import select_it, try_it


def test_names_are_quoted_where_sql_wants_it() -> None:
    features = [{"name": name} for name in ("plain", "select", "ä", 'a"b')]
    select = select_it("order", {"task": "regression", "features": features})
    assert select == (
        'SELECT prediction FROM models."order" WHERE plain = … AND "select" = … AND "ä" = … AND "a""b" = …'
    )


def test_the_command_survives_the_shell() -> None:
    command = try_it("user", {"query": "SELECT 'it''s' AS a;"})
    assert command is not None
    assert shlex.split(command) == [
        "pgpredict",
        "query",
        """SELECT *, PREDICT("user") FROM (SELECT 'it''s' AS a) AS t LIMIT 5""",
    ]
