"""Generates statements with forms together with their plain meaning.

Everything is made as a pair of texts, ours and the meaning, which differ in the forms only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from hypothesis import strategies as st

Pair = tuple[str, str]


@dataclasses.dataclass(frozen=True)
class Statement:
    """A statement with its meaning.

    :ivar texts: ours, and the meaning
    :ivar then: what is to be read after it
    """

    kind: str
    texts: Pair
    then: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Place:
    """A FROM clause and what can be said over it.

    :ivar carrier: the feature as the meaning needs it; ``distance`` and ``temp`` likewise
    :ivar columns: what can stand in the select list
    :ivar key: orders its rows totally
    :ivar number: an integer column
    :ivar using: the list that gives the features; empty where the names alone do
    """

    source: str
    carrier: str
    distance: str
    temp: str | None
    columns: tuple[str, ...]
    key: str
    number: str
    using: str = ""


PLACES = (
    Place("flights AS f", "f.carrier", "f.distance", None,
          ("flight", "f.note", "tags", 'f."Odd Name"', "pr", "f.hour", "da", "row_to_json(f)::text"),
          "f.flight", "f.flight"),
    Place("flights AS f LEFT JOIN weather AS w ON w.origin = f.origin AND w.hour = f.hour",
          "f.carrier", "f.distance", "w.temp", ("f.*", "flight", "w.wind", "count(w) OVER ()", "w.origin",
                                         "ROW(w.*)", "(w.*)::text", "w.* IS NULL AS n",
                                         "(w.*, f.flight)::text"),
          "flight", "flight"),
    Place("flights AS f LEFT JOIN weather AS w USING (origin, hour)", "carrier", "distance", "temp",
          ("*", "origin", "f.origin AS fo", "w.hour AS wh", "flight"), "flight", "f.flight"),
    Place("flights NATURAL JOIN weather", "carrier", "distance", "temp", ("*", "hour", "flights.note"),
          "flight", "flight"),
    Place("with_weather", "carrier", "distance", "temp", ("with_weather.*", "origin", "f8"), "flight",
          "flight"),
    Place("many", "carrier", "distance::int", "temp::float8", ("n", "many.temp", "*", "ctid"), "many.ctid",
          "n"),
    Place("nothing", "carrier", "distance", "temp", ("*", "flight"), "flight", "flight"),
    Place("flights AS f JOIN flights AS g ON g.flight = f.flight + 1", "g.carrier", "g.distance", None,
          ("f.flight AS a", "g.flight AS b", "g.tags", "f.vec", "ROW(f.flight, g.*) AS w",
           "to_json(g)::text"),
          "f.flight", "f.flight", "g.*"),
    Place("(SELECT *, flight % 3 AS one FROM flights WHERE flight < 30) AS s(id)", "carrier", "distance",
          None, ("id", "one", "s.*", "j::text"), "id", "one"),
    Place("flights AS f RIGHT JOIN carriers AS c ON c.carrier = f.carrier, "
          "LATERAL (SELECT f.flight % 5 AS r) AS l", "f.carrier", "f.distance", None,
          ("r", "c.name", "l.r AS x", "f.flight"), "f.flight, c.name", "r", "f.*"),
    Place("generate_series(1, 9) WITH ORDINALITY AS x(n, o)", "'UA'", "n", None, ("n", "o", "x"), "n", "n",
          "'UA' AS carrier, n AS distance"),
    Place("base", "carrier", "distance", None, ("*", "base.tableoid::regclass"), "base.n", "n"),
    Place("parts", "carrier", "distance", None, ("*", "parts"), "parts.tableoid, parts.ctid", "distance"),
    Place("everything AS e", "e.carrier", "e.distance", None,
          ("*", "c_interval", "a_text", "c_pair", "e", "c_numeric_mod", "c_timestamp_mod", "(e.a_pair[1]).a",
           "(e.*, 1)::text", "(c_pair).*", "a_matrix[1:1]"), "e.id", "e.id"),
    Place("(VALUES ('UA', 5, 1), (NULL, 7, 2), ('AA', NULL, 3), ('UA', 5, 4)) AS v(carrier, distance, n)",
          "carrier", "distance", None, ("*", "v", "n"), "n", "n"),
    Place('"Zürich ""Flüge""" AS "Z"', "carrier", "distance", None,
          ("*", '"Distänz"', '"Z"."select"', '"Carrier"'), '"select"', '"Distänz"'),
)  # fmt: skip
TARGET = Place("target AS t", "t.carrier", "t.distance", None, ("t.id", "t.*", "note"), "t.id", "t.id", "t.*")
SOURCE = Place("flights AS f", "f.carrier", "f.distance", None, ("f.note",), "f.flight", "f.flight", "f.*")
EXCLUDED = dataclasses.replace(
    TARGET, carrier="excluded.carrier", distance="excluded.distance", number="excluded.id", using="excluded.*"
)
INSERTED = dataclasses.replace(TARGET, source="target AS t")


