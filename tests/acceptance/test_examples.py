"""The applications of docs/examples, each directly and through the proxy: pages, jobs, errors, versions."""

from __future__ import annotations

import concurrent.futures
import contextlib
import re
import time
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest

from tests.fix_examples import (
    APPLICATIONS,
    Site,
    readme_commands,
    role_of,
    running_site,
    shell,
    through,
    variables,
)
from tests.fix_flights import Flights, predict
from tests.fix_proxy import RunningProxy, running_proxy
from tests.fix_runtime import eventually
from tests.pages import ROOT

pytestmark = pytest.mark.one_server

ROW = re.compile(r'([\d.]+) %.*?href="/departures/(\d+)"', re.DOTALL)
MODEL = "late_arrival"


@pytest.fixture(scope="module", params=[(name, way) for name in APPLICATIONS for way in ("direct", "proxy")],
                ids=lambda param: "-".join(param))  # fmt: skip
def site(request: pytest.FixtureRequest, shared_flights: Flights, tcp_proxy: RunningProxy) -> Iterator[Site]:
    """An application of which each test leaves flights and models as they are."""
    name, way = request.param
    address = role_of(shared_flights)
    if way == "proxy":
        address = through(address, tcp_proxy.port)
    try:
        with running_site(name, shared_flights, address) as running:
            yield running
    finally:
        with shared_flights.connect() as connection:
            # the next one makes its table itself
            connection.execute(f"DROP OWNED BY {address.user}")


def expected(site: Site, condition: str, offset: int = 0) -> list[tuple[int, str]]:
    """Return numbers and risks of a page, as SQL says."""
    rows = predict(
        site.connection,
        f"SELECT id, PROBABILITY({MODEL} FOR 'yes') AS risk FROM departures WHERE {condition}"
        f" ORDER BY risk DESC, id LIMIT 20 OFFSET {offset}",
    )
    return [(row["id"], f"{100 * row['risk']:.1f}") for row in rows]


def shown(page: str) -> list[tuple[int, str]]:
    """Return numbers and risks that a page shows."""
    body = page[page.index("<main>") :]
    return [(int(number), risk) for risk, number in ROW.findall(body)]


FILTERS = {
    "": "day = '2013-12-10'",
    "?day=2013-12-17&on_time=true": "day = '2013-12-17' AND dep_delay < 15",
    "?day=2013-12-17&origin=LGA&dest=atl&carrier=DL": "day = '2013-12-17' AND origin = 'LGA' AND dest = 'ATL'"
    " AND carrier = 'DL'",
    "?day=2013-12-18&likely=true&origin=JFK&carrier=&dest=": "day = '2013-12-18' AND origin = 'JFK'"
    f" AND PREDICT({MODEL}) = 'yes'",
    "?day=2014-02-01": "false",
}


@pytest.mark.parametrize("query", FILTERS)
def test_the_list_is_ordered_by_risk(site: Site, query: str) -> None:
    page = site.page(f"/{query}")
    assert shown(page) == expected(site, FILTERS[query])
    assert ("No departures" in page) == (FILTERS[query] == "false")
    assert "version 1 of the model" in page


def test_pages_follow_each_other(site: Site) -> None:
    condition = "day = '2013-12-17' AND carrier = 'WN'"
    count = predict(site.connection, f"SELECT count(*) AS n FROM departures WHERE {condition}")[0]["n"]
    path: str | None = "/?day=2013-12-17&carrier=WN"
    seen: list[tuple[int, str]] = []
    while path is not None:
        page = site.page(path)
        seen += shown(page)
        links = re.findall(r'rel="next" href="([^"]+)"', page)
        path = unescape(links[0]).removeprefix(f"http://127.0.0.1:{site.port}") if links else None
        if path is not None and path.startswith("?"):
            path = f"/{path}"
    assert seen == [row for offset in range(0, count, 20) for row in expected(site, condition, offset)]
    assert len(seen) == count > 20


def test_a_departure(site: Site) -> None:
    (row,) = predict(
        site.connection,
        f"SELECT id, carrier, flight, PREDICT({MODEL}) AS late, PROBABILITY({MODEL} FOR 'yes') AS risk,"
        f" PROBABILITY({MODEL} FOR 'yes' USING *, 0 AS dep_delay) AS on_time FROM departures"
        " WHERE day = '2013-12-17' AND dep_delay > 40 ORDER BY id LIMIT 1",
    )
    page = " ".join(site.page(f"/departures/{row['id']}").split())
    assert f"<h1>{row['carrier']} {row['flight']}, " in page
    assert f'high">{row["late"]}<' in page
    assert f"{100 * row['risk']:.1f} %" in page
    assert f"the risk would be {100 * row['on_time']:.1f} %" in page
    assert "<dt>Model</dt><dd><code>late_arrival</code></dd> <dt>Version</dt><dd>1</dd>" in page
    kept = page[page.index("Forecast on file") :]
    assert f"<dt>Risk</dt><dd>{100 * row['risk']:.1f} %</dd> <dt>Version</dt><dd>1</dd>" in kept


