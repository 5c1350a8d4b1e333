"""What Django's expressions become, without a database."""

from __future__ import annotations

import datetime
import pickle
from decimal import Decimal
from typing import Any

import django
import pytest
from django.conf import settings

if not settings.configured:
    nowhere = {"HOST": "/nowhere", "NAME": "none", "USER": "nobody"}
    settings.configure(
        DATABASES={
            "default": {"ENGINE": "pgpredict.django", **nowhere},
            "lite": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"},
        },
        INSTALLED_APPS=["pgpredict.django"],
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    )
    django.setup()

from django.core.exceptions import FieldError
from django.db import connections, migrations, models
from django.db.migrations.writer import MigrationWriter
from django.db.models import Avg, Case, F, Index, OuterRef, Q, Subquery, Sum, UniqueConstraint, Value, When
from django.db.models.functions import Coalesce, Concat
from django.db.utils import NotSupportedError

from pgpredict.django import Predict, PredictionField, PredictionSet, Probability
from pgpredict.django.operations import DropModel, GrantModel, ImportModel, PgpredictExtension, TrainModel
from pgpredict.django.validation import check_models


class Plane(models.Model):  # type: ignore[misc]
    """A related table."""

    seats = models.IntegerField()

    class Meta:
        """Of the model."""

        app_label = "pgpredict"
        db_table = "plane"


class Flight(models.Model):  # type: ignore[misc]
    """A table."""

    plane = models.ForeignKey(Plane, models.CASCADE)
    distance = models.FloatField(db_column="miles")

    class Meta:
        """Of the model."""

        app_label = "pgpredict"
        db_table = "flight"


class Jet(Plane):
    """Inherits."""

    thrust = models.FloatField()

    class Meta:
        """Of the model."""

        app_label = "pgpredict"
        db_table = "jet"


class Fighter(Jet):
    """Inherits once more, and has no column of its own."""

    class Meta:
        """Of the model."""

        app_label = "pgpredict"
        db_table = "fighter"


class Mission(models.Model):  # type: ignore[misc]
    """Leads to tables that inherit."""

    fighter = models.ForeignKey(Fighter, models.CASCADE, null=True)

    class Meta:
        """Of the model."""

        app_label = "pgpredict"
        db_table = "mission"


def sql(queryset: Any) -> tuple[str, tuple[Any, ...]]:
    """Return the statement of a queryset, and its parameters."""
    text, parameters = queryset.query.get_compiler("default").as_sql()
    return text, tuple(parameters)


def form(expression: Any) -> tuple[str, tuple[Any, ...]]:
    """Return what an expression becomes."""
    text, parameters = sql(Flight.objects.values_list(expression))
    return text.removeprefix("SELECT ").partition(' FROM "flight"')[0].rpartition(' AS "')[0], parameters


