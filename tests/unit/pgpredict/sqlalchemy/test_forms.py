"""What the constructs are compiled to, what they refuse at once, and what type checkers make of them."""

from __future__ import annotations

import copy
import datetime
import pickle
import re
from typing import Any, assert_type

import pytest
import sqlalchemy
from sqlalchemy import Double, Integer, Table, Text, bindparam, column, func, select, table
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, aliased, mapped_column
from sqlalchemy.sql.elements import ColumnElement

from pgpredict.sqlalchemy import Form, Model, predict, prediction_set, probability
from rewriter.forms import find_calls
from rewriter.scan import scan

t = table("t", column("id", Integer), column("a", Double), column("b", Double))


class Base(DeclarativeBase):
    pass


class Row(Base):
    __tablename__ = "row"
    id: Mapped[int] = mapped_column(primary_key=True)
    a: Mapped[float]
    renamed: Mapped[float] = mapped_column("b")


def dialect(name: str) -> Dialect:
    """Return the dialect of a driver; without one, as it is for printing."""
    return sqlalchemy.make_url(name + "://").get_dialect()()


PLAIN = dialect("postgresql+psycopg2")


def sql(expression: Any, of: Dialect = PLAIN) -> str:
    return " ".join(str(expression.compile(dialect=of)).split())


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (predict("m"), "PREDICT(m)"),
        (predict("m", "*"), "PREDICT(m USING *)"),
        (predict("m", t), "PREDICT(m USING t.*)"),
        (predict("m", t.c.a, t.c.b), "PREDICT(m USING t.a, t.b)"),
        (predict("m", t, a=t.c.a + t.c.b), "PREDICT(m USING t.*, t.a + t.b AS a)"),
        (predict("m", (t.c.a + t.c.b).label("Sum")), 'PREDICT(m USING t.a + t.b AS "Sum")'),
        (predict("m", t.c.a.label("b")), "PREDICT(m USING t.a AS b)"),
        (predict("m", b=t.c.a), "PREDICT(m USING t.a AS b)"),
        (predict("m", t.alias("u")), "PREDICT(m USING u.*)"),
        (predict("m", table("t", schema="Some where")), 'PREDICT(m USING "Some where".t.*)'),
        (predict("m", Row), "PREDICT(m USING row.*)"),
        (predict("m", Row.renamed), "PREDICT(m USING row.b)"),
        (predict("m", aliased(Row, name="r")), "PREDICT(m USING r.*)"),
        (predict("m", version=3, on_missing="null"), "PREDICT(m VERSION 3 ON MISSING NULL)"),
        (predict("m", t, version=3, on_missing="error"), "PREDICT(m VERSION 3 USING t.* ON MISSING ERROR)"),
        (predict("Late Arrival"), 'PREDICT("Late Arrival")'),
        (predict('say "x"'), 'PREDICT("say ""x""")'),
        (predict("select"), 'PREDICT("select")'),
        (predict("tablesample"), 'PREDICT("tablesample")'),
        (predict("models.m"), 'PREDICT("models.m")'),
        (probability("m"), "PROBABILITY(m)"),
        (probability("m", t, for_="yes"), "PROBABILITY(m FOR 'yes' USING t.*)"),
        (probability("m", for_=bindparam("c", type_=Text)), "PROBABILITY(m FOR %(c)s)"),
        (probability("m", for_=True), "PROBABILITY(m FOR true)"),
        (probability("m", for_=-3), "PROBABILITY(m FOR -3)"),
        (probability("m", for_=2.5), "PROBABILITY(m FOR '2.5')"),
        (probability("m", for_=datetime.date(2020, 1, 2)), "PROBABILITY(m FOR '2020-01-02')"),
        (probability("m", for_="it's 5 %"), "PROBABILITY(m FOR 'it''s 5 %%')"),
        (probability("m", for_=r"a\b"), r"PROBABILITY(m FOR E'a\\b')"),
        (probability("m", version=2, for_="a"), "PROBABILITY(m VERSION 2 FOR 'a')"),
        (prediction_set("m"), "PREDICTION_SET(m)"),
        (prediction_set("m", t, top=bindparam("n")), "PREDICTION_SET(m, %(n)s USING t.*)"),
        (predict("m", a=predict("n", t)), "PREDICT(m USING PREDICT(n USING t.*) AS a)"),
    ],
    ids=str,
)  # fmt: skip
def test_sql(form: Form[Any], expected: str) -> None:
    assert sql(form) == expected
    # and the rewriter takes it for what it is
    calls = find_calls(scan(re.sub(r"%\(\w+\)s", "$1", expected)))
    assert calls[0].model == form.model