def both(template: str, *pairs: Pair) -> Pair:
    """Fill a template, ours and meant."""
    ours, plain = template, template
    for pair in pairs:
        ours, plain = ours.replace("%s", pair[0], 1), plain.replace("%s", pair[1], 1)
    return ours, plain


def same(text: str) -> Pair:
    """Return what is no form."""
    return text, text


def joined(pairs: Sequence[Pair], separator: str = ", ") -> Pair:
    """Return a list of pairs."""
    return separator.join(pair[0] for pair in pairs), separator.join(pair[1] for pair in pairs)


@dataclasses.dataclass
class Expressions:
    """Expressions over places.

    :ivar places: what the features can be taken from
    :ivar by_name: whether the features' names alone say which columns are meant
    """

    draw: st.DrawFn
    places: Sequence[Place]
    by_name: bool = True

    def one_of(self, *choices: str) -> str:
        return self.draw(st.sampled_from(choices))

    def form(
        self, spellings: Sequence[str], model: str, function: str, depth: int, *, temp: bool = False
    ) -> Pair:
        """A form of a model over one of the places, and its meaning.

        :param function: the meaning's name, and behind ``|`` its last argument
        """
        place = self.draw(st.sampled_from([p for p in self.places if p.temp or not temp]))
        carrier, distance, using = same(place.carrier), same(place.distance), place.using
        if depth < 2 and not temp and self.draw(st.integers(0, 4)) == 0:
            # features that are computed, also from other forms
            distance = self.number(depth + 2)
            given = "" if using or not self.by_name else "*, "
            ours = f"{given}{carrier[0]} AS carrier, {distance[0]} AS distance"
            if given:
                ours = f"*, {distance[0]} AS distance"
        elif using or not self.by_name:
            ours = using or f"{place.carrier} AS carrier, {place.distance} AS distance"
        else:
            ours = self.one_of("", "*")
        spelling = self.one_of(*spellings)
        missing = self.one_of("", "", "", " ON MISSING NULL", " ON MISSING IMPUTE")
        strict = "_strict" if missing.endswith("NULL") else ""
        head = spelling + (f" USING {ours}" if ours else "") + missing + ")"
        features = [carrier[1], distance[1], *([place.temp or ""] if temp else [])]
        name, _, rest = function.partition("|")
        arguments = ", ".join([*features, *([rest] if rest else [])])
        called = head.partition("(")[0].lower()
        kind = name if called.startswith(("predict(", "probab")) else called
        return head, f"{model}{strict}.{kind if name != 'predict' else called}({arguments})"

    def number(self, depth: int = 0) -> Pair:
        """An integer."""
        if depth > 2:
            return same(self.draw(st.sampled_from(self.places)).number + "::int")
        choice = self.draw(st.integers(0, 11))
        if choice < 5:
            model = self.one_of("delay", "delay", "wood")
            return self.form((f"PREDICT({model}", f"PREDICTION({model}", f"predict( models.{model}"), model,
                             "predict", depth)  # fmt: skip
        if choice == 5:
            return same(self.draw(st.sampled_from(self.places)).number + "::int")
        if choice == 6:
            return both(self.one_of("(%s + %s)", "greatest(%s, %s)", "coalesce(%s, %s)"),
                        self.number(depth + 1), self.number(depth + 1))  # fmt: skip
        if choice == 7:
            return both("CASE WHEN %s THEN %s ELSE %s END", self.truth(depth + 1), self.number(depth + 1),
                        self.number(depth + 1))  # fmt: skip
        if choice == 8:
            return both("length(%s)", self.text(depth + 1))
        return both(
            self.one_of("(%s + 1)", "abs(%s)", "coalesce(%s, -1)", "(%s % 7)", "nullif(%s, 3)", "(-%s)"),
            self.number(depth + 1),
        )

    def truth(self, depth: int = 0) -> Pair:
        """A condition."""
        if depth > 2:
            return both("%s > 20", self.number(depth))
        choice = self.draw(st.integers(0, 9))
        if choice < 2:
            return self.form(("PREDICT(risk", "PREDICT(risk VERSION 1"), "risk", "predict", depth)
        if choice == 2 and all(place.temp for place in self.places):
            return self.form(("PREDICT(late",), "late", "predict", depth, temp=True)
        if choice == 3:
            return both(self.one_of("NOT %s", "(%s) IS NOT TRUE", "%s IS NULL"),
                        both("(%s)", self.truth(depth + 1)))  # fmt: skip
        if choice == 4:
            return both(self.one_of("(%s AND %s)", "(%s OR %s)"), self.truth(depth + 1),
                        self.truth(depth + 1))  # fmt: skip
        if choice == 5:
            return both("%s = 'low'", self.text(depth + 1))
        if choice == 6:
            form = self.form(("PROBABILITY(risk FOR true", "PROBABILITY(risk VERSION 1 FOR 'yes'"), "risk",
                             "probability|'true'", depth)  # fmt: skip
            return both("%s > 0.35", form)
        return both(
            self.one_of("%s > 150", "%s < 100", "%s BETWEEN 100 AND 250", "%s % 2 = 0", "%s <> 3"),
            self.number(depth + 1),
        )

    def text(self, depth: int = 0) -> Pair:
        """A text."""
        if depth > 1 or self.draw(st.integers(0, 3)):
            return self.form(("PREDICT(level", "PREDICTION(level"), "level", "predict", depth)
        return both("CASE WHEN %s THEN 'x' ELSE %s END", self.truth(depth + 1), self.text(depth + 1))

    def any(self) -> Pair:
        """An expression of any type."""
        kind = self.draw(st.integers(0, 5))
        if kind < 3:
            return self.number()
        return self.truth() if kind == 3 else self.text()

    def where(self, word: str = " WHERE ", more: Sequence[str] = ()) -> Pair:
        """A condition with its word, or nothing."""
        parts = [self.truth() for _ in range(self.draw(st.integers(0, 2)))]
        parts += [same(text) for text in more if self.draw(st.booleans())]
        if not parts:
            return same("")
        return both(word + "%s", joined(self.draw(st.permutations(parts)), " AND "))


