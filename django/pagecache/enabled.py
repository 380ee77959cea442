"""Whether pages are stored: PAGECACHE_ENABLED, and whether tests run.

The tests of a site use its settings, and often its memcached, but the pages that they render are not those of the
site. While Django's `setup_test_environment` is in force, as under `manage.py test` and pytest-django, no page is
stored or dropped. Tests of the cache itself set PAGECACHE_ENABLED = "in tests", and use a memcached of their own.
"""

from __future__ import annotations

import sys

from django.core import mail

from pagecache import conf


def why_not() -> str | None:
    """The reason why no page is stored, in a few words; None if pages are stored."""
    if tests_run():
        return "tests are running (setup_test_environment)"
    return None if conf.enabled() else "PAGECACHE_ENABLED is False"


def tests_run() -> bool:
    """Are tests running that do not enable the cache?"""
    return conf.enabled() != conf.IN_TESTS and _is_test_environment()


def _is_test_environment() -> bool:
    # The module is not imported for this: a running site does not need it.
    utils = sys.modules.get("django.test.utils")
    state = getattr(utils, "_TestState", None)
    if state is None:
        return utils is not None and hasattr(mail, "outbox")
    return hasattr(state, "saved_data")