FLIGHT, PLANE = '"flight".*', '"plane".*'


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (Predict("m"), f'PREDICT("m" USING {FLIGHT})'),
        (Predict("m", "*"), f'PREDICT("m" USING {FLIGHT})'),
        (Predict("m", "*", "plane__*"), f'PREDICT("m" USING {FLIGHT}, {PLANE})'),
        (Predict("m", "distance"), 'PREDICT("m" USING "flight"."miles" AS "miles")'),
        (Predict("m", F("plane")), 'PREDICT("m" USING "flight"."plane_id" AS "plane_id")'),
        (
            Predict("m", features_by_name={'5 % "off"': F("distance")}),
            'PREDICT("m" USING "flight"."miles" AS "5 %% ""off""")',
        ),
        (Predict("m", "plane__seats"), 'PREDICT("m" USING "plane"."seats" AS "seats")'),
        (Predict("m", seats=F("plane__seats")), 'PREDICT("m" USING "plane"."seats" AS "seats")'),
        (Predict("M %\"x"), f'PREDICT("M %%""x" USING {FLIGHT})'),
        (Predict("m", version=3), f'PREDICT("m" VERSION 3 USING {FLIGHT})'),
        (Predict("m", on_missing="null"), f'PREDICT("m" USING {FLIGHT} ON MISSING NULL)'),
        (
            Predict("m", "*", features_by_name={"version": F("distance")}),
            f'PREDICT("m" USING {FLIGHT}, "flight"."miles" AS "version")',
        ),
        (Probability("m", for_="it's 5 %"), f"PROBABILITY(\"m\" FOR 'it''s 5 %%' USING {FLIGHT})"),
        (Probability("m", for_=True, version=2), f"PROBABILITY(\"m\" VERSION 2 FOR 'true' USING {FLIGHT})"),
        (Probability("m", for_=Decimal("1.50")), f"PROBABILITY(\"m\" FOR '1.50' USING {FLIGHT})"),
        (
            Probability("m", for_=datetime.date(2024, 5, 1)),
            f"PROBABILITY(\"m\" FOR '2024-05-01' USING {FLIGHT})",
        ),
        (PredictionSet("m"), f'PREDICTION_SET("m" USING {FLIGHT})'),
        (PredictionSet("m", top=3), f'PREDICTION_SET("m", 3 USING {FLIGHT})'),
        (
            PredictionSet("m", cutoff=0.25, version=1),
            f'PREDICTION_SET("m" VERSION 1, NULL, 0.25 USING {FLIGHT})',
        ),
    ],
)  # fmt: skip
def test_forms(expression: Any, expected: str) -> None:
    assert form(expression) == (expected, ())


def test_values_are_parameters() -> None:
    text, parameters = form(Predict("m", "distance", seats=5, share=F("distance") / 2))
    assert text == (
        'PREDICT("m" USING "flight"."miles" AS "miles", %s AS "seats", ("flight"."miles" / %s) AS "share")'
    )
    assert parameters == (5, 2)


def test_tables_keep_their_aliases_in_subqueries() -> None:
    inner = (
        Flight.objects.filter(plane=OuterRef("plane")).annotate(p=Predict("m")).filter(p__gt=1).values("p")
    )
    text, _ = sql(Flight.objects.annotate(s=Subquery(inner)))
    assert 'PREDICT("m" USING U0.*)' in text
    joined = Plane.objects.filter(pk=OuterRef("plane")).values(p=Predict("m", OuterRef("distance"), "seats"))
    text, _ = sql(Flight.objects.annotate(s=Subquery(joined)))
    assert 'PREDICT("m" USING "flight"."miles" AS "miles", U0."seats" AS "seats")' in text


def test_a_relation_leads_to_the_tables_of_parents_too() -> None:
    text, _ = sql(Mission.objects.annotate(p=Predict("m", "*", "fighter__*")))
    assert 'PREDICT("m" USING "mission".*, "fighter".*, "jet".*, "plane".*)' in text
    assert text.count("LEFT OUTER JOIN") == 3
    text, _ = sql(Plane.objects.annotate(p=Predict("m", "jet__fighter__*")))
    assert 'PREDICT("m" USING "fighter".*, T4.*, T5.*)' in text
    text, _ = sql(Mission.objects.values("fighter__thrust").annotate(p=Predict("m", "fighter__jet_ptr__*")))
    assert 'PREDICT("m" USING "jet".*, "plane".*)' in text


