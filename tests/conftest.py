"""Plugins by concern; each owns its fixtures, options and markers."""

from __future__ import annotations

import os

from hypothesis import settings

# The machines are shared and slow: no example has a deadline. CI tries the same examples each time, to
# judge the change at hand; new ones are found where people work.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")

pytest_plugins = [
    "tests.fix_models",
    "tests.fix_server",
    "tests.fix_runtime",
    "tests.fix_rewriter",
    "tests.fix_proxy",
    "tests.fix_spare",
    "tests.fix_clients",
    "tests.fix_django",
    "tests.fix_flights",
    "tests.fix_examples",
    "tests.fix_sqlalchemy",
    "tests.fix_host",
]