def test_other_placeholders() -> None:
    statement = select(probability("m", t, for_="no")).where(predict("m", t) == "yes")
    assert "FOR 'no' USING" in sql(statement, dialect("postgresql+asyncpg"))
    assert sql(statement, dialect("postgresql+psycopg")).endswith("WHERE PREDICT(m USING t.*) = %(param_1)s")
    # what is compared with a prediction of unknown type gets a cast only where that cannot harm
    assert sql(predict("m") > 1, dialect("postgresql+psycopg")) == "PREDICT(m) > %(param_1)s::INTEGER"


def test_written_out() -> None:
    statement = select(probability("m", t, for_="it's"), predict("m", a=1) == "x", prediction_set("m", top=2))
    compiled = statement.compile(dialect=PLAIN, compile_kwargs={"literal_binds": True})
    assert "PROBABILITY(m FOR 'it''s' USING t.*)" in str(compiled)
    assert "PREDICT(m USING 1 AS a) = 'x'" in str(compiled)
    assert "PREDICTION_SET(m, 2)" in str(compiled)
    late = select(probability("m", for_=True)).compile(compile_kwargs={"literal_binds": True})
    assert "FOR true)" in str(late)


def test_names_of_columns() -> None:
    assert select(predict("m"), predict("m", t), probability("m")).selected_columns.keys() == [
        "predict",
        "predict_1",
        "probability",
    ]
    inner = select(t.c.id, predict("m", t)).subquery()
    assert "predict" in inner.c
    assert sql(select(inner.c.predict)).startswith("SELECT anon_1.predict_1 FROM (SELECT t.id AS id, PREDICT")


def test_from_objects() -> None:
    assert sql(select(predict("m", t))) == "SELECT PREDICT(m USING t.*) AS predict_1 FROM t"
    assert sql(select(predict("m", t.c.a))) == "SELECT PREDICT(m USING t.a) AS predict_1 FROM t"
    assert sql(select(predict("m", a=1))).endswith("AS predict_1")
    both = select(predict("m", t.join(u := t.alias("u"), t.c.id == u.c.id)))
    assert sql(both) == "SELECT PREDICT(m USING t.*, u.*) AS predict_1 FROM t JOIN t AS u ON t.id = u.id"


def key(expression: Any) -> Any:
    found = expression._generate_cache_key()
    assert found is not None
    return found.key