def test_annotations_are_features_of_their_names() -> None:
    query = Flight.objects.annotate(seats=F("plane__seats") * 2).annotate(p=Predict("m", "distance", "seats"))
    assert '("plane"."seats" * %s) AS "seats"' in sql(query)[0]
    swapped = Flight.objects.annotate(miles=F("plane__seats"), seats=F("distance"))
    text = sql(swapped.values_list(Predict("m", "miles", F("seats"))))[0]
    assert 'PREDICT("m" USING "plane"."seats" AS "miles", "flight"."miles" AS "seats")' in text
    grouped = Plane.objects.annotate(p=Predict("m", miles=Avg("flight__distance")))
    assert 'AVG("flight"."miles") AS "miles"' in sql(grouped)[0]
    assert "GROUP BY" in sql(grouped)[0]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (Predict("m", "distance__year"), "no name of its own|Cannot resolve keyword 'year'"),
        (Predict("m", "plane__speed"), "Unsupported lookup 'speed'|Cannot resolve keyword 'speed'"),
        (Predict("m", "distance__*"), "no relation"),
        (Predict("m", "nothing__*"), "Cannot resolve keyword 'nothing'"),
    ],
)
def test_fields_that_are_none(expression: Any, message: str) -> None:
    with pytest.raises(FieldError, match=message):
        form(expression)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Predict(""), TypeError, "no name of a model"),
        (lambda: Predict(F("m")), TypeError, "no name of a model"),
        (lambda: Predict("m", F("a") + 1), TypeError, "has no name: give it as feature=expression"),
        (lambda: Predict("m", 5), TypeError, "has no name"),
        (lambda: Predict("m", a="b"), TypeError, r"is it F\('b'\) or Value\('b'\)"),
        (lambda: Predict("m", version=0), ValueError, "no positive number"),
        (lambda: Predict("m", version=True), ValueError, "no positive number"),
        (lambda: Predict("m", on_missing="zero"), ValueError, "none of 'error', 'null', 'impute'"),  # type: ignore[arg-type]
        (lambda: Probability("m", for_=F("a")), TypeError, "no expression"),
        (lambda: PredictionSet("m", top=-1), ValueError, "no number of classes"),
    ],
)
def test_arguments_that_cannot_be(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_another_database_is_refused() -> None:
    with pytest.raises(NotSupportedError, match="PREDICT needs PostgreSQL; this is SQLite"):
        list(Flight.objects.using("lite").annotate(p=Predict("m")))


def test_expressions_are_values() -> None:
    assert Predict("m", "a", b=1) == Predict("m", "a", b=1)
    assert len({Predict("m", "a"), Predict("m", "b"), Predict("n", "a"), Predict("m", "a", version=1)}) == 4
    assert Probability("m", for_="a") != Probability("m", for_="b")
    assert hash(Predict("m", b=F("c"))) == hash(Predict("m", b=F("c")))
    query = Flight.objects.annotate(p=Predict("m", "plane__*")).filter(p=1).query
    again = Flight.objects.all()
    again.query = pickle.loads(pickle.dumps(query))
    assert sql(again) == sql(Flight.objects.annotate(p=Predict("m", "plane__*")).filter(p=1))
    assert repr(Predict("m", "a", b=2, version=3)) == "Predict('m', F(a), b=Value(2), version=3)"
    assert repr(Probability("m", for_="x")) == "Probability('m', Star(''), for_='x')"


def test_a_type_that_is_not_known_is_no_obstacle() -> None:
    """The server does not answer: nothing is said about the type, and everything can be written."""
    query = Flight.objects.annotate(p=Predict("m"))
    assert isinstance(query.query.annotations["p"].output_field, PredictionField)
    text, parameters = sql(query.filter(p__gt=5, p__in=["a", "b"], p__icontains="x").filter(Predict("m")))
    assert sorted(map(str, parameters)) == ["%x%", "5", "a", "b"]
    assert text.count("PREDICT") == 5
    for expression in (F("p") + F("distance"), 2 * F("p"), F("p") / F("p"), Sum("p")):
        queryset = query.values("id").annotate(q=expression)
        assert "PREDICT" in sql(queryset)[0]
    mixed = query.annotate(
        q=Case(When(p=1, then="distance"), default=Predict("m", output_field=models.FloatField()))
    )
    assert "CASE" in sql(mixed)[0]


def test_a_type_that_is_not_known_mixes() -> None:
    query = Flight.objects.annotate(
        c=Case(When(distance=1, then=Predict("m")), default=Value("n")),
        d=Coalesce(Value(0), Predict("m")),
        j=Concat(Predict("m"), Value("x")),
    )
    assert isinstance(query.query.annotations["c"].output_field, PredictionField)
    assert isinstance(query.query.annotations["d"].output_field, PredictionField)
    text, parameters = sql(query.filter(c="n", d__gt=1.5, j="x", d__year=2024))
    assert text.count("PREDICT") == 3 + 4
    assert set(parameters) >= {"n", 1.5, 2024}
    # what has nothing of a prediction is as wrong as ever
    with pytest.raises(FieldError, match="mixed types"):
        Flight.objects.annotate(c=Case(When(distance=1, then=1), default=Value("n"))).filter(c=1)


def test_a_given_type_wins() -> None:
    field = models.DateField()
    assert Predict("m", output_field=field).output_field is field
    assert isinstance(Probability("m").output_field, models.FloatField)
    assert isinstance(PredictionSet("m").output_field, models.JSONField)
    year = Flight.objects.annotate(p=Predict("m", output_field=field)).filter(p__year=2024)
    assert "BETWEEN" in sql(year)[0]


@pytest.mark.parametrize(
    "operation",
    [
        TrainModel("m", "SELECT 1 AS a, 2 AS b", "b", algorithm="ridge", exclude=["a"], elidable=True),
        TrainModel("m", "SELECT 1 AS a, 2 AS b", "b", retrain=True, skip_without_rows=True),
        ImportModel("m", "m.onnx", another=True, task="regression"),
        GrantModel("m", ["alice", "PUBLIC"], hints={"model": "m"}),
        DropModel("m"),
        DropModel("m", ImportModel("m", "m.onnx")),
        PgpredictExtension(),
    ],
    ids=lambda operation: str(operation.describe()),
)
def test_operations_are_written_as_they_are(operation: Any) -> None:
    migration = type("Migration", (migrations.Migration,), {"operations": [operation], "dependencies": []})
    text = MigrationWriter(migration("0001", "pgpredict")).as_string()
    names: dict[str, Any] = {}
    exec(compile(text, "migration", "exec"), names)
    (again,) = names["Migration"].operations
    assert type(again) is type(operation)
    shown, expected = (
        {**each.deconstruct()[2], "again": getattr(each, "again", None) is None}
        for each in (again, operation)
    )
    assert shown == expected
    assert operation.reversible is not (type(operation) is DropModel and operation.again is None)


def test_predictions_in_indexes_and_constraints_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Config:
        """Has the one model."""

        def get_models(self) -> list[Any]:
            return [Flight]

    assert check_models([Config()]) == []
    found = [
        Index(Predict("m", "distance").asc(), name="by_prediction"),
        Index("distance", name="some", condition=Q(distance__gt=Predict("m"))),
    ]
    monkeypatch.setattr(Flight._meta, "indexes", found)
    monkeypatch.setattr(Flight._meta, "constraints", [UniqueConstraint(Predict("m"), name="once")])
    problems = check_models([Config()])
    assert [problem.id for problem in problems] == ["pgpredict.E001"] * 3
    assert [problem.msg.split(" contains")[0] for problem in problems] == [
        "index 'by_prediction'", "index 'some'", "constraint 'once'",
    ]  # fmt: skip
    with pytest.raises(FieldError, match="cannot stand in an index"):
        found[0].create_sql(Flight, connections["default"].schema_editor(collect_sql=True))
    generated = getattr(models, "GeneratedField", None)
    if generated is not None:
        field = generated(
            expression=Predict("m", "distance"), output_field=models.FloatField(), db_persist=True
        )
        field.set_attributes_from_name("predicted")
        monkeypatch.setattr(Flight._meta, "local_fields", [*Flight._meta.local_fields, field])
        assert check_models([Config()])[-1].msg.startswith("generated field 'predicted'")
