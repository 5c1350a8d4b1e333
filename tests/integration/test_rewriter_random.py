"""Random statements: what is rewritten gives the rows of the plain meaning.

``PGPREDICT_EXAMPLES=2000`` makes it a long run.
"""

from __future__ import annotations

import dataclasses
import os

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rewriter import RULES, rewrite
from tests.fix_rewriter import Bench, differs

EXAMPLES = int(os.environ.get("PGPREDICT_EXAMPLES", "60"))


@dataclasses.dataclass(frozen=True)
class Place:
    """A FROM clause and what can be said over it; ``key`` orders its rows totally."""

    source: str
    carrier: str
    distance: str
    temp: str | None
    columns: tuple[str, ...]
    key: str
    using: str = ""


PLACES = (
    Place(
        "flights AS f",
        "f.carrier",
        "f.distance",
        None,
        ("flight", "f.note", "tags", 'f."Odd Name"', "pr", "f.hour", "da", "row_to_json(f)::text"),
        "f.flight",
    ),
    Place(
        "flights AS f LEFT JOIN weather AS w ON w.origin = f.origin AND w.hour = f.hour",
        "f.carrier",
        "f.distance",
        "w.temp",
        ("f.*", "flight", "w.wind", "count(w) OVER ()", "w.origin"),
        "flight",
    ),
    Place(
        "flights AS f LEFT JOIN weather AS w USING (origin, hour)",
        "carrier",
        "distance",
        "temp",
        ("*", "origin", "f.origin AS fo", "w.hour AS wh", "flight"),
        "flight",
    ),
    Place(
        "flights NATURAL JOIN weather",
        "carrier",
        "distance",
        "temp",
        ("*", "hour", "flights.note"),
        "flight",
    ),
    Place("with_weather", "carrier", "distance", "temp", ("with_weather.*", "origin", "f8"), "flight"),
    Place("many", "carrier", "distance::int", "temp::float8", ("n", "many.temp", "*", "ctid"), "many.ctid"),
    Place("nothing", "carrier", "distance", "temp", ("*", "flight"), "flight"),
    Place(
        "flights AS f JOIN flights AS g ON g.flight = f.flight + 1",
        "g.carrier",
        "g.distance",
        None,
        ("f.flight AS a", "g.flight AS b", "g.tags", "f.vec"),
        "f.flight",
        " USING g.*",
    ),
    Place(
        "(SELECT *, flight % 3 AS one FROM flights WHERE flight < 30) AS s(id)",
        "carrier",
        "distance",
        None,
        ("id", "one", "s.*", "j::text"),
        "id",
    ),
    Place(
        "flights AS f RIGHT JOIN carriers AS c ON c.carrier = f.carrier, "
        "LATERAL (SELECT f.flight % 5 AS r) AS l",
        "f.carrier",
        "f.distance",
        None,
        ("r", "c.name", "l.r AS x", "f.flight"),
        "f.flight, c.name",
        " USING f.*",
    ),
    Place(
        "generate_series(1, 9) WITH ORDINALITY AS x(n, o)",
        "'UA'",
        "n",
        None,
        ("n", "o", "x"),
        "n",
        " USING 'UA' AS carrier, n AS distance",
    ),
)

#: %s is the number that the form stands for
AROUND = ("%s", "%s + 1", "CASE WHEN %s > 150 THEN 'far' ELSE 'near' END", "(%s)::text", "coalesce(%s, -1)",
          "round(%s / 7.0, 2)", "abs(%s) AS m")  # fmt: skip
FILTERS = ("%s > 150", "NOT %s < 100", "%s BETWEEN 100 AND 250", "(%s > 250 OR %s < 90)", "%s % 2 = 0")