_SHAPES = (
    "plain", "plain", "ordered", "ordered", "grouped", "counted", "distinct", "ties", "first", "sets",
    "windows", "ordered set",
)  # fmt: skip


def _select(draw: st.DrawFn) -> Statement:
    place = draw(st.sampled_from(PLACES))
    make = Expressions(draw, [place])
    items = [both(f"%s AS x{number}", make.any()) for number in range(draw(st.integers(0, 2)))]
    if draw(st.booleans()):
        items.append(make.form(("PREDICT(delay", "PREDICT(delay VERSION 1"), "delay", "predict", 0))
    items += [same(column) for column in draw(st.lists(st.sampled_from(place.columns), max_size=2))]
    if draw(st.integers(0, 4)) == 0:
        items.append(both(f"rank() OVER (PARTITION BY %s ORDER BY %s, {place.key}) AS r", make.truth(2),
                          make.number(1)))  # fmt: skip
    items = draw(st.permutations(items)) or [same("1 AS one")]
    head = same(f" FROM {place.source}")
    word = draw(st.sampled_from([" WHERE ", "\nWHERE -- comment\n ", " where/**/"]))
    where = make.where(word, [f"{place.distance} < 700", f"{place.carrier} IS NOT NULL"])
    tail = same("")
    shape = draw(st.sampled_from(_SHAPES))
    if shape == "ordered":
        order = both("%s, ", make.number(1)) if draw(st.booleans()) else same("")
        limit = draw(
            st.sampled_from(["", " LIMIT 5", " LIMIT 4 OFFSET 3", " OFFSET 2", " FETCH FIRST ROW ONLY"])
        )
        tail = both(f" ORDER BY %s{place.key}{limit}", order)
    elif shape == "grouped":
        key, value = make.any(), make.number()
        items = [both("%s AS g", key), same("count(*)"), both("max(%s)", value)]
        tail = both(
            " GROUP BY 1%s", both(" HAVING count(%s) > 1", make.number()) if draw(st.booleans()) else same("")
        )
    elif shape == "counted":
        items = [same("count(*)"), both("sum(%s)", make.number())]
        items += [both("count(*) FILTER (WHERE %s)", make.truth())]
        items += [both(f"array_agg(%s ORDER BY {place.key})", make.number())]
    elif shape == "distinct":
        items = [both("%s AS a", make.any()), both("%s AS b", make.truth())]
    elif shape == "ties":
        tail = both(" ORDER BY %s FETCH FIRST 3 ROWS WITH TIES", make.number())
    elif shape == "first":
        first = make.any()
        tail = both(f" ORDER BY %s, {place.key}", first)
        head = both(f" FROM {place.source}", same(""))
        items = [both("ON (%s) %s AS a", first, make.any()), *items]
    elif shape == "sets":
        keys = joined([make.any(), same(f"{place.number} % 3")])
        sets = draw(st.sampled_from(["ROLLUP (1, 2)", "CUBE (1, 2)", "GROUPING SETS ((1, 2), (2), ())"]))
        items = [keys, both("sum(%s) AS s", make.number()), same("count(*)")]
        tail = same(f" GROUP BY {sets}")
    elif shape == "windows":
        frame = draw(st.sampled_from(["", " ROWS 2 PRECEDING", " GROUPS CURRENT ROW",
                                      " RANGE BETWEEN UNBOUNDED PRECEDING AND 5 FOLLOWING"]))  # fmt: skip
        value = both("sum(%s) OVER (w%s) AS s", make.number(), same(frame))
        items = [value, both("count(*) FILTER (WHERE %s) OVER w AS c", make.truth()), *items]
        tail = both(" WINDOW w AS (PARTITION BY %s ORDER BY %s)", make.truth(1), make.number(1))
    elif shape == "ordered set":
        items = [both("percentile_disc(0.3) WITHIN GROUP (ORDER BY %s) AS d", make.number()),
                 both("mode() WITHIN GROUP (ORDER BY %s) FILTER (WHERE %s) AS m", make.any(),
                      make.truth())]  # fmt: skip
    word = {"distinct": "SELECT DISTINCT ", "first": "SELECT DISTINCT "}.get(shape, "SELECT ")
    return Statement("select", both(word + "%s%s%s%s", joined(items), head, where, tail))