def test_a_departure_of_which_little_is_known(site: Site) -> None:
    (row,) = predict(
        site.connection,
        "SELECT min(id) AS id FROM departures WHERE day >= '2013-12-10' AND temp IS NULL",
    )
    assert "<dt>Temperature</dt><dd>unknown</dd>" in site.page(f"/departures/{row['id']}")


def test_what_is_not_there(site: Site) -> None:
    for path in ("/departures/0", "/departures/x", f"/departures/{10**30}", "/nowhere"):
        response = site.get(path)
        assert response.status_code == 404, path
        assert "Error 404" in response.text
        assert "Traceback" not in response.text
    for path in ("/?day=tomorrow", "/?day=2013-12-17&page=x", "/?page=0"):
        response = site.get(path)
        assert response.status_code < 500, path
        assert "Traceback" not in response.text
    for path in ("/?carrier='; DROP TABLE flights; --", "/?dest=<b>"):
        response = site.get(path)
        assert response.status_code == 200
        assert "<b>" not in response.text


def test_the_job_keeps_what_the_model_says(site: Site) -> None:
    different = predict(
        site.connection,
        "SELECT count(*) AS n, count(k.risk) AS kept, count(*)"
        " FILTER (WHERE k.late = p.late AND k.risk = p.risk AND k.version = 1) AS same"
        f" FROM (SELECT id, PREDICT({MODEL}) AS late,"
        f" PROBABILITY({MODEL} FOR 'yes') AS risk FROM departures WHERE day >= '2013-12-10') AS p"
        f" FULL JOIN {site.table} AS k ON k.departure_id = p.id",
    )
    assert different[0]["n"] == different[0]["kept"] == different[0]["same"] > 19_000
    with concurrent.futures.ThreadPoolExecutor() as both:
        jobs = [both.submit(site.job) for _ in range(2)]
    assert [job.result().stdout for job in jobs] == ["0 forecasts written\n"] * 2


@pytest.mark.parametrize("site", [("fastapi", "direct"), ("fastapi", "proxy")], indirect=True, ids="-".join)
def test_the_service_answers_programs(site: Site) -> None:
    found: list[dict[str, Any]] = site.get("/api/departures?day=2013-12-17&on_time=true").json()
    assert [(row["id"], f"{100 * row['risk']:.1f}") for row in found] == expected(
        site, "day = '2013-12-17' AND dep_delay < 15"
    )
    assert {row["version"] for row in found} == {1}
    assert site.get("/api/nowhere").json() == {"detail": "Not Found"}
    assert "/api/departures" in site.get("/openapi.json").json()["paths"]


def test_a_connection_that_was_cut_is_not_noticed(site: Site) -> None:
    site.page("/")
    cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = %s"
    assert site.connection.execute(cut, [site.address.user]).fetchone() != (0,)
    # a backend that was only told to end still answers
    there = "SELECT count(*) FROM pg_stat_activity WHERE usename = %s"
    eventually(lambda: site.connection.execute(there, [site.address.user]).fetchone() == (0,))
    assert shown(site.page("/")) == expected(site, FILTERS[""])


@pytest.mark.parametrize("way", ["direct", "proxy"])
@pytest.mark.parametrize("name", APPLICATIONS)
def test_models_come_and_go_while_it_runs(name: str, way: str, lone_flights: Flights) -> None:
    cluster = lone_flights.database.server.cluster
    assert cluster is not None
    address = role_of(lone_flights)
    with contextlib.ExitStack() as stack:
        proxy = stack.enter_context(running_proxy(cluster.tcp_dsn()))
        where = address if way == "direct" else through(address, proxy.port)
        site = stack.enter_context(running_site(name, lone_flights, where))
        another_version(site)
        many_versions(site)
        another_delay(site)
        if way == "proxy":
            proxy.process.terminate()
            proxy.process.wait(120)
            no_database(site)
            stack.enter_context(running_proxy(cluster.tcp_dsn(), port=proxy.port))
            assert shown(site.page("/")) == expected(site, FILTERS[""])
        site.connection.execute("SELECT ml.drop_model(%s)", [MODEL])
        no_model(site)


