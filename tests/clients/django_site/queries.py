"""Every place of a query that an expression may stand in."""

from __future__ import annotations

import asyncio
import copy
import pickle
import re
from typing import Any

from start import tables, told  # sets Django up

# isort: split
from django.db import connection, models
from django.db.models import (
    Avg,
    Case,
    Count,
    Exists,
    ExpressionWrapper,
    F,
    FilteredRelation,
    Max,
    OuterRef,
    Prefetch,
    Q,
    Subquery,
    Sum,
    Value,
    When,
    Window,
)  # fmt: skip
from django.db.models.functions import Coalesce, Length, Rank, RowNumber, Upper
from django.db.models.lookups import GreaterThan
from django.test.utils import CaptureQueriesContext
from fleet.models import Flight, LongFlight, Plane, Weight

from pgpredict.django import Predict, PredictionSet, Probability

WEIGHT = Predict("weight", "a")
LATE = Predict("late", "power")
RISK = Probability("late", "power", for_="yes")
flights = Flight.objects.order_by("id")
SCENARIOS: dict[str, Any] = {}


def scenario(function: Any) -> Any:
    """Note a function under its name."""
    SCENARIOS[function.__name__] = function
    return function


def labels(queryset: Any) -> list[str]:
    """Return what tells flights apart."""
    return list(queryset.values_list("label", flat=True))


@scenario
def annotated() -> Any:
    return [[f.label, f.w, f.late_, f.r] for f in flights.annotate(w=WEIGHT, late_=LATE, r=RISK)]


@scenario
def own_columns() -> Any:
    """By the names of the table's columns, beside a join that has some of them too."""
    rows = flights.select_related("plane").annotate(w=Predict("weight"), r=Probability("late", for_="no"))
    return [[f.label, f.plane and f.plane.name, f.w, round(f.r, 6)] for f in rows]


@scenario
def related() -> Any:
    known = flights.filter(plane__isnull=False)
    spelled = [
        Predict("both", "a", "plane__b"),
        Predict("both", a=F("a"), b=F("plane__b")),
        Predict("both", "*", "plane__*"),
        Predict("both", "*", b=F("plane__b")),
    ]
    rows = [list(known.annotate(p=each).values_list("p", flat=True)) for each in spelled]
    # a flight without a plane stays; what it misses is NULL
    nothing = flights.annotate(p=Predict("both", "a", "plane__b", on_missing="null")).filter(p=None)
    return [rows, labels(nothing), labels(Flight.objects.filter(plane__name="two").annotate(p=spelled[2]))]


@scenario
def inherited() -> Any:
    LongFlight.objects.create(label="long", a=1.0, power=0.2, b=5.0)
    rows = LongFlight.objects.annotate(
        both=Predict("both"), parent=Predict("weight", "a"), r=Probability("late")
    )
    # by a relation, whose columns a and b are in two tables
    planes = Plane.objects.annotate(both=Predict("both", "flights__longflight__*", on_missing="null"))
    Flight.objects.filter(label="long").update(plane=Plane.objects.get(name="two"))
    return [
        *rows.values_list("both", "parent", "r"),
        list(planes.exclude(both=None).values_list("name", "both")),
        list(planes.filter(both__gt=50).values_list("name", "flights__longflight__b")),
        planes.count(),
    ]


@scenario
def expressions() -> Any:
    doubled = Predict("weight", a=F("a") * 2)
    constant = Predict("weight", a=7.5)
    rows = flights.annotate(d=doubled, c=constant, n=WEIGHT + F("a"), half=WEIGHT / 2.0)
    counted = Plane.objects.annotate(p=Predict("weight", a=Max("flights__a"))).order_by("id")
    annotation = flights.annotate(b=F("a") + 1).annotate(p=Predict("both", "a", "b"))
    # annotations that are columns of other names are features of their own
    renamed = Plane.objects.order_by("id").annotate(a=F("b")).annotate(p=Predict("both", "a", "b"))
    outer = Plane.objects.filter(pk=OuterRef("plane")).values(p=Predict("both", OuterRef("b"), a=F("b")))
    beside = flights.annotate(b=F("a")).annotate(p=Subquery(outer))
    return [
        list(rows.values_list("d", "c", "n", "half"))[:2],
        list(counted.values_list("p", flat=True)),
        list(annotation.values_list("p", flat=True))[:2],
        list(renamed.values_list("p", flat=True)),
        list(beside.values_list("p", flat=True))[:2],
    ]