def _join(draw: st.DrawFn) -> Statement:
    other = draw(st.sampled_from([
        ("carriers AS c", "c.name", "c.carrier = f.carrier"),
        ("weather AS w", "w.temp", "w.origin = f.origin AND w.hour = f.hour"),
        ("flights AS g", "g.flight AS g", "g.flight = f.flight + 2"),
        ("generate_series(1, 3) AS n", "n", "n = f.flight % 4"),
        ("generate_series(1, 9) AS n", "n", "n < f.flight % 9"),
    ]))  # fmt: skip
    places = [SOURCE]
    if other[0] == "flights AS g":
        places.append(Place("", "g.carrier", "g.distance", None, (), "", "g.flight", "g.*"))
    make = Expressions(draw, places, by_name=False)
    kind = draw(st.sampled_from(["JOIN", "LEFT JOIN", "RIGHT JOIN", "INNER JOIN"]))
    condition = (
        both(f"{other[2]} AND %s", make.truth())
        if draw(st.booleans()) or "LEFT" in kind or "RIGHT" in kind
        else make.truth()
    )
    items = joined([same("f.flight"), same(other[1]), both("%s AS x", make.any())][: draw(st.integers(2, 3))])
    return Statement(
        "join on",
        both(f"SELECT %s FROM flights AS f {kind} {other[0]} ON %s%s", items, condition, make.where()),
    )