def test_cache_keys() -> None:
    different = [
        predict("m", t),
        predict("n", t),
        probability("m", t),
        probability("m", t, for_="yes"),
        predict("m", t.c.a),
        predict("m", t.c.b),
        predict("m", t.c.a, t.c.b),
        predict("m", b=t.c.a),
        predict("m"),
        predict("m", "*"),
        predict("m", t, version=1),
        predict("m", t, version=2),
        predict("m", t, on_missing="null"),
        predict("m", t.alias("u")),
        predict("m", t, type_=Integer),
        predict("m", t, type_=Text),
        predict("m", Row),
        prediction_set("m", t),
        prediction_set("m", t, top=1),
        prediction_set("m", t, top=1, cutoff=0.5),
        probability("m", t, for_="no"),
    ]
    assert len({key(form) for form in different}) == len(different)
    assert key(select(predict("m", t, a=1))) == key(select(predict("m", t, a=2)))
    assert key(select(predict("m", Row)).where(predict("m", Row) == "x")) == key(
        select(predict("m", Row)).where(predict("m", Row) == "y")
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: predict("m", t.c.a + 1), "needs the name of its feature"),
        (lambda: predict("m", "a"), "'a' is no feature"),
        (lambda: predict("m", 5), "5 is no feature"),
        (lambda: predict("m", None), "None is no feature"),
        (lambda: predict("m", select(t)), "a SELECT is no source of features"),
        (lambda: predict("m", Row(a=1)), "Row is given as an object"),
        (lambda: predict("m", version=0), "version 0 is no positive integer"),
        (lambda: predict("m", version=True), "version True is no positive integer"),
        (lambda: predict("m", on_missing="x"), "on_missing='x'"),  # type: ignore[call-overload]
        (lambda: probability("m", for_=t.c.a), "is no class"),  # type: ignore[arg-type]
        (lambda: probability("m", for_=Row.a), "is no class"),  # type: ignore[arg-type]
    ],
)
def test_refused(make: Any, message: str) -> None:
    with pytest.raises(sqlalchemy.exc.ArgumentError, match=message):
        make()


def test_other_databases() -> None:
    with pytest.raises(sqlalchemy.exc.CompileError, match="PREDICT is for PostgreSQL, not for 'sqlite'"):
        sql(predict("m", t), dialect("sqlite"))
    assert str(predict("m", t)) == "PREDICT(m USING t.*)"


def test_a_renaming_subquery() -> None:
    labelled = select(t).set_label_style(sqlalchemy.LABEL_STYLE_TABLENAME_PLUS_COL).subquery()
    with pytest.raises(sqlalchemy.exc.CompileError, match="<table>_<column>"):
        sql(predict("m", labelled))
    assert sql(predict("m", select(t).subquery("s"))) == "PREDICT(m USING s.*)"


def test_copies() -> None:
    form = predict("m", t, a=1, type_=Integer)
    assert sql(copy.copy(form)) == sql(form)
    assert sql(pickle.loads(pickle.dumps(form))) == sql(form)
    alias = t.alias("u")
    adapted = sqlalchemy.sql.util.ClauseAdapter(alias).traverse(predict("m", t, b=t.c.a))
    assert sql(adapted) == "PREDICT(m USING u.*, u.a AS b)"


def test_types() -> None:
    assert isinstance(probability("m").type, Double)
    assert isinstance(prediction_set("m").type, postgresql.JSONB)
    assert isinstance(predict("m", type_=Integer).type, Integer)
    assert isinstance((predict("m") == "x").type, sqlalchemy.Boolean)
    assert sql(predict("m") + "x") == "PREDICT(m) || %(param_1)s"
    unknown = Table("x", sqlalchemy.MetaData(), sqlalchemy.Column("p", predict("m").type))
    with pytest.raises(sqlalchemy.exc.CompileError, match="type of a prediction is not known"):
        sql(sqlalchemy.schema.CreateTable(unknown))


def test_what_type_checkers_see() -> None:
    late = Model("late", Text())
    assert_type(predict(late), Form[str])
    assert_type(predict(late, Row, Row.a, version=1, distance=Row.a * 2), Form[str])
    assert_type(predict("late", Row, type_=Integer), Form[int])
    assert_type(predict("late", Row, type_=Integer()), Form[int])
    assert_type(predict("late", Row), Form[Any])
    assert_type(probability(late, Row, for_="yes"), Form[float])
    assert_type(prediction_set("late", Row), Form[list[dict[str, Any]]])
    assert_type(predict(late) == "yes", ColumnElement[bool])
    assert_type(probability(late).label("p"), sqlalchemy.Label[float])
    assert_type(func.max(probability(late)), sqlalchemy.sql.functions.max[float])
