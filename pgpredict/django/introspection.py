"""Model tables for ``inspectdb``: they have a schema of their own, and need conditions to be read."""

from __future__ import annotations

import re
from typing import Any

from django.db.backends.postgresql import introspection
from django.db.backends.postgresql.introspection import FieldInfo, TableInfo

#: what Django takes for a table's name, with the schema inside: it leaves quoted names alone
_MODEL_TABLE = re.compile(r'"models"\."(?:[^"]|"")+"')
_LIST = """
SELECT pg_catalog.format('"models"."%s"', pg_catalog.replace(c.relname, '"', '""')),
    pg_catalog.obj_description(c.oid, 'pg_class')
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = 'models' AND c.relkind = 'v' AND c.relname !~ '__(batch|version)$'
    AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
    AND EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'pgpredict')
ORDER BY 1
"""


class DatabaseIntrospection(introspection.DatabaseIntrospection):
    """Django's, which knows model tables as views named ``"models"."name"``."""

    def get_table_list(self, cursor: Any) -> list[Any]:
        """Return tables and views, model tables among them."""
        found: list[Any] = super().get_table_list(cursor)
        cursor.execute(_LIST)
        return found + [TableInfo(name, "v", comment) for name, comment in cursor.fetchall()]

    def get_table_description(self, cursor: Any, table_name: str) -> list[Any]:
        """Return the columns of a table; a model table is described and not read."""
        if not _MODEL_TABLE.fullmatch(table_name):
            described: list[Any] = super().get_table_description(cursor, table_name)
            return described
        cursor.execute(f"SELECT * FROM {table_name} LIMIT 0")  # noqa: S608 (a quoted name)
        return [
            FieldInfo(
                line.name, line.type_code, line.internal_size, line.internal_size, line.precision, line.scale,
                line.name != "features", None, None, False, None,
            )
            for line in cursor.description
        ]  # fmt: skip

    def get_constraints(self, cursor: Any, table_name: str) -> dict[str, Any]:
        """Return a table's constraints; what tells rows of a model table apart is their features."""
        if not _MODEL_TABLE.fullmatch(table_name):
            constraints: dict[str, Any] = super().get_constraints(cursor, table_name)
            return constraints
        key = {
            "columns": ["features"], "primary_key": True, "unique": True, "foreign_key": None, "check": False,
            "index": False, "definition": None, "options": None,
        }  # fmt: skip
        return {"features": key}
