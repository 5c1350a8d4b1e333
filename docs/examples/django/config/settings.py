"""Settings, from the environment."""

from __future__ import annotations

import datetime
import os

SECRET_KEY = os.environ.get("SECRET_KEY", "for trying this out")
DEBUG = bool(os.environ.get("DEBUG"))
ALLOWED_HOSTS = os.environ.get("ALLOWED_HOSTS", "localhost,127.0.0.1").split(",")

DATABASES = {
    "default": {
        # Django's own engine with PREDICT. Where the address is the proxy's, it has nothing to do.
        "ENGINE": "pgpredict.django",
        "NAME": os.environ.get("PGDATABASE", "pgpredict"),
        "HOST": os.environ.get("PGHOST", ""),
        "PORT": os.environ.get("PGPORT", ""),
        "USER": os.environ.get("PGUSER", ""),
        "PASSWORD": os.environ.get("PGPASSWORD", ""),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
    }
}
INSTALLED_APPS = ["departures"]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "departures.problems.Explain",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
    }
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "America/New_York"

#: the demo's flights are those of 2013: this day's are shown, and from it on they are forecast
TODAY = datetime.date.fromisoformat(os.environ.get("TODAY", "2013-12-10"))
PAGE_SIZE = int(os.environ.get("PAGE_SIZE", "20"))
