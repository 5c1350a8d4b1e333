from __future__ import annotations

import pytest

from rewriter import rewrite
from rewriter.scan import scan
from rewriter.sugar.join_on import join_on
from tests.unit.rewriter.static import StaticCatalog

MOVED = [
    ("SELECT 1 FROM f JOIN w ON PREDICT(late)", "SELECT 1 FROM f JOIN w ON true WHERE (PREDICT(late))"),
    (
        "SELECT 1 FROM f INNER JOIN w ON a = b AND PREDICT(late) AND c BETWEEN 1 AND 2 WHERE x OR y -- x",
        "SELECT 1 FROM f INNER JOIN w ON a = b AND c BETWEEN 1 AND 2 WHERE (PREDICT(late)) AND (x OR y) -- x",
    ),
    (
        "SELECT 1 FROM f LEFT JOIN g ON true JOIN w ON PREDICT(late) OR x GROUP BY 1",
        "SELECT 1 FROM f LEFT JOIN g ON true JOIN w ON true WHERE (PREDICT(late) OR x) GROUP BY 1",
    ),
    (
        "SELECT (SELECT 1 FROM f JOIN w ON PREDICT(late) WHERE z) FROM f JOIN w ON x",
        "SELECT (SELECT 1 FROM f JOIN w ON true WHERE (PREDICT(late)) AND (z)) FROM f JOIN w ON x",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "moved"), MOVED)
def test_conditions_move_to_where(sql: str, moved: str) -> None:
    text = join_on(sql, scan(sql), StaticCatalog())
    assert text is not None
    assert " ".join(text.sql.split()) == " ".join(moved.split())
    assert join_on(text.sql, scan(text.sql), StaticCatalog()) is None
    at = text.sql.index("PREDICT")
    assert text.origin(at + 1) == sql.index("PREDICT") + 1


STAY = [
    "SELECT 1 FROM f LEFT JOIN w ON PREDICT(late)",
    "SELECT 1 FROM f JOIN w ON PREDICT(late) LEFT JOIN g ON true",
    "SELECT 1 FROM f JOIN w ON PREDICT(late) JOIN g ON true",
    "SELECT 1 FROM f, g JOIN w ON PREDICT(late)",
    "SELECT 1 FROM f JOIN g JOIN w ON PREDICT(late) ON true",
    "SELECT 1 FROM f JOIN w ON true WHERE PREDICT(late)",
    "SELECT 1 FROM f JOIN w ON (SELECT PREDICT(late) FROM f)",
    "SELECT 1 FROM f JOIN w ON PREDICT(late) FOR UPDATE",
    "SELECT 1 FROM f JOIN w ON PREDICT(nothing)",
    "SELECT 1 FROM f JOIN w ON my.predict(late)",
    "UPDATE f SET a = 1 FROM g JOIN w ON PREDICT(late)",
    "DELETE FROM f USING g JOIN w ON PREDICT(late)",
]


@pytest.mark.parametrize("sql", STAY)
def test_others_stay(sql: str) -> None:
    assert join_on(sql, scan(sql), StaticCatalog()) is None


def test_rows_of_such_a_join_are_predicted_in_batches() -> None:
    sql = rewrite("SELECT flight FROM f JOIN w ON origin = carrier AND PREDICT(late)", StaticCatalog()).sql
    assert "row_number()" in sql
