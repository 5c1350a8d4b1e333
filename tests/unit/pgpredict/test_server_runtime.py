"""How ``up`` starts the runtime."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgpredict.server import Cluster, Home, ServerInstall
from pgpredict.server.runtime import environment


def test_settings_of_the_runtime_are_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install = ServerInstall("15.1", tmp_path, tmp_path, tmp_path)
    cluster = Cluster(Home(tmp_path), install)
    monkeypatch.delenv("PGPREDICT_MEMORY", raising=False)
    monkeypatch.setenv("PGPREDICT_THREADS", "3")
    monkeypatch.setenv("PGPREDICT_DEBUG", "1")
    handed_on = environment(cluster)
    assert handed_on["PGPREDICT_THREADS"] == "3"
    assert not {"PGPREDICT_MEMORY", "PGPREDICT_DEBUG"} & set(handed_on)