_FLIGHTS = "FROM flights AS f WHERE f.carrier = c.carrier AND %s"
_CORRELATED = (
    f"SELECT c.name, (SELECT max(%s) {_FLIGHTS}) AS m FROM carriers AS c",
    f"SELECT c.name, ARRAY(SELECT %s {_FLIGHTS} ORDER BY f.flight LIMIT 4) FROM carriers AS c",
    f"SELECT c.name, l.* FROM carriers AS c, LATERAL (SELECT f.flight, %s AS p {_FLIGHTS}) AS l",
    f"SELECT c.name, l.* FROM carriers AS c LEFT JOIN LATERAL (SELECT sum(%s) AS p {_FLIGHTS}) AS l ON true",
    f"SELECT c.name FROM carriers AS c WHERE 90 < ANY (SELECT %s {_FLIGHTS})",
    f"SELECT l.p, c.* FROM carriers AS c LEFT JOIN LATERAL (SELECT %s AS p, f.flight {_FLIGHTS} "
    "ORDER BY f.hour, f.flight LIMIT 5) AS l ON l.flight > 20",
    f"SELECT c.name, max(l.p), count(*) FROM carriers AS c, LATERAL (SELECT %s AS p {_FLIGHTS}) AS l "
    "WHERE l.p > 5 OR c.name = 'None' GROUP BY c.name",
    f"SELECT c.name FROM carriers AS c WHERE NOT EXISTS (SELECT %s {_FLIGHTS} AND f.flight % 4 = 1)",
    f"SELECT c.name, n, (SELECT count(%s) {_FLIGHTS} AND f.flight > n) FROM carriers AS c, "
    "generate_series(1, 30) AS n",
)


def _correlated(draw: st.DrawFn) -> Statement:
    inner = Expressions(draw, [SOURCE], by_name=draw(st.booleans()))
    outer = Place(
        "",
        "c.carrier",
        "length(c.name)",
        None,
        (),
        "",
        "length(c.name)",
        "c.carrier, length(c.name) AS distance",
    )
    mixed = Expressions(draw, [SOURCE, outer], by_name=False)
    make = draw(st.sampled_from([inner, mixed]))
    query = draw(st.sampled_from(_CORRELATED))
    return Statement("correlated", both(query, make.number(), make.truth()))


def _update(draw: st.DrawFn) -> Statement:
    from_ = draw(st.booleans())
    make = Expressions(draw, [TARGET, SOURCE] if from_ else [TARGET], by_name=False)
    sets = [both("value = %s", make.number())]
    if draw(st.booleans()):
        sets.append(both("(flag, note) = (%s, %s)", make.truth(), make.text()))
    if draw(st.integers(0, 3)) == 0:
        sets.append(both("distance = %s", make.number()))
    text = both("UPDATE target AS t SET %s%s", joined(sets), same(" FROM flights AS f" if from_ else ""))
    conditions = ["t.id < 12", "t.carrier IS NOT NULL"]
    where = make.where(" AND " if from_ else " WHERE ", conditions)
    where = both(" WHERE f.flight = t.id + 1%s", where) if from_ else where
    returning = both(" RETURNING t.*, %s AS x", make.any()) if draw(st.booleans()) else same("")
    return Statement("update", both("%s%s%s", text, where, returning), ("SELECT * FROM target",))


def _delete(draw: st.DrawFn) -> Statement:
    using = draw(st.booleans())
    make = Expressions(draw, [TARGET, SOURCE] if using else [TARGET], by_name=False)
    text = "DELETE FROM target AS t" + (
        " USING flights AS f WHERE f.flight = t.id AND %s%s" if using else " WHERE %s%s"
    )
    returning = both(" RETURNING t.id, %s AS x", make.any()) if draw(st.booleans()) else same("")
    return Statement("delete", both(text, make.truth(), returning), ("SELECT * FROM target",))


def _insert(draw: st.DrawFn) -> Statement:
    make = Expressions(draw, [SOURCE], by_name=draw(st.booleans()))
    rows = both(
        "SELECT f.flight + 15, f.carrier, f.distance, %s, %s FROM flights AS f%s",
        make.number(),
        make.truth(),
        make.where(),
    )
    if draw(st.integers(0, 2)) == 0:
        constant = Place("", "'UA'", "40", None, (), "", "7", "'UA' AS carrier, 40 AS distance")
        alone = Expressions(draw, [constant], by_name=False)
        rows = both(
            "VALUES (5, 'AA', 7, %s, true), (200, NULL, NULL, %s, %s)",
            alone.number(),
            alone.number(),
            alone.truth(),
        )
    conflict = Expressions(draw, [INSERTED, EXCLUDED], by_name=False)
    action = both(" ON CONFLICT (id) DO UPDATE SET value = %s%s", conflict.number(), conflict.where())
    if draw(st.integers(0, 2)) == 0:
        action = same(" ON CONFLICT DO NOTHING")
    after = Expressions(draw, [INSERTED], by_name=False)
    returning = both(" RETURNING t.*, %s AS x", after.any()) if draw(st.booleans()) else same("")
    text = both(
        "INSERT INTO target AS t (id, carrier, distance, value, flag) %s%s%s", rows, action, returning
    )
    return Statement("insert", text, ("SELECT * FROM target",))