@scenario
def filtered() -> Any:
    return [
        labels(flights.annotate(w=WEIGHT).filter(w__gt=35)),
        labels(flights.annotate(w=WEIGHT).filter(w__in=[10, 60]).exclude(w=60)),
        labels(flights.annotate(p=LATE).filter(p="yes", a__lt=4)),
        labels(flights.annotate(p=LATE).filter(Q(p="no") | Q(a=4))),
        labels(flights.annotate(p=LATE).filter(p__startswith="y").exclude(a__gt=3)),
        labels(flights.filter(GreaterThan(WEIGHT, 35))),
        labels(flights.annotate(w=WEIGHT).filter(w__range=(15, 35), w__lt=F("a") * 100)),
        labels(flights.alias(w=WEIGHT).filter(w__isnull=False, w__lt=25)),
        labels(flights.filter(Predict("sure", "power"))),
        labels(flights.annotate(s=Predict("sure", "power")).filter(~Q(s=True), a__lt=5)),
        labels(flights.filter(a=WEIGHT / 10)),
        labels(flights.filter(a__lt=RISK * 5)),
    ]


@scenario
def ordered() -> Any:
    return [
        labels(Flight.objects.order_by(RISK.desc())),
        labels(Flight.objects.annotate(r=RISK).order_by("-r")[:2]),
        labels(Flight.objects.order_by(LATE.desc(nulls_last=True), "-a")),
        labels(Flight.objects.order_by(Predict("weight", a=-F("a"))).reverse()),
    ]


@scenario
def aggregated() -> Any:
    totals = flights.annotate(w=WEIGHT).aggregate(
        total=Sum("w"), mean=Avg("w"), late=Count("pk", filter=Q(w__gt=35)), direct=Max(WEIGHT)
    )
    groups = Flight.objects.annotate(p=LATE).values("p").annotate(n=Count("pk"), m=Max("a")).order_by("p")
    having = groups.filter(n__gt=2)
    planes = Plane.objects.annotate(m=Avg(Predict("weight", "flights__a"))).order_by("id")
    top = flights.annotate(w=WEIGHT).order_by("-w")[:2].aggregate(Sum("w"))
    kinds = Flight.objects.annotate(p=LATE).distinct().values_list("p", flat=True).order_by("p")
    return [
        totals,
        [list(row.values()) for row in groups],
        len(having),
        list(planes.values_list("m", flat=True)),
        top,
        list(kinds),
        flights.annotate(w=WEIGHT).filter(w__gt=15).count(),
        flights.annotate(w=WEIGHT).filter(w__gt=60).exists(),
    ]


@scenario
def aggregated_inside() -> Any:
    """Aggregates of all columns, where Django makes a subquery of what is aggregated."""
    star, sure = Predict("weight"), Predict("both", "*", "plane__*")
    named = flights.filter(plane__isnull=False)
    planes = Plane.objects.annotate(n=Count("flights"))
    values = Flight.objects.values("late").distinct()
    return [
        flights[:2].aggregate(s=Sum(star), m=Max(Probability("late", for_="yes")), n=Count("pk")),
        flights.distinct().aggregate(s=Sum(star)),
        flights.annotate(n=Count("plane")).aggregate(s=Sum(star)),
        flights.annotate(n=Count("plane")).filter(n__gt=0).aggregate(s=Sum(star), m=Sum("n")),
        named[:3].aggregate(s=Sum(sure)),
        planes.aggregate(s=Sum(Predict("both", "*", a=F("flights__a")))),
        values.aggregate(s=Sum(star)) == values.aggregate(s=Sum(Predict("weight", "a"))),
        flights.annotate(w=star)[1:3].aggregate(s=Sum("w"), d=Sum(star + F("a"))),
        flights[:4].aggregate(n=Count("pk", filter=Q(GreaterThan(star, 15)))),
        flights[:2].aggregate(s=Sum(Predict("both", "*", b=F("a")))),
        # and where it makes none
        flights.aggregate(s=Sum(star), n=Count("pk", filter=Q(GreaterThan(star, 15)))),
        list(flights[:2].values_list("pk").annotate(s=star).values_list("s")),
    ]


@scenario
def valued() -> Any:
    rows = flights.values("label", w=WEIGHT).first()
    named = flights.values_list("label", WEIGHT, named=True).last()
    return [
        rows,
        list(named),
        flights.values_list(LATE, flat=True)[3],
        flights.annotate(w=WEIGHT).in_bulk([]) == {},
    ]


@scenario
def cased() -> Any:
    kind = Case(
        When(GreaterThan(WEIGHT, 45), then=Value("heavy")), When(a=1, then=LATE), default=Value("light")
    )
    number = Case(When(label="f1", then=WEIGHT), default=Value(0.0))
    text = Upper(LATE)
    return [
        list(flights.annotate(k=kind).values_list("k", flat=True)),
        list(flights.annotate(k=number).values_list("k", flat=True)),
        list(flights.values_list(text, Length(LATE)))[:3],
        list(flights.values_list(Coalesce(WEIGHT, Value(0.0)), flat=True))[:2],
        flights.annotate(k=ExpressionWrapper(WEIGHT * 2, models.FloatField())).first().k,
    ]


