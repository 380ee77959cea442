"""Whether pages are stored at all: PAGECACHE_ENABLED, and whether tests run.

A site's tests have its settings, and often its memcached: the pages that they make are not those of the site. While
`setup_test_environment` of Django is in force, as it is under `manage.py test` and pytest-django, nothing is stored and
nothing is dropped. Tests of the cache itself say PAGECACHE_ENABLED = "in tests", and have a memcached of their own.
"""

from __future__ import annotations

import sys

from django.core import mail

from pagecache import conf


def why_not() -> str | None:
    """Why no page is stored, in a few words; None if pages are."""
    if tests_run():
        return "tests are running (setup_test_environment)"
    return None if conf.enabled() else "PAGECACHE_ENABLED is False"


def tests_run() -> bool:
    """Are these tests, which do not ask for the cache?"""
    return conf.enabled() != conf.IN_TESTS and _is_test_environment()


def _is_test_environment() -> bool:
    # It is not imported for this: a site that runs has no use for it.
    utils = sys.modules.get("django.test.utils")
    state = getattr(utils, "_TestState", None)
    if state is None:
        return utils is not None and hasattr(mail, "outbox")
    return hasattr(state, "saved_data")