def _set_operation(draw: st.DrawFn) -> Statement:
    arms = []
    for _ in range(2):
        place = draw(st.sampled_from(PLACES))
        make = Expressions(draw, [place])
        arms.append(both(f"SELECT %s FROM {place.source}%s", both("%s AS x", make.number()), make.where()))
    word = draw(st.sampled_from(["UNION", "UNION ALL", "INTERSECT", "EXCEPT", "EXCEPT ALL"]))
    tail = draw(st.sampled_from(["", " ORDER BY 1", " ORDER BY x LIMIT 5"]))
    return Statement("set operation", both(f"%s {word} %s{tail}", *arms))


def _view(draw: st.DrawFn) -> Statement:
    place = draw(st.sampled_from(PLACES))
    make = Expressions(draw, [place])
    query = both(
        f"SELECT %s AS a, %s AS b, {place.number} AS n FROM {place.source}%s",
        make.number(),
        make.any(),
        make.where(),
    )
    head, then = draw(st.sampled_from([
        ("CREATE VIEW made AS ", ("SELECT * FROM made", "SELECT count(*) FROM made WHERE n > 5")),
        ("CREATE MATERIALIZED VIEW made AS ", ("SELECT * FROM made",)),
        ("CREATE TABLE made AS ", ("SELECT * FROM made",)),
        ("PREPARE made AS ", ("EXECUTE made",)),
        ("DECLARE made CURSOR FOR ", ("FETCH ALL FROM made",)),
    ]))  # fmt: skip
    return Statement("view", both(head + "%s", query), then)


def _wrapped(draw: st.DrawFn) -> Statement:
    inner = _select(draw)
    template = draw(st.sampled_from([
        "WITH x AS (%s\n) SELECT x::text, PREDICT_1 AS p FROM x",
        "WITH x AS MATERIALIZED (%s\n) SELECT PREDICT_1 AS p FROM x GROUP BY ()",
        "SELECT count(*) FROM (%s\n) AS y UNION ALL SELECT PREDICT_1",
        "SELECT y::text FROM (%s\n) AS y WHERE PREDICT_1 > 0",
        "SELECT f.flight FROM flights AS f WHERE EXISTS (%s\n) AND PREDICT_1 > 0",
    ]))  # fmt: skip
    constant = ("PREDICT(delay USING 'a' AS carrier, 1 AS distance)", "delay.predict('a', 1)")
    return Statement("select", both(template.replace("PREDICT_1", "%s"), inner.texts, constant))


def _derived(draw: st.DrawFn) -> Statement:
    """Forms in a derived table or CTE, of which something is read."""
    place = draw(st.sampled_from(PLACES))
    make = Expressions(draw, [place])
    inner = both(
        f"SELECT %s AS a, %s AS b, %s AS c, {place.number} AS n FROM {place.source}%s",
        make.number(),
        make.truth(),
        make.any(),
        make.where(),
    )
    template = draw(st.sampled_from([
        "SELECT n, count(*) FROM (%s\n) AS s GROUP BY n",
        "SELECT s.b FROM (%s\n) AS s WHERE s.a > 50 OR s.b",
        "SELECT s FROM (%s\n) AS s",
        "SELECT ROW(s.*, 1), s.* IS NULL FROM (%s\n) AS s",
        "WITH s AS (%s\n) SELECT x.a, y.n FROM s AS x LEFT JOIN s AS y ON y.n = x.a",
        "WITH s(a, n) AS (%s\n) SELECT max(a), n FROM s GROUP BY n",
        "WITH s AS NOT MATERIALIZED (%s\n) SELECT n, (SELECT max(n) FROM s AS y WHERE y.b = x.b) FROM s AS x",
        "SELECT EXISTS (%s\n), (SELECT max(n) FROM (VALUES (1)) AS v(n))",
        "SELECT f.flight, l.b FROM flights AS f LEFT JOIN LATERAL (%s\n) AS l ON l.n = f.flight",
        "SELECT f.flight FROM flights AS f WHERE f.flight IN (SELECT n FROM (%s\n) AS s WHERE c IS NOT NULL)",
    ]))  # fmt: skip
    return Statement("derived", both(template, inner))


