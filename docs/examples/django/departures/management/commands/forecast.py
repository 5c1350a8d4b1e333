"""The update job: ``python manage.py forecast``, as often as you like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import Error, connection

from departures.models import DeployedModel
from departures.problems import Unavailable, explain

STATEMENT = Path(__file__).with_suffix(".sql")


class Command(BaseCommand):
    """Statements of one's own predict as well."""

    help = "Predicts all upcoming departures, and keeps the predictions."

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the one statement; exit code 1 and a line on standard error if there can be no predictions."""
        try:
            # a version is part of the text, and no parameter
            statement = STATEMENT.read_text(encoding="utf-8").format(version=DeployedModel.late().version)
            with connection.cursor() as cursor:
                cursor.execute(statement, {"today": settings.TODAY})
                written = cursor.rowcount
        except (Error, Unavailable) as error:
            problem = explain(error)
            if problem is None:
                raise
            raise CommandError(f"no forecasts: {problem}") from error
        self.stdout.write(f"{written} forecasts written")