@st.composite
def statements(draw: st.DrawFn) -> tuple[str, str, bool]:
    """A statement with its plain meaning, and whether its order is fixed."""
    place = draw(st.sampled_from(PLACES))
    pairs = [(f"PREDICT(delay{place.using})", f"plain.predict({place.carrier}, {place.distance})")]
    if place.temp:
        late = f"{place.carrier}, {place.distance}, {place.temp}"
        pairs.append(("PREDICT(late)::int", f"plain.predict({late})::int"))
        probability = "round({}::numeric, 6)"
        pairs.append(
            (
                probability.format("PROBABILITY(late FOR 'yes')"),
                probability.format(f"plain.probability({late})"),
            )
        )

    def form(templates: tuple[str, ...]) -> tuple[str, str]:
        template = draw(st.sampled_from(templates))
        ours, plain = draw(st.sampled_from(pairs))
        return template.replace("%s", ours), template.replace("%s", plain)

    items = [form(AROUND) for _ in range(draw(st.integers(0, 2)))]
    columns = draw(st.lists(st.sampled_from(place.columns), max_size=3))
    items += [(column, column) for column in columns]
    filters = [form(FILTERS) for _ in range(draw(st.integers(0, 2)))]
    if draw(st.booleans()):
        filters.append((f"{place.distance} < 700", f"{place.distance} < 700"))
    items, filters = draw(st.permutations(items)), draw(st.permutations(filters))
    if not any("PRED" in ours or "PROB" in ours for ours, _ in [*items, *filters]):
        items = [*items, ("PREDICT(delay" + place.using + ") AS p", pairs[0][1] + " AS p")]
    if not items:
        items = [("1 AS one", "1 AS one")]
    aggregate = draw(st.sampled_from(["", "", "", "count", "group"]))
    if aggregate:
        key = draw(st.sampled_from(pairs))
        grouped = aggregate == "group"
        items = [("count(*)", "count(*)"), (f"max({pairs[0][0]})", f"max({pairs[0][1]})")]
        items += [(f"{key[0]} AS g", f"{key[1]} AS g")] if grouped else []
    texts = []
    ordered = not aggregate and draw(st.booleans())
    tail = draw(st.sampled_from(["", " LIMIT 5", " LIMIT 4 OFFSET 3", " OFFSET 2"])) if ordered else ""
    where_word = draw(st.sampled_from([" WHERE ", "\nWHERE -- comment\n ", " where/**/"]))
    for side in (0, 1):
        text = f"SELECT {', '.join(item[side] for item in items)} FROM {place.source}"
        if filters:
            text += where_word + " AND ".join(item[side] for item in filters)
        if aggregate == "group":
            text += " GROUP BY g"
        texts.append(text + (f" ORDER BY {place.key}" if ordered else "") + tail)
    return texts[0], texts[1], ordered


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    derandomize=EXAMPLES <= 60,
)
@given(pair=statements(), rules=st.sets(st.sampled_from(RULES)), wrap=st.sampled_from(["", "cte", "union"]))
def test_random_statements(bench: Bench, pair: tuple[str, str, bool], rules: set[object], wrap: str) -> None:
    statement, meaning, ordered = pair
    if wrap == "cte":
        outer = "WITH x AS ({}\n) SELECT x::text, {} FROM x"
        statement = outer.format(statement, "PREDICT(delay USING 'a' AS carrier, 1 AS distance)")
        meaning = outer.format(meaning, "plain.predict('a', 1)")
        ordered = False
    elif wrap == "union":
        outer = "SELECT count(*) FROM ({}\n) AS y UNION ALL SELECT {}"
        statement = outer.format(statement, "PREDICT(delay USING 'a' AS carrier, 2 AS distance)")
        meaning = outer.format(meaning, "plain.predict('a', 2)")
    rewritten = rewrite(statement, bench.catalog, rules=[rule for rule in RULES if rule in rules])
    columns, rows = bench.run(rewritten.sql)
    expected_columns, expected = bench.run(meaning)
    assert columns == expected_columns, rewritten.sql
    assert not differs(rows, expected, ordered), rewritten.sql