@scenario
def subqueries() -> Any:
    heaviest = Flight.objects.filter(plane=OuterRef("pk")).annotate(w=WEIGHT).order_by("-w").values("w")[:1]
    outer = Plane.objects.filter(pk=OuterRef("plane")).values(p=Predict("both", "b", a=OuterRef("a")))[:1]
    named = Plane.objects.filter(pk=OuterRef("plane")).values(p=Predict("both", OuterRef("a"), "b"))[:1]
    late = Flight.objects.filter(plane=OuterRef("pk")).annotate(p=LATE).filter(p="yes", a__gt=3)
    inside = flights.filter(pk__in=Flight.objects.annotate(w=WEIGHT).filter(w__gt=45).values("pk"))
    planes = Plane.objects.order_by("id")
    return [
        list(planes.values_list(Subquery(heaviest), flat=True)),
        list(flights.filter(plane__isnull=False).values_list(Subquery(outer), flat=True)),
        list(flights.filter(plane__isnull=False).values_list(Subquery(named), flat=True)),
        list(planes.filter(Exists(late)).values_list("name", flat=True)),
        labels(inside),
    ]


@scenario
def windows() -> Any:
    rank = Window(Rank(), order_by=RISK.desc())
    within = Window(RowNumber(), partition_by=[LATE], order_by="a")
    total = Window(Sum(WEIGHT), partition_by="plane", order_by="id")
    rows = flights.annotate(k=rank, n=within, t=total)
    return [list(rows.values_list("k", "n", "t")), labels(flights.annotate(k=rank).filter(k__lte=2))]


@scenario
def combined() -> Any:
    few = Flight.objects.annotate(w=WEIGHT).filter(w__lt=15).values_list("label", "w")
    many = Flight.objects.annotate(w=WEIGHT).filter(w__gt=55).values_list("label", "w")
    both = few.union(many).order_by("-w")
    less = Flight.objects.values_list(LATE, flat=True).difference(
        Flight.objects.filter(a=1).values_list(LATE, flat=True)
    )
    return [list(both), list(less)]


@scenario
def updated() -> Any:
    count = Flight.objects.filter(a__gt=1).update(predicted=WEIGHT, late=LATE)
    own = Flight.objects.filter(label="f1").update(predicted=Predict("weight") + 1)
    kept = list(flights.values_list("predicted", "late"))
    Flight.objects.annotate(w=WEIGHT).filter(w__gt=55).update(late=None)
    flight = Flight.objects.get(label="f2")
    flight.predicted = Predict("weight", "a", on_missing="null")
    flight.save(update_fields=["predicted"])
    flight.refresh_from_db()
    plane = Subquery(
        Plane.objects.filter(pk=OuterRef("plane")).values(p=Predict("both", OuterRef("a"), "b"))[:1]
    )
    Flight.objects.filter(label="f4").update(predicted=plane)
    changed = Flight.objects.filter(label__in=["f1", "f3"]).order_by("id")
    for each in changed:
        each.predicted = Predict("weight", a=F("a") + 1)
    Flight.objects.bulk_update(changed, ["predicted"])
    return [
        count, own, kept, Flight.objects.filter(late=None).count(), flight.predicted,
        list(flights.filter(label__in=["f1", "f3", "f4"]).values_list("predicted", flat=True)),
    ]  # fmt: skip


@scenario
def written() -> Any:
    Flight.objects.create(label="new", a=1.0, predicted=Predict("weight", a=4))
    Flight.objects.bulk_create([Flight(label=f"n{n}", predicted=Predict("weight", a=n)) for n in range(3)])
    gone = Flight.objects.annotate(w=WEIGHT).filter(w=20).delete()[0]
    return [
        list(flights.filter(label__startswith="n").values_list("predicted", flat=True)),
        gone,
        flights.count(),
    ]


@scenario
def streamed() -> Any:
    Flight.objects.bulk_create(Flight(label="many", a=float(n)) for n in range(1, 5001))
    many = Flight.objects.filter(label="many").annotate(w=WEIGHT)
    streamed = sum(flight.w for flight in many.iterator(chunk_size=500))
    values = sum(many.values_list("w", flat=True).iterator(chunk_size=1000))
    return [streamed, values, many.aggregate(Sum("w"))["w__sum"]]


