"""The app ``pgpredict.django``, for databases of any other engine over PostgreSQL."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks
from django.core.signals import setting_changed
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate

from . import hook, output, validation


class PgpredictConfig(AppConfig):
    """Installs the hook into every connection to PostgreSQL."""

    name = "pgpredict.django"
    label = "pgpredict"
    verbose_name = "Predictions"

    def ready(self) -> None:
        """Connect signals and checks."""
        connection_created.connect(hook.on_connection, dispatch_uid="pgpredict")
        post_migrate.connect(output.forget, dispatch_uid="pgpredict")
        setting_changed.connect(output.forget, dispatch_uid="pgpredict")
        checks.register(validation.check_databases, checks.Tags.database)
        checks.register(validation.check_models, checks.Tags.models)
