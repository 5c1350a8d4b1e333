"""Memory of a model in the runtime: loaded, and while it predicts a batch, in a process of its own.

``python -m benchmarks.models`` is that process: an artifact on standard input, on standard output what it
takes, in bytes, as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import psycopg

from onnx_models.reading import Source
from onnx_models.scoring import Model
from onnx_models.train import train
from onnx_models.training import Options
from pgpredict.runtime.sessions import estimate, release_memory

from .memory import peak_during, private_bytes
from .report import Finding

NAME = "bench_memory"
ROWS = 20_000
#: loaded at once; what one takes is too little to be seen
COPIES = 10
#: algorithm, and its parameters where they are not the usual ones
ALGORITHMS: tuple[tuple[str, dict[str, str]], ...] = (
    ("linear", {}),
    ("decision_tree", {}),
    ("gradient_boosting", {}),
    ("hist_gradient_boosting", {}),
    ("random_forest", {}),
    ("knn", {}),
    ("mlp", {}),
)


def measure(connection: psycopg.Connection[Any]) -> list[Finding]:
    """Train a model of each algorithm on ten numbers, and measure what it takes.

    :param connection: in autocommit, to a database with the tables of ``workspace``
    """
    query = f"SELECT x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, y FROM bench.numbers WHERE id <= {ROWS}"
    findings = []
    for algorithm, parameters in ALGORITHMS:
        options = Options(algorithm=algorithm, parameters=parameters, test_size=0.1)
        try:
            train(connection, NAME, Source(query, "y"), options)
            row = connection.execute("SELECT ml.export(%s)", [NAME]).fetchone()
        finally:
            connection.execute("SELECT ml.drop_model(name) FROM ml.models WHERE name = %s", [NAME])
        assert row is not None
        findings.append(finding(algorithm, bytes(row[0])))
    return findings


def finding(algorithm: str, content: bytes) -> Finding:
    """Measure one artifact."""
    environment = {**os.environ, "MALLOC_ARENA_MAX": "2"}
    command = [sys.executable, "-m", "benchmarks.models"]
    done = subprocess.run(command, input=content, capture_output=True, check=True, env=environment)
    taken = json.loads(done.stdout)
    return Finding(
        f"{algorithm}, artifact of {len(content) / 1e6:.2f} MB",
        f"{taken['loaded'] / 1e6:.1f} MB, {taken['batch'] / 1e6:.0f} MB more in a batch of {ROWS:,} rows",
        f"{estimate(len(content)) / 1e6:.1f} MB by the runtime's estimate",
        taken["loaded"] / estimate(len(content)),
        "of the estimate",
        "≤ 1.25",
        taken["loaded"] <= 1.25 * estimate(len(content)),
    )


def main() -> None:
    """Load the artifact of standard input again and again, predict with it, and tell what each took."""
    content = sys.stdin.buffer.read()
    pid = os.getpid()
    # the first one brings ONNX Runtime's own memory along
    first = Model.load(content)
    columns = {f.name: np.linspace(0.0, 1.0, ROWS) for f in first.signature.features}
    first.predict(columns, ROWS)
    release_memory()
    before = private_bytes(pid)
    models = [Model.load(content) for _ in range(COPIES)]
    release_memory()
    loaded = private_bytes(pid)
    peak = peak_during(pid, lambda: [models[0].predict(columns, ROWS) for _ in range(5)], interval=0.002)
    sys.stdout.write(json.dumps({"loaded": (loaded - before) / COPIES, "batch": peak - loaded}))


if __name__ == "__main__":
    main()