def _table(draw: st.DrawFn) -> Statement:
    """A table-valued form, or a join with a model table."""
    model, column, type_ = draw(st.sampled_from([
        ("delay", "delay.predict(%s)", "integer"), ("risk", "risk.predict(%s)", "boolean"),
        ("level", "level.predict(%s)", "text"), ("wood", "wood.predict(%s)", "integer"),
    ]))  # fmt: skip
    source = draw(st.sampled_from([
        "flights", "with_weather", "(SELECT * FROM flights WHERE distance > 300)", "target",
        "(SELECT carrier, max(distance) AS distance FROM flights GROUP BY carrier)",
    ]))  # fmt: skip
    named = f"{source} AS t"
    plain = f"(SELECT *, {column % 'carrier, distance'} AS our_p FROM {named}) AS t"
    query = source if source[0] == "(" else f"(SELECT * FROM {source})"
    form, value = draw(st.sampled_from([
        (f"PREDICT(MODEL = {model}, DATA = {named}) WITH (score {type_}) AS p", "p.score"),
        (f"ML.PREDICT(MODEL {model}, {query}) AS t", "t.predicted_y"),
        (f"{named} JOIN models.{model} AS p", "p.prediction"),
        (f"{named} LEFT JOIN models.{model} AS p ON p.carrier = t.carrier", "p.prediction"),
    ]))  # fmt: skip
    template = draw(st.sampled_from([
        "SELECT t.carrier, <p> AS x FROM <t>",
        "SELECT count(*), max(<p>::text) AS x FROM <t> WHERE t.distance < 800",
        "SELECT t.distance FROM <t> WHERE <p> IS NOT NULL AND t.carrier > 'B'",
        "SELECT t.carrier, count(*) FROM <t> GROUP BY t.carrier, <p>",
        "SELECT c.name, t.carrier, <p> AS x FROM <t> JOIN carriers AS c ON c.carrier = t.carrier",
        "SELECT c.name, <p> AS x FROM <t> RIGHT JOIN carriers AS c ON c.carrier = t.carrier AND distance > 9",
        "WITH s AS (SELECT t.carrier, t.distance, <p> AS x FROM <t>) SELECT * FROM s WHERE x IS NOT NULL",
        "SELECT t.distance, <p> AS x FROM <t> ORDER BY t.distance, 2 LIMIT 5",
        "SELECT DISTINCT <p> AS x FROM <t>",
        "SELECT c.name, (SELECT count(<p>) FROM <t> WHERE t.carrier = c.carrier) FROM carriers AS c",
        "SELECT <p> AS x, count(*) OVER (PARTITION BY <p>), rank() OVER (ORDER BY t.distance, <p>) FROM <t>",
        "UPDATE target SET value = length(<p>::text) FROM <t> WHERE t.distance = target.distance",
        "INSERT INTO nothing (carrier, distance) SELECT <p>::text, t.distance FROM <t>",
    ]))  # fmt: skip
    pairs = [(template.replace("<p>", v).replace("<t>", f)) for v, f in ((value, form), ("t.our_p", plain))]
    then = {"UPDATE": "SELECT id, value FROM target", "INSERT": "SELECT * FROM nothing"}.get(template[:6])
    return Statement("table", (pairs[0], pairs[1]), (then,) if then else ())


def _merge(draw: st.DrawFn) -> Statement:
    make = Expressions(draw, [TARGET, SOURCE], by_name=False)
    new = Expressions(draw, [SOURCE], by_name=False)
    old = draw(st.sampled_from(["UPDATE SET value = %s", "UPDATE SET (value, distance) = (%s, 7)", "DELETE"]))
    text = both(
        "MERGE INTO target AS t USING flights AS f ON f.flight = t.id + 5%s"
        " WHEN MATCHED AND %s THEN %s WHEN MATCHED THEN DO NOTHING"
        " WHEN NOT MATCHED AND %s THEN INSERT (id, value) VALUES (f.flight + 100, %s)",
        make.where(" AND "),
        make.truth(),
        both(old, make.number()),
        new.truth(),
        new.number(),
    )
    return Statement("merge", text, ("SELECT * FROM target",))


_KINDS: tuple[Callable[[st.DrawFn], Statement], ...] = (
    _select, _select, _select, _wrapped, _join, _correlated, _update, _delete, _insert, _set_operation, _view,
    _derived, _derived, _table, _merge,
)  # fmt: skip


@st.composite
def statements(draw: st.DrawFn) -> Statement:
    """A statement with its plain meaning."""
    return draw(st.sampled_from(_KINDS))(draw)