@scenario
def loaded() -> Any:
    heavy = Flight.objects.annotate(w=WEIGHT).filter(w__gt=15).order_by("-w")
    planes = Plane.objects.order_by("id").prefetch_related(Prefetch("flights", heavy, to_attr="heavy"))
    bulk = Flight.objects.annotate(w=WEIGHT).in_bulk(list(flights.values_list("pk", flat=True)[:2]))
    deferred = flights.annotate(w=WEIGHT).only("label").last()
    relation = (
        Plane.objects.annotate(big=FilteredRelation("flights", condition=Q(flights__a__gt=2)))
        .annotate(w=Predict("weight", "big__a"))
        .order_by("w")
    )
    return [
        [[f.w for f in plane.heavy] for plane in planes],
        sorted(flight.w for flight in bulk.values()),
        deferred.w,
        list(relation.values_list("w", flat=True)),
    ]


@scenario
def outputs() -> Any:
    sets = flights.annotate(
        s=PredictionSet("late", "power", top=1), t=PredictionSet("late", "power", cutoff=0.75)
    )
    rows = list(sets.values_list("s", "t"))
    field = Predict("weight", "a", output_field=models.TextField())
    whole = flights.values_list(Predict("whole", "a"), Predict("sure", "power"))[:2]
    return [
        rows[0],
        rows[3],
        labels(sets.filter(s__0__prediction="yes")),
        type(flights.annotate(w=field).query.annotations["w"].output_field).__name__,
        [
            type(each.output_field).__name__
            for each in (WEIGHT, LATE, RISK, Predict("whole"), Predict("sure"))
        ],
        list(whole),
        list(flights.values_list(Predict("weight", "a", version=1), Probability("late", "power", version=1)))[
            :2
        ],
        [
            repr(value)
            for value in flights.filter(label="f1").values_list(Predict("weight", a=None), flat=True)
        ],
        list(flights.filter(label="f1").values_list(Predict("weight", a=None, on_missing="null"), flat=True)),
    ]


@scenario
def copied() -> Any:
    queryset = flights.annotate(w=WEIGHT).filter(w__gt=35)
    again = Flight.objects.all()
    again.query = pickle.loads(pickle.dumps(queryset.query))
    rows = pickle.loads(pickle.dumps(queryset))
    return [
        labels(again),
        [f.w for f in rows],
        labels(copy.deepcopy(queryset)),
        labels(queryset.all() & queryset),
    ]


@scenario
def model_table() -> Any:
    row = Weight.objects.get(a=4.0)
    same = Weight.objects.get(pk='{"a": 4}')
    joined = Weight.objects.filter(a__in=[1.0, 2.0]).order_by("a").values_list("prediction", flat=True)
    return [row.pk, row.prediction, same.pk, same.prediction, list(joined)]


@scenario
def explained() -> Any:
    text = flights.annotate(w=WEIGHT).filter(w__gt=15).explain()
    return "Foreign Scan" in text or "Subquery Scan" in text


@scenario
def shown() -> Any:
    """What debuggers and logs show is what the ORM has written, with its values."""
    with CaptureQueriesContext(connection) as captured:
        list(Flight.objects.annotate(p=LATE).filter(p="yes").values_list("p").order_by("p"))
        Flight.objects.filter(label="it's 5 %").count()
        with connection.cursor() as cursor:
            cursor.execute("SELECT PREDICT(weight USING 2.0 AS a)")
    return [re.sub(r'ORDER BY (PREDICT.*|"p") ASC', "ORDER BY 1 ASC", query["sql"]) for query in captured]


@scenario
def raw() -> Any:
    with connection.cursor() as cursor:
        cursor.execute("SELECT PREDICT(weight USING %s::float8 AS a)", [2])
        one = cursor.fetchone()[0]
        cursor.execute("SELECT 'PREDICT %s', 1")
        plain = cursor.fetchone()
        cursor.executemany(
            "UPDATE fleet_flight SET predicted = PREDICT(weight USING a) + %s WHERE label = %s",
            [(1, "f1"), (2, "f2")],
        )
    rows = Flight.objects.raw(
        "SELECT id, label, PREDICT(weight) AS w FROM fleet_flight ORDER BY id LIMIT %s", [2]
    )
    return [one, list(plain), [row.w for row in rows], list(flights.values_list("predicted", flat=True))[:3]]


async def asynchronous() -> Any:
    """The ORM's asynchronous side."""
    late = Flight.objects.annotate(p=Predict("late", "power"), w=Predict("weight", "a")).filter(p="yes")
    rows = [[flight.label, flight.w] async for flight in late.order_by("id")]
    streamed = [flight.w async for flight in flights.annotate(w=WEIGHT).aiterator(chunk_size=2)]
    total = await flights.annotate(w=WEIGHT).aaggregate(Sum("w"))
    first = await flights.annotate(w=Predict("weight") * 2).afirst()
    return [rows, streamed, total, first.w, await flights.filter(GreaterThan(WEIGHT, 25)).acount()]


with tables():
    alone = asyncio.run(asynchronous())
    told({"asynchronous": lambda: alone, **SCENARIOS})
