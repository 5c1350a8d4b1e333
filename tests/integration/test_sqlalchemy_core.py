"""``predict`` and its like in every clause, by every driver, directly and through the proxy."""

from __future__ import annotations

import datetime
import math
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import (
    Integer,
    bindparam,
    case,
    cast,
    delete,
    exists,
    func,
    insert,
    lateral,
    literal,
    select,
    text,
    union_all,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from pgpredict.sqlalchemy import predict, prediction_set, probability
from tests.fix_sqlalchemy import Ways, sqlstate
from tests.orm import COUNT, ROWS, WEIGHT, Base, Mood, chance

pytestmark = pytest.mark.one_server

TABLES = Base.metadata.tables
item = TABLES["item"]
saved = TABLES["saved"]
YES = [row["id"] for row in ROWS if chance(row) == "yes"]


def got(statement: Any) -> Any:
    """What gets the rows of a statement, as tuples."""
    return lambda session: [tuple(row) for row in session.execute(statement)]


def ids(statement: Any) -> Any:
    """What gets the first column of a statement."""
    return lambda session: list(session.scalars(statement))


def test_select(ways: Ways) -> None:
    statement = select(item.c.id, predict("weight", item.c.a), predict("chance", item)).order_by(item.c.id)
    ways.same(got(statement), [(row["id"], 10 * row["a"], chance(row)) for row in ROWS])


def test_columns_have_names(ways: Ways) -> None:
    statement = select(predict("weight", item), probability("chance", item, for_="yes").label("risk")).limit(
        1
    )
    ways.same(lambda session: list(session.execute(statement).keys()), ["predict_1", "risk"])
    named = select(predict("weight", item)).subquery()
    ways.same(ids(select(func.count()).where(named.c.predict > 0)), [COUNT])


def test_features_of_the_from_clause(ways: Ways) -> None:
    ways.same(
        ids(select(predict("weight")).select_from(item).order_by(item.c.id)), [10 * row["a"] for row in ROWS]
    )
    more = select(predict("weight", "*", a=item.c.a + 1)).order_by(item.c.id)
    ways.same(ids(more), [10 * row["a"] + 10 for row in ROWS])


def test_features_by_name(ways: Ways) -> None:
    forms = [
        predict("weight", item, a=item.c.a * 2),
        predict("weight", a=item.c.a * 2),
        predict("weight", (item.c.a * 2).label("a")),
        predict("weight", item.c.a) * 2,
    ]
    ways.same(got(select(*forms).where(item.c.id == 3)), [(30.0,) * 4])


def test_values(ways: Ways) -> None:
    ways.same(
        got(
            select(
                predict("weight", a=1.5), predict("weight", a=bindparam("a", 2)), predict("chance", x=0.75)
            )
        ),
        [(15.0, 20.0, "yes")],
    )
    ways.same(ids(select(predict("weight", a=None, on_missing="null"))), [None])
    ways.same(ids(select(predict("weight", a=literal(Decimal("1.5"))))), [15.0])
    repeated = select(predict("weight", a=bindparam("a", type_=sqlalchemy.Double())))
    ways.same(
        lambda session: [session.scalar(repeated, {"a": n}) or 0.0 for n in range(20)],
        [10.0 * n for n in range(20)],
    )


def test_where_order_and_limit(ways: Ways) -> None:
    risk = probability("chance", item, for_="yes")
    statement = (
        select(item.c.id)
        .where(predict("chance", item) == "yes", risk < 0.8)
        .order_by(risk.desc(), item.c.id)
        .limit(5)
    )
    likely = sorted(
        (row for row in ROWS if 0.5 < row["share"] < 0.8), key=lambda row: (-row["share"], row["id"])
    )
    ways.same(ids(statement), [row["id"] for row in likely[:5]])
    ways.same(
        ids(select(item.c.id).where(predict("chance", item).in_(["yes", "perhaps"])).order_by(item.c.id)), YES
    )
    ways.same(ids(select(func.count()).where(predict("chance", item).like("y%"))), [len(YES)])
    ways.same(ids(select(func.count()).where(predict("weight", item).between(50, 100.0))), [11])
    ways.same(ids(select(func.count()).where(predict("weight", item).is_not(None))), [COUNT])


def test_group_by_and_having(ways: Ways) -> None:
    label = predict("chance", item)
    statement = (
        select(label, func.count(), func.avg(probability("chance", item, for_="yes")))
        .group_by(label)
        .order_by(label)
    )
    rows = ways.same(
        lambda session: [(name, count, round(mean, 9)) for name, count, mean in session.execute(statement)]
    )
    shares = [[row["share"] for row in ROWS if chance(row) == name] for name in ("no", "yes")]
    assert rows == [
        (name, len(part), round(sum(part) / len(part), 9))
        for name, part in zip(("no", "yes"), shares, strict=True)
    ]
    # written twice, and one expression all the same
    twice = select(probability("chance", item, for_="yes"), func.count()).group_by(
        probability("chance", item, for_="yes")
    )
    assert len(ways.same(got(twice.order_by(probability("chance", item, for_="yes"))))) == 10
    having = (
        select(item.c.place_id).group_by(item.c.place_id).having(func.sum(predict("weight", item.c.a)) > 780)
    )
    totals = {place: sum(10 * row["a"] for row in ROWS if row["place_id"] == place) for place in (1, 2, 3)}
    ways.same(
        ids(having.order_by(item.c.place_id)), [place for place, total in totals.items() if total > 780]
    )


def test_windows_and_aggregates(ways: Ways) -> None:
    weight = predict("weight", item)
    statement = select(
        item.c.id,
        func.rank().over(order_by=weight.desc()),
        func.sum(weight).over(partition_by=predict("chance", item), order_by=item.c.id),
    ).order_by(item.c.id)
    running = {"no": 0.0, "yes": 0.0}
    expected = []
    for row in ROWS:
        running[chance(row)] += 10 * row["a"]
        expected.append((row["id"], COUNT + 1 - row["id"], running[chance(row)]))
    ways.same(got(statement), expected)
    counted = select(func.count().filter(predict("chance", item) == "yes"), func.max(weight)).select_from(
        item
    )
    ways.same(got(counted), [(len(YES), 150.0)])


def test_expressions(ways: Ways) -> None:
    weight, label = predict("weight", item), predict("chance", item)
    statement = select(
        weight + 1,
        weight / 4,
        -weight,
        label + "!",
        label == "no",
        cast(weight, Integer),
        func.upper(label),
        case((label == "yes", weight), else_=0),
        weight > item.c.a,
    ).where(item.c.id == 8)
    ways.same(got(statement), [(41.0, 10.0, -40.0, "yes!", False, 40, "YES", 40.0, True)])


def test_types(ways: Ways) -> None:
    statement = select(
        predict("rounded", a=1.0),
        predict("exact", a=1.5),
        predict("is_likely", x=0.6),
        predict("feeling", x=0.6),
    )
    rows = ways.same(got(statement), [(1, Decimal("1.5"), True, "happy")])
    assert [type(value) for value in rows[0]] == [int, Decimal, bool, str]
    likely = predict("is_likely", item)
    ways.same(ids(select(item.c.id).where(likely).order_by(item.c.id)), YES)
    ways.same(ids(select(func.count()).where(~likely)), [COUNT - len(YES)])
    ways.same(ids(select(func.count()).where(predict("feeling", item) == "happy")), [len(YES)])
    typed = predict("feeling", x=0.2, type_=sqlalchemy.Enum(Mood, name="mood"))
    ways.same(got(select(typed, typed == Mood.sad)), [(Mood.sad, True)])
    ways.same(ids(select(func.count()).where(predict("rounded", item) / 2 > 5.2)), [9])
    ways.same(ids(select(predict("rounded", a=7.0) > 6.5)), [True])


def test_classes(ways: Ways) -> None:
    forms = [
        probability("chance", item),
        probability("chance", item, for_="no"),
        probability("chance", item, for_=bindparam("c", "yes")),
        probability("is_likely", item, for_=True),
        probability("feeling", item, for_=Mood.happy),
        probability("chance", item, for_=bindparam("d", "yes", literal_execute=True)),
    ]

    def work(session: Session) -> list[Any]:
        row: Any = session.execute(select(*forms).where(item.c.id == 1)).one()
        return [round(value, 9) for value in row]

    ways.same(work, [0.7, 0.3, 0.7, 0.7, 0.7, 0.7])
    ways.same(
        lambda session: round(session.scalar(select(forms[2]).where(item.c.id == 1), {"c": "no"}) or 0, 9),
        0.3,
    )


def test_prediction_set(ways: Ways) -> None:
    likeliest = [{"prediction": "yes", "probability": 0.75}, {"prediction": "no", "probability": 0.25}]
    forms = [
        prediction_set("chance", x=0.75),
        prediction_set("chance", x=0.75, top=1),
        prediction_set("chance", x=0.75, cutoff=0.3),
        prediction_set("chance", x=0.75, top=bindparam("top", 2), cutoff=0.1),
    ]
    ways.same(got(select(*forms)), [(likeliest, likeliest[:1], likeliest[:1], likeliest)])
    ways.same(
        ids(select(prediction_set("chance", item)[0]["prediction"].astext).where(item.c.id == 1)), ["yes"]
    )
    each = (
        func.jsonb_to_recordset(prediction_set("chance", item))
        .table_valued(
            sqlalchemy.column("prediction", sqlalchemy.Text),
            sqlalchemy.column("probability", sqlalchemy.Double),
        )
        .render_derived(with_types=True)
    )
    rows = ways.same(
        got(
            select(item.c.id, each.c.prediction)
            .select_from(item)
            .join(each, sqlalchemy.true())
            .where(item.c.id < 3)
            .order_by(item.c.id, each.c.prediction)
        )
    )
    assert rows == [(1, "no"), (1, "yes"), (2, "no"), (2, "yes")]


def test_versions_and_missing_features(ways: Ways) -> None:
    ways.same(ids(select(predict("weight", item, version=1)).where(item.c.id == 2)), [10.0])
    nothing = sqlalchemy.null()
    ways.same(ids(select(predict("weight", a=nothing, on_missing="null"))), [None])
    [unknown] = ways.all[0].run(ids(select(predict("weight", a=nothing))))
    assert math.isnan(unknown)
    for way in ways:
        with pytest.raises(sqlalchemy.exc.DBAPIError) as caught:
            way.run(ids(select(predict("weight", a=nothing, on_missing="error"))))
        assert sqlstate(caught.value) == "22004"


def test_names(ways: Ways) -> None:
    elsewhere = TABLES["Other.Else Where"]
    ways.same(
        got(select(predict("Odd Model", item.c.a), predict("select", item.c.a)).where(item.c.id == 4)),
        [(4.0, 6.0)],
    )
    statement = select(
        predict("odd_feature", elsewhere),
        predict("weight", elsewhere),
        predict("odd_feature", elsewhere.c["Odd %(Feature)s"]),
        predict("odd_feature", elsewhere.c.a.label("Odd %(Feature)s")),
    )
    ways.same(got(statement.order_by(elsewhere.c.id).limit(1)), [(4.0, 10.0, 4.0, 4.0)])
    translated = {"schema_translate_map": {"Moved": "Other"}}
    moved = elsewhere.to_metadata(sqlalchemy.MetaData(), schema="Moved")
    query: Any = (
        select(predict("weight", moved)).order_by(moved.c.id).limit(1).execution_options(**translated)
    )
    ways.same(ids(query), [10.0])


def test_subqueries(ways: Ways) -> None:
    inner = (
        select(item.c.id, item.c.a, predict("chance", item).label("label")).where(item.c.id <= 10).subquery()
    )
    ways.same(
        ids(select(func.sum(predict("weight", inner))).where(inner.c.label == "yes")),
        [sum(10 * row["a"] for row in ROWS[:10] if chance(row) == "yes")],
    )
    cte = select(item.c.id, predict("weight", item).label("w")).cte("weights")
    ways.same(ids(select(cte.c.w).join(item, item.c.id == cte.c.id).where(item.c.id == 5)), [25.0])
    place = TABLES["place"]
    some = exists().where(item.c.place_id == place.c.id, predict("weight", item) > 145)
    ways.same(ids(select(place.c.id).where(some)), [1])
    best = (
        select(func.max(predict("weight", item.c.a))).where(item.c.place_id == place.c.id).scalar_subquery()
    )
    ways.same(got(select(place.c.id, best).order_by(place.c.id)), [(1, 150.0), (2, 140.0), (3, 145.0)])
    top = lateral(
        select(item.c.id, probability("chance", item, for_="yes").label("p"))
        .where(item.c.place_id == place.c.id)
        .order_by(sqlalchemy.desc("p"), item.c.id)
        .limit(1)
    )
    assert (
        len(ways.same(got(select(place.c.id, top.c.id).join(top, sqlalchemy.true()).order_by(place.c.id))))
        == 3
    )
    both = union_all(
        select(predict("weight", item).label("w")).where(item.c.id == 1),
        select(predict("Odd Model", item)).where(item.c.id == 1),
    ).order_by("w")
    ways.same(ids(both), [1.0, 5.0])
    one = item.alias("one")
    joined = (
        select(one.c.id, predict("weight", one), predict("weight", item))
        .join(item, item.c.id == one.c.id + 1)
        .where(one.c.id == 1)
    )
    ways.same(got(joined), [(1, 5.0, 10.0)])
    on = (
        select(func.count())
        .select_from(place)
        .join(item, sqlalchemy.and_(item.c.place_id == place.c.id, predict("chance", item) == "yes"))
    )
    ways.same(ids(on), [len(YES)])
    values = sqlalchemy.values(
        sqlalchemy.column("k", Integer), sqlalchemy.column("a", sqlalchemy.Double), name="v"
    ).data([(1, 1.5), (2, 2.5)])
    ways.same(
        ids(select(predict("weight", a=cast(values.c.a, sqlalchemy.Double))).order_by(values.c.k)),
        [15.0, 25.0],
    )


def test_changes(ways: Ways) -> None:
    def updated(session: Session) -> list[Any]:
        connection = session.connection()
        connection.execute(
            update(item).values(guess=predict("weight", item)).where(predict("chance", item) == "yes")
        )
        return list(
            connection.scalars(select(item.c.id).where(item.c.guess == item.c.a * 10).order_by(item.c.id))
        )

    ways.same(updated, YES)

    def inserted(session: Session) -> list[Any]:
        connection = session.connection()
        connection.execute(
            insert(saved).from_select(
                ["id", "p"], select(item.c.id + 100, predict("weight", item.c.a)).where(item.c.id <= 3)
            )
        )
        return [
            tuple(row)
            for row in connection.execute(
                select(saved.c.id, saved.c.p).where(saved.c.id > 100).order_by(saved.c.id)
            )
        ]

    ways.same(inserted, [(101, 5.0), (102, 10.0), (103, 15.0)])

    def deleted(session: Session) -> list[Any]:
        connection = session.connection()
        gone = connection.scalars(delete(saved).where(predict("weight", saved) > 25).returning(saved.c.id))
        return [sorted(gone), connection.scalar(select(func.count()).select_from(saved))]

    ways.same(deleted, [[3, 4, 5], 2])

    def returned(session: Session) -> list[Any]:
        connection = session.connection()
        first = connection.execute(
            insert(saved)
            .values(id=200, a=4.5)
            .returning(saved.c.id, predict("weight", saved), predict("weight", saved.c.a).label("again"))
        ).one()
        second = connection.execute(
            update(saved).values(a=7).where(saved.c.id == 200).returning(predict("weight", saved))
        ).one()
        return [*first, *second]

    ways.same(returned, [200, 45.0, 45.0, 70.0])

    def conflicting(session: Session) -> list[Any]:
        connection = session.connection()
        statement = postgresql.insert(saved).values(id=1, a=9)
        statement = statement.on_conflict_do_update(
            index_elements=["id"], set_={"p": predict("weight", statement.excluded)}
        )
        connection.execute(statement)
        return [connection.scalar(select(saved.c.p).where(saved.c.id == 1))]

    ways.same(conflicting, [90.0])

    def many(session: Session) -> list[Any]:
        connection = session.connection()
        connection.execute(
            update(saved)
            .where(saved.c.id == bindparam("k"))
            .values(p=predict("weight", a=bindparam("v", type_=sqlalchemy.Double()))),
            [{"k": n, "v": n} for n in (1, 2, 3)],
        )
        return list(connection.scalars(select(saved.c.p).where(saved.c.p.is_not(None)).order_by(saved.c.id)))

    ways.same(many, [10.0, 20.0, 30.0])

    def from_another(session: Session) -> list[Any]:
        connection = session.connection()
        source = select(item.c.id, predict(WEIGHT, item).label("p")).subquery()
        connection.execute(update(saved).values(p=source.c.p).where(saved.c.id == source.c.id))
        return list(connection.scalars(select(saved.c.p).order_by(saved.c.id)))

    ways.same(from_another, [5.0, 10.0, 15.0, 20.0, 25.0])


def test_streams(ways: Ways) -> None:
    numbers = func.generate_series(1, 20_000).column_valued("n")
    statement = select(predict("weight", a=cast(numbers, sqlalchemy.Double))).execution_options(
        yield_per=1000
    )
    ways.same(lambda session: sum(session.scalars(statement)), 10.0 * 20_000 * 20_001 / 2)


def test_texts(ways: Ways) -> None:
    """The forms in SQL of the user's own."""
    statement = text(
        "SELECT id, PREDICT(weight) AS w FROM item "
        "WHERE PROBABILITY(chance FOR :class) > :least ORDER BY id LIMIT 2"
    )
    ways.same(
        lambda session: [tuple(row) for row in session.execute(statement, {"class": "yes", "least": 0.65})],
        [(1, 5.0), (4, 20.0)],
    )
    today = datetime.date(2020, 1, 1)
    typed = text("SELECT CAST(:day AS date) AS day, PREDICT(weight USING 1.0::float8 AS a) AS w").columns(
        day=sqlalchemy.Date, w=sqlalchemy.Double
    )
    ways.same(lambda session: tuple(session.execute(typed, {"day": today}).one()), (today, 10.0))
