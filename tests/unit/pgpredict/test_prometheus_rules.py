"""The alerts of docs/prometheus-rules.yml, by Prometheus' own tool, and metrics of the runtime."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from pgpredict.proxy.metrics import StatsCollector
from pgpredict.proxy.stats import Stats, count
from pgpredict.runtime.metrics import exposition
from tests.pages import ROOT

RULES = ROOT / "docs/prometheus-rules.yml"
SUMMARY = {"count": 3, "p50_ms": 0.5, "p99_ms": 2.0}
STATUS = {
    "uptime": 12.5, "rss": 7e7, "memory": 1e6, "memory_limit": 2 << 30, "connections": 3, "restarts": 1,
    "loads": 2, "evictions": 0,
    "models": [
        {"artifact": "0123456789abcdef", "target": 'a "name"', "requests": 3, "rows": 40_000, "errors": 1,
         "loaded": True, "point": {"count": 0}, "batch": SUMMARY},
        {"artifact": "fedcba9876543210", "loaded": False},
    ],
}  # fmt: skip


@pytest.fixture
def promtool() -> str:
    places = f"{os.environ['PATH']}:{ROOT / '.venv/clients/debian/usr/bin'}"
    found = shutil.which("promtool", path=places)
    if found is None:
        pytest.skip("no promtool here: scripts/clients could not fetch it")
    return found


def test_rules_are_rules(promtool: str) -> None:
    subprocess.run([promtool, "check", "rules", RULES], check=True)


def test_each_alert_is_raised_and_is_quiet_otherwise(promtool: str, tmp_path: Path) -> None:
    shutil.copy(RULES, tmp_path)
    shutil.copy(ROOT / "tests/data/prometheus-rules-test.yml", tmp_path)
    command = [promtool, "test", "rules", "prometheus-rules-test.yml"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    tried = (tmp_path / "prometheus-rules-test.yml").read_text()
    alerts = re.findall(r"alert: (\w+)", RULES.read_text())
    assert [name for name in alerts if f"alertname: {name}\n" not in tried] == []


def test_alerts_name_metrics_that_there_are() -> None:
    text = RULES.read_text()
    ours = set(re.findall(r"pgpredict_\w+", "".join(re.findall(r"expr: (.*)", text))))
    known = {metric.name for metric in StatsCollector(Stats()).collect()}
    known |= {family.name for family in text_string_to_metric_families(exposition(STATUS))}
    assert ours
    assert {re.sub(r"_(total|bucket)$", "", name) for name in ours} <= known


def test_what_an_alert_looks_at_is_there_before_it_happens() -> None:
    """Prometheus sees no increase in a series that begins with 1."""
    stats = Stats()
    count(stats.refused, "28000")
    samples = {
        sample.labels["sqlstate"]: sample.value
        for metric in StatsCollector(stats).collect()
        for sample in metric.samples
        if sample.name == "pgpredict_refused_connections_total"
    }
    [watched] = re.findall(r'refused_connections_total\{sqlstate=~"(.*?)"', RULES.read_text())
    assert samples == {"28000": 1, **dict.fromkeys(watched.split("|"), 0)}
    count(stats.refused, "53300")
    text = generate_latest(registry(stats)).decode()
    assert 'pgpredict_refused_connections_total{sqlstate="53300"} 1.0' in text


def registry(stats: Stats) -> CollectorRegistry:
    made = CollectorRegistry()
    made.register(StatsCollector(stats))
    return made


def test_metrics_of_a_runtime(promtool: str) -> None:
    text = exposition(STATUS)
    assert 'pgpredict_runtime_rows_total{artifact="0123456789ab",target="a \\"name\\""} 40000.0' in text
    assert 'form="batch",percentile="99",target="a \\"name\\""} 0.002' in text
    assert 'form="point"' not in text
    assert 'pgpredict_runtime_requests_total{artifact="fedcba987654",target=""} 0.0' in text
    subprocess.run([promtool, "check", "metrics"], input=text, text=True, check=True)