def another_version(site: Site) -> None:
    """Another version answers the next request, and the job writes it."""
    path = f"/departures/{expected(site, FILTERS[''])[0][0]}"
    before = site.page("/")
    site.connection.execute("SELECT ml.deploy(%s, 2)", [MODEL])
    after = site.page("/")
    assert "version 2 of the model" in after
    assert shown(after) == expected(site, FILTERS[""]) != shown(before)
    detail = site.page(path).split("Forecast on file")
    assert ["<dd>2</dd>" in part for part in detail] == [True, False]
    first, second = site.job().stdout, site.job().stdout
    assert int(first.split()[0]) > 19_000
    assert second == "0 forecasts written\n"
    detail = site.page(path).split("Forecast on file")
    assert ["<dd>2</dd>" in part for part in detail] == [True, True]
    site.connection.execute("SELECT ml.rollback(%s)", [MODEL])
    assert shown(site.page("/")) == shown(before)
    site.job()


def many_versions(site: Site) -> None:
    """While versions come and go, a page names the one that has predicted what it shows."""
    path = "/?day=2013-12-17&carrier=WN"

    def seen() -> tuple[str, tuple[tuple[int, str], ...]]:
        page = site.page(path)
        (version,) = re.findall(r"version (\d+) of the model", page)
        return version, tuple(shown(page))

    def deploy(version: int) -> None:
        site.connection.execute("SELECT ml.deploy(%s, %s)", [MODEL, version])

    right = set()
    for version in (1, 2):
        deploy(version)
        right.add(seen())
    assert [version for version, _ in sorted(right)] == ["1", "2"]
    turn = 0
    pages: list[concurrent.futures.Future[tuple[str, tuple[tuple[int, str], ...]]]] = []
    with concurrent.futures.ThreadPoolExecutor(2) as visitors:
        # however slow the one is and the other: some pages are asked for while versions come and go
        while turn < 4 or len(pages) < 24 or {page.result() for page in pages if page.done()} < right:
            assert turn < 1000
            pages += [visitors.submit(seen) for _ in range(2 - sum(not page.done() for page in pages))]
            deploy(1 + turn % 2)
            turn += 1
            time.sleep(0.05)
    assert {page.result() for page in pages} == right
    deploy(1)


def another_delay(site: Site) -> None:
    """A flight that leaves later than was known is forecast anew, and no other."""
    site.connection.execute("UPDATE flights SET dep_delay = dep_delay + 90 WHERE id = 325000")
    assert site.job().stdout == "1 forecasts written\n"


def no_database(site: Site) -> None:
    """A database that does not answer is told."""
    response = site.get("/")
    assert response.status_code == 503
    assert "does not answer" in response.text
    ended = site.job()
    assert ended.returncode == 1
    assert "no forecasts: the database" in ended.stderr
    assert "Traceback" not in ended.stderr


def no_model(site: Site) -> None:
    """A model that is gone is told, on every page and by the job; what was kept stays."""
    for path in ("/", "/departures/325000", "/?likely=true"):
        response = site.get(path)
        assert response.status_code == 503, path
        assert "No predictions for now: the model is not deployed at present." in response.text
        assert response.headers["Retry-After"] == "30"
    assert site.get("/nowhere").status_code == 404
    ended = site.job()
    assert ended.returncode == 1
    assert "no forecasts: the model is not deployed at present" in ended.stderr
    assert "Traceback" not in ended.stderr
    kept = site.connection.execute(f"SELECT count(*) FROM {site.table}".encode()).fetchone()
    assert kept is not None
    assert kept[0] > 19_000


def test_the_site_needs_no_other_migration(shared_flights: Flights) -> None:
    address = role_of(shared_flights)
    with shared_flights.connect() as connection:
        more = variables("django", connection)
    commands = "python manage.py makemigrations --check && python manage.py check --database default"
    ended = shell("django", address, commands, **more)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_both_look_the_same() -> None:
    styles = [path.read_text(encoding="utf-8") for path in (ROOT / "docs/examples").rglob("style.css")]
    assert len(styles) == len(APPLICATIONS)
    assert len(set(styles)) == 1


@pytest.mark.parametrize("name", APPLICATIONS)
def test_two_or_three_commands_will_do(name: str) -> None:
    commands, server = readme_commands(name)
    assert len([*commands, server]) <= 3
