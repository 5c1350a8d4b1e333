"""The named queries of ``queries.sql``."""

from __future__ import annotations

import functools
import re
from importlib import resources
from typing import LiteralString


@functools.cache
def _queries() -> dict[str, LiteralString]:
    text = (resources.files(__package__) / "queries.sql").read_text(encoding="utf-8")
    parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], (body.strip() for body in parts[2::2]), strict=True))


def query(name: str) -> LiteralString:
    """Return a query by its name.

    :raises KeyError: if there is none
    """
    return _queries()[name]
