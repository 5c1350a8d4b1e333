"""A project whose database, engine and driver the environment says.

``SITE_ENGINE`` is ours or Django's, ``SITE_APP`` puts our app beside it, ``SITE_DRIVER`` is psycopg or
psycopg2, ``SITE_BINDING`` client or server, ``SITE_POOL`` asks for Django's pool, ``SITE_TEMPLATE`` is what
test databases are copies of, ``SITE_ROUTER`` keeps ``fleet`` out of the database.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

if os.environ.get("SITE_DRIVER") == "psycopg2":
    # Django takes psycopg 3 wherever it can be imported
    sys.modules["psycopg"] = None  # type: ignore[assignment]
    importlib.import_module("django.db.backends.postgresql.base")
    del sys.modules["psycopg"]

OPTIONS: dict[str, Any] = {}
if os.environ.get("SITE_BINDING") == "server":
    OPTIONS["server_side_binding"] = True
if os.environ.get("SITE_POOL"):
    OPTIONS["pool"] = {"min_size": 1, "max_size": 4, "timeout": 10}
NAMES = {"NAME": "PGDATABASE", "USER": "PGUSER", "PASSWORD": "PGPASSWORD", "HOST": "PGHOST", "PORT": "PGPORT"}
DATABASES = {
    "default": {
        "ENGINE": os.environ.get("SITE_ENGINE", "pgpredict.django"),
        "OPTIONS": OPTIONS,
        **{key: os.environ.get(name, "") for key, name in NAMES.items()},
        "TEST": {"TEMPLATE": os.environ.get("SITE_TEMPLATE")},
    },
    "other": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"},
}


class Nowhere:
    """A router that has no place for ``fleet``."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        """Say whether tables are made here."""
        return False if app_label == "fleet" else None


DATABASE_ROUTERS = [Nowhere()] if os.environ.get("SITE_ROUTER") else []
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "fleet",
]
if os.environ.get("SITE_APP"):
    INSTALLED_APPS.append("pgpredict.django")
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
ROOT_URLCONF = "urls"
SECRET_KEY = "of the tests"
USE_TZ = True
STATIC_URL = "static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
LANGUAGE_CODE = "en-us"
USE_THOUSAND_SEPARATOR = False
