"""Predictions of ORM entities: aliases, inheritance, relationships, loading, and changes."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import delete, func, insert, inspect, select, update
from sqlalchemy.orm import (
    Bundle,
    Session,
    aliased,
    contains_eager,
    joinedload,
    selectinload,
    subqueryload,
    undefer,
    with_loader_criteria,
    with_polymorphic,
)

from pgpredict.sqlalchemy import predict, probability
from tests.fix_sqlalchemy import Ways
from tests.orm import COUNT, ROWS, Animal, Cat, Dog, Item, Place, Saved, chance

pytestmark = pytest.mark.one_server

YES = [row["id"] for row in ROWS if chance(row) == "yes"]
LIKELY = predict("chance", Item) == "yes"


def got(statement: Any) -> Any:
    return lambda session: [tuple(row) for row in session.execute(statement)]


def ids(statement: Any) -> Any:
    return lambda session: [getattr(found, "id", found) for found in session.scalars(statement)]


def test_entities_and_attributes(ways: Ways) -> None:
    def work(session: Session) -> list[Any]:
        statement = select(Item, predict("weight", Item), predict("chance", Item.share.label("x"))).order_by(
            Item.id
        )
        return [(item.id, item.share, weight, label) for item, weight, label in session.execute(statement)]

    ways.same(work, [(row["id"], row["share"], 10 * row["a"], chance(row)) for row in ROWS])
    # an attribute is the feature of its column's name
    ways.same(ids(select(predict("chance", Item.share)).where(Item.id == 1)), ["yes"])
    bundled: Any = select(Bundle("b", Item.id, predict("weight", Item).label("w"))).where(Item.id == 3)
    ways.same(lambda session: [(b.id, b.w) for (b,) in session.execute(bundled)], [(3, 15.0)])


def test_aliases_and_subqueries(ways: Ways) -> None:
    one, two = aliased(Item), aliased(Item, name="two")
    statement = select(
        one.id, predict("weight", one), predict("weight", two), predict("chance", two.share)
    ).join(two, two.id == one.id + 1)
    second = ROWS[1]
    ways.same(got(statement.where(one.id == 1)), [(1, 5.0, 10.0, chance(second))])
    part = select(Item).where(LIKELY).subquery()
    likely = aliased(Item, part)
    ways.same(ids(select(likely).where(predict("weight", likely) > 0).order_by(likely.id)), YES)
    ways.same(ids(select(func.sum(predict("weight", part)))), [sum(10 * ROWS[n - 1]["a"] for n in YES)])
    ways.same(ids(select(Item).from_statement(select(Item).where(LIKELY).order_by(Item.id))), YES)
    ways.same(
        ids(
            select(Item)
            .where(Item.id.in_(select(one.id).where(predict("chance", one) == "yes")))
            .order_by(Item.id)
        ),
        YES,
    )


def test_column_properties(ways: Ways) -> None:
    def deferred(session: Session) -> list[Any]:
        item = session.get_one(Item, 4)
        before = "weight" in inspect(item).unloaded
        return [before, item.weight, item.chance]  # type: ignore[attr-defined]

    ways.same(deferred, [True, 20.0, "yes"])

    def undeferred(session: Session) -> list[Any]:
        statement = select(Item).options(undefer(Item.weight)).order_by(Item.weight.desc()).limit(2)
        items = session.scalars(statement).all()
        return [(item.id, item.weight, inspect(item).unloaded >= {"weight"}) for item in items]

    ways.same(undeferred, [(30, 150.0, False), (29, 145.0, False)])
    other = aliased(Item)
    ways.same(got(select(other.weight, other.chance).where(other.id == 4)), [(20.0, "yes")])  # type: ignore[attr-defined]
    ways.same(ids(select(Item.id).where(Item.weight > 140).order_by(Item.id)), [29, 30])

    # within the subquery that LIMIT and a joined collection make necessary
    def joined(session: Session) -> list[Any]:
        statement = (
            select(Place).options(joinedload(Place.items).undefer(Item.weight)).order_by(Place.id).limit(1)
        )
        place = session.scalars(statement).unique().one()
        return [item.weight for item in place.items]

    ways.same(joined, [10 * row["a"] for row in ROWS if row["place_id"] == 1])

    def limited(session: Session) -> list[Any]:
        risk = probability("chance", Item, for_="yes")
        statement = (
            select(Item)
            .options(joinedload(Item.place), undefer(Item.weight))
            .order_by(risk.desc(), Item.id)
            .limit(2)
        )
        return [(item.id, item.weight, item.place.name) for item in session.scalars(statement)]

    ways.same(limited, [(7, 35.0, "place 2"), (17, 85.0, "place 3")])

    def limited_collection(session: Session) -> list[Any]:
        best = select(func.max(predict("weight", Item))).where(Item.place_id == Place.id).scalar_subquery()
        statement = select(Place, best).options(joinedload(Place.items)).order_by(best.desc()).limit(2)
        return [(place.id, value, len(place.items)) for place, value in session.execute(statement).unique()]

    ways.same(limited_collection, [(1, 150.0, 10), (3, 145.0, 10)])


def test_hybrids(ways: Ways) -> None:
    risk = Item.risk
    ways.same(ids(select(Item).where(risk > 0.75).order_by(risk.desc(), Item.id)), [7, 17, 27, 4, 14, 24])
    other = aliased(Item)
    ways.same(ids(select(other.id).where(other.risk > 0.85).order_by(other.id)), [7, 17, 27])
    ways.same(lambda session: round(session.get_one(Item, 4).risk, 9), 0.8)
    # under their own names
    named = select(Item.risk, Item.weight, predict("weight", Item)).where(Item.id == 4)
    ways.same(lambda session: list(session.execute(named).keys()), ["risk", "weight", "predict"])
    part = named.subquery()
    assert part.c.keys() == ["risk", "weight", "predict"]
    ways.same(got(select(part.c.weight, part.c.predict)), [(20.0, 20.0)])


def test_an_object_is_no_source() -> None:
    with pytest.raises(sqlalchemy.exc.ArgumentError, match=r"Item is given as an object.*hint"):
        predict("weight", Item(a=1))


def test_relationships(ways: Ways) -> None:
    by_place = {place: [n for n in YES if ROWS[n - 1]["place_id"] == place] for place in (1, 2, 3)}

    def lazily(session: Session) -> Any:
        return {place.id: [item.id for item in place.likely] for place in session.scalars(select(Place))}

    ways.same(lazily, by_place)
    for load in (selectinload, joinedload, subqueryload):

        def eagerly(session: Session, load: Any = load) -> Any:
            places = session.scalars(select(Place).options(load(Place.likely))).unique()
            return {place.id: [item.id for item in place.likely] for place in places}

        ways.same(eagerly, by_place)
    ways.same(ids(select(Place.id).join(Place.items.and_(LIKELY)).distinct().order_by(Place.id)), [1, 2, 3])
    ways.same(ids(select(Place.id).where(Place.items.any(predict("weight", Item) > 145))), [1])
    ways.same(
        ids(select(Item.id).where(Item.place.has(Place.name == "place 1"), LIKELY).order_by(Item.id)),
        by_place[1],
    )
    joined = select(Place.name, predict("weight", Item)).join(Item.place).where(Item.id == 3)
    ways.same(got(joined), [("place 1", 15.0)])

    def contained(session: Session) -> Any:
        statement = (
            select(Place)
            .join(Place.items)
            .where(LIKELY)
            .options(contains_eager(Place.items))
            .order_by(Place.id, Item.id)
        )
        places = session.scalars(statement.execution_options(populate_existing=True)).unique()
        return {place.id: [item.id for item in place.items] for place in places}

    ways.same(contained, by_place)


def test_loader_criteria(ways: Ways) -> None:
    def work(session: Session) -> Any:
        only = with_loader_criteria(Item, lambda cls: predict("chance", cls) == "yes")
        found = [item.id for item in session.scalars(select(Item).order_by(Item.id).options(only))]
        places = session.scalars(select(Place).order_by(Place.id).options(selectinload(Place.items), only))
        return [found, sorted(item.id for place in places for item in place.items)]

    ways.same(work, [YES, YES])
    alias = aliased(Item)
    aliases = (
        select(alias.id)
        .order_by(alias.id)
        .options(with_loader_criteria(Item, lambda cls: predict("weight", cls) > 140, include_aliases=True))
    )
    ways.same(ids(aliases), [29, 30])


def test_inheritance(ways: Ways) -> None:
    # the columns of both tables
    both = select(Dog, predict("weight", Dog), predict("chance", Dog)).order_by(Dog.id)
    expected = [(float(n), 10.0 * n, "yes" if n > 5 else "no") for n in range(1, 11)]
    ways.same(
        lambda session: [(dog.a, weight, label) for dog, weight, label in session.execute(both)], expected
    )
    ways.same(ids(select(func.sum(predict("weight", Dog.a)))), [550.0])
    # one table, of which a part is meant
    ways.same(ids(select(func.sum(predict("weight", Cat)))), [360.0])
    ways.same(ids(select(predict("weight", Cat)).order_by(Cat.id)), [110.0, 120.0, 130.0])
    ways.same(ids(select(func.sum(predict("weight", Animal)))), [910.0])
    flat = aliased(Dog, flat=True)
    ways.same(ids(select(func.sum(predict("weight", flat))).where(predict("chance", flat) == "yes")), [400.0])
    every = with_polymorphic(Animal, [Dog], flat=True)
    ways.same(
        ids(select(predict("weight", every)).where(every.Dog.x > 0.85).order_by(every.id)), [90.0, 100.0]
    )
    nested = aliased(Dog)
    with pytest.raises(sqlalchemy.exc.CompileError, match=r"called <table>_<column>.*flat=True"):
        str(select(predict("weight", nested)))
    ways.same(ids(select(func.sum(predict("weight", nested.a)))), [550.0])


def test_get_and_refresh(ways: Ways) -> None:
    def work(session: Session) -> list[Any]:
        item = session.get_one(Item, 2, options=[undefer(Item.weight)])
        seen = [item.weight]
        item.a = 100
        session.flush()
        session.refresh(item, ["weight"])
        seen.append(item.weight)
        session.expire(item)
        seen += [item.weight, item.risk]
        fresh = session.get_one(Item, 2, populate_existing=True, options=[undefer(Item.weight)])
        return [*seen, fresh.weight, fresh is item]

    ways.same(work, [10.0, 1000.0, 1000.0, 0.4, 1000.0, True])


@pytest.mark.parametrize("synchronize", ["auto", "fetch", "evaluate", False])
def test_updates(ways: Ways, synchronize: Any) -> None:
    options = {"synchronize_session": synchronize}

    def work(session: Session) -> list[Any]:
        items = session.scalars(select(Item).order_by(Item.id)).all()
        session.execute(
            update(Item).where(LIKELY).values(guess=predict("weight", Item)), execution_options=options
        )
        if synchronize is False:
            session.expire_all()
        return [item.id for item in items if item.guess == item.a * 10]

    if synchronize == "evaluate":
        for way in ways:
            with pytest.raises(sqlalchemy.exc.InvalidRequestError, match="Could not evaluate"):
                way.run(work)
        return
    ways.same(work, YES)

    def deleted(session: Session) -> list[Any]:
        rows = session.scalars(select(Saved)).all()
        session.execute(delete(Saved).where(predict("weight", Saved) > 25), execution_options=options)
        if synchronize is False:
            session.expire_all()
            return sorted(session.scalars(select(Saved.id)))
        return sorted(row.id for row in rows if not inspect(row).deleted and row in session)

    ways.same(deleted, [1, 2])


def test_bulk(ways: Ways) -> None:
    def returned(session: Session) -> list[Any]:
        rows = session.execute(
            insert(Saved).returning(Saved.id, predict("weight", Saved), sort_by_parameter_order=True),
            [{"id": 100 + n, "a": n} for n in range(5)],
        )
        return [tuple(row) for row in rows]

    ways.same(returned, [(100 + n, 10.0 * n) for n in range(5)])

    def from_select(session: Session) -> list[Any]:
        session.execute(
            insert(Saved).from_select(
                ["id", "p"], select(Item.id + 100, predict("weight", Item)).where(Item.id < 3)
            )
        )
        session.add(saved := Saved(id=300, a=3, p=predict("weight", a=3)))
        session.flush()
        session.execute(
            update(Saved).where(Saved.id == 1).values(p=predict("weight", Saved)).returning(Saved.p)
        )
        rows = session.scalars(select(Saved.p).where(Saved.p.is_not(None)).order_by(Saved.id))
        return [*rows, saved.p]

    ways.same(from_select, [10.0, 5.0, 10.0, 30.0, 30.0])

    def loaded(session: Session) -> int:
        pairs = session.execute(select(Item, predict("weight", Item)).execution_options(yield_per=7))
        return sum(weight == item.a * 10 for item, weight in pairs)

    ways.same(loaded, COUNT)


def test_query(ways: Ways) -> None:
    """The 1.x style, which is still there."""
    ways.same(lambda session: [item.id for item in session.query(Item).filter(LIKELY).order_by(Item.id)], YES)
    ways.same(lambda session: session.query(Item).filter(LIKELY).count(), len(YES))
    ways.same(lambda session: session.query(predict("weight", Item)).filter_by(id=3).scalar(), 15.0)
