"""Writes pages to memcached and drops them. Errors of memcached do not affect visitors."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from pagecache import client, conf, enabled, query, tags, told
from pagecache.freshness import age_of
from pagecache.item import NoItem, item_of
from pagecache.purges import render
from pagecache.verdict import verdict

logger = logging.getLogger("pagecache")

WARNING_INTERVAL = 60.0
"""Seconds between two warnings: otherwise, while memcached is down, every page would cause one."""

_last_warning = float("-inf")


def store(
    request: HttpRequest,
    response: HttpResponse,
    timeout: int | None = None,
    key: str | None = None,
    wrong: str | None = None,
) -> str | None:
    """Stores the response to a request if that is allowed; `timeout` in seconds and the pattern `key`, None for those
    of the settings; `wrong`, a mistake of its view. Returns the reason why it was not stored, None if it was."""
    return quietly("stored", request.path, lambda: _store(request, response, timeout, key, wrong))


def prepare(request: HttpRequest) -> None:
    """Reduces the request to the part that the page may depend on, before the view sees it."""
    if enabled.why_not() is None:
        quietly("stored", request.path, lambda: query.hide(request))
        quietly("stored", told.key_of(request.META) or request.path, lambda: render.begin(request))


def _store(
    request: HttpRequest, response: HttpResponse, timeout: int | None, key: str | None, wrong: str | None
) -> str | None:
    found = verdict(request, response, timeout, key, wrong)
    if found.reason is not None:
        return found.reason
    names = tags.tags_of(request, response)
    begun = render.render_of(request)
    reason = render.UNKNOWN if begun is None else begun.refusal(names)
    if begun is not None and reason is None:
        try:
            item = item_of(response, found.seconds, age_of(response) or 0, begun.note(names))
        except NoItem as error:
            reason = str(error)
    if begun is None or reason is not None:
        logger.debug('"%s" is not stored: %s', request.path, reason)
        return reason
    reason = quietly("stored", found.key, lambda: client.put(conf.cache(), found.key, item.value, found.seconds, item.flags))
    if reason is None:
        # A purge may have been made since the look at the log, and have found nothing to delete.
        reason = begun.refusal(names)
        if reason is not None:
            drop(found.key)
    return reason


def drop(key: str) -> None:
    """Deletes a page from the cache, if it is there: also while no pages are stored, since nginx still serves it."""
    if enabled.tests_run():
        logger.debug('"%s" is not dropped: tests are running', key)
        return
    quietly("dropped", key, lambda: _delete(key))


def _delete(key: str) -> None:
    conf.cache().delete(key)


def quietly(done: str, key: str, write: Callable[[], str | None]) -> str | None:
    """Calls the function and returns its result, or the error as text."""
    global _last_warning
    try:
        return write()
    except Exception as error:  # every client library has its own exceptions, which visitors must not see
        now = time.monotonic()
        if now - _last_warning >= WARNING_INTERVAL:
            _last_warning = now
            logger.warning('"%s" is not %s: %s: %s', key, done, type(error).__name__, error)
        return f"{type(error).__name__}: {error}"
