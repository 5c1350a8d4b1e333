"""The batch text: a chunk's features as one text, format version 1."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rewriter.names import literal

#: of any function of PostgreSQL's
MOST_ARGUMENTS = 100


def batch_text(numbers: Sequence[str], matrix: str, texts: Sequence[tuple[str, str]]) -> str:
    """Return the aggregate expression that makes the batch text of a group of rows.

    :param numbers: features, in the order of a row's values
    :param matrix: column of float8[], a row's values of the numbers; not read if there are none
    :param texts: (feature, column of text)
    """
    tail = head(numbers, [name for name, _ in texts])
    parts = ["""'{"v":1,"rows":'""", "pg_catalog.count(*)", literal("," + tail)]
    for _, column in texts:
        parts += ["E'\\n'", f"pg_catalog.array_to_json(pg_catalog.array_agg({column}))"]
    parts.append("E'\\n'")
    if numbers:
        parts.append(f"pg_catalog.encode(ml.raw(pg_catalog.array_agg({matrix})), 'base64')")
    start, end = concat(len(parts))
    return f"{start}{', '.join(parts)}{end}"


def concat(count: int) -> tuple[str, str]:
    """Return what stands before and behind values of any type, to concatenate them.

    Not ``||``, whose meaning the caller's search_path could change.
    """
    if count <= MOST_ARGUMENTS:
        return "pg_catalog.concat(", ")"
    return "pg_catalog.concat(VARIADIC ARRAY[", "]::pg_catalog.text[])"


def head(numbers: Sequence[str], texts: Sequence[str]) -> str:
    """Return the rest of the batch text's first line behind the number of rows."""
    names = {"numbers": list(numbers), "texts": list(texts)}
    return json.dumps(names, ensure_ascii=False, separators=(",", ":"))[1:]
