"""The app ``pgpredict.django``, for databases of any other engine over PostgreSQL."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks
from django.db.backends.signals import connection_created

from . import hook, validation


class PgpredictConfig(AppConfig):
    """Installs the hook into every connection to PostgreSQL."""

    name = "pgpredict.django"
    label = "pgpredict"
    verbose_name = "Predictions"

    def ready(self) -> None:
        """Connect signals and checks."""
        connection_created.connect(hook.on_connection, dispatch_uid="pgpredict")
        checks.register(validation.check_databases, checks.Tags.database)
        validation.register()
