"""For ``env.py``: Alembic's autogenerate leaves alone what belongs to the extension.

It does so by itself where it only looks at the default schema and model tables are mapped with
:class:`~pgpredict.sqlalchemy.ModelTable`. With ``include_schemas=True``, or with model tables in metadata of
the application's own, these say so::

    context.configure(..., include_name=include_name, include_object=include_object)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: of the extension: its catalog, its foreign tables, the model tables
SCHEMAS = frozenset({"ml", "ml_internal", "models"})


def include_name(name: str | None, type_: str, parent_names: Mapping[str, Any]) -> bool:
    """Tell whether something of the database is the application's."""
    schema = name if type_ == "schema" else parent_names.get("schema_name")
    return schema not in SCHEMAS


def include_object(object_: Any, name: str | None, type_: str, reflected: bool, compare_to: Any) -> bool:
    """Tell whether something of the metadata or of the database is the application's."""
    table = object_ if type_ == "table" else getattr(object_, "table", None)
    return getattr(table, "schema", None) not in SCHEMAS
