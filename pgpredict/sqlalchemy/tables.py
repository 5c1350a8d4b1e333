"""Model tables in SQLAlchemy: mapped by hand, or reflected."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from sqlalchemy import Connection, Engine, MetaData, PrimaryKeyConstraint, Table, text

SCHEMA = "models"
_MODELS = """
SELECT m.name, ARRAY(SELECT f ->> 'name' FROM pg_catalog.jsonb_array_elements(m.signature -> 'features') AS f)
FROM ml.models AS m WHERE m.version IS NOT NULL ORDER BY m.name
"""


class ModelTable:
    """Mixin for a declarative class that maps a model table: ``class LateArrival(ModelTable, Base)``.

    The table gets its schema, and metadata of its own: ``Base.metadata.create_all()`` and Alembic know
    nothing of it, for it is the extension's. Its primary key is all the features: a row is what the model
    makes of them.
    """

    metadata: ClassVar[MetaData]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Give the class its metadata, before it is mapped; model tables do not refer to each other."""
        if "metadata" not in vars(cls):
            cls.metadata = MetaData(schema=SCHEMA)
        super().__init_subclass__(**kwargs)


def reflect_models(
    bind: Engine | Connection, only: Iterable[str] | None = None, metadata: MetaData | None = None
) -> MetaData:
    """Return metadata with the model tables of a database, for Core or for automap.

    :param bind: for an async engine, ``await connection.run_sync(reflect_models)``
    :param only: names of models; by default all that are deployed and the role may use
    :param metadata: what the tables are added to; by default new metadata
    :raises NoSuchTableError: for a model that there is not
    """
    if isinstance(bind, Engine):
        with bind.connect() as connection:
            return reflect_models(connection, only, metadata)
    found = MetaData() if metadata is None else metadata
    features: dict[str, list[str]] = {row[0]: row[1] for row in bind.execute(text(_MODELS))}
    for name in features if only is None else only:
        table = Table(name, found, schema=SCHEMA, autoload_with=bind)
        # a view has no primary key, and automap maps no table without one
        columns: list[Any] = [table.c[feature] for feature in features[name]]
        table.append_constraint(PrimaryKeyConstraint(*columns))
    return found
