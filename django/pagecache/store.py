"""Writes pages to memcached and drops them. Errors of memcached do not affect visitors."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse

from pagecache import client, conf, enabled, origin, policy, query, told
from pagecache.address import PageAddress
from pagecache.freshness import age_of, lifetime
from pagecache.item import SECONDS_MOST, NoItem, item_of
from pagecache.key import NoKey

logger = logging.getLogger("pagecache")

WARNING_INTERVAL = 60.0
"""Seconds between two warnings: otherwise, while memcached is down, every page would cause one."""

_last_warning = float("-inf")


def store(request: HttpRequest, response: HttpResponse, timeout: int | None = None, key: str | None = None) -> str | None:
    """Stores the response to a request if that is allowed; `timeout` in seconds and the pattern `key`, None for those
    of the settings. Returns the reason why it was not stored, None if it was."""
    return _quietly("stored", request.path, lambda: _store(request, response, timeout, key))


def prepare(request: HttpRequest) -> None:
    """Reduces the request to the part that the page may depend on, before the view sees it."""
    if enabled.why_not() is None:
        _quietly("stored", request.path, lambda: query.hide(request))


def _store(request: HttpRequest, response: HttpResponse, timeout: int | None, key: str | None) -> str | None:
    off = enabled.why_not()
    if off is not None:
        logger.debug('"%s" is not stored: %s', request.path, off)
        return off
    pattern = conf.key_pattern(key)
    if timeout is not None and type(timeout) is not int:  # nginx does not read fractions
        raise ImproperlyConfigured(f"a timeout is a whole number of seconds, and that of the view is {timeout!r}")
    seconds = lifetime(response, conf.timeout() if timeout is None else timeout)
    if conf.marks_pages():
        seconds = min(seconds, SECONDS_MOST)
    reason = policy.refusal(request, response, pattern) or ("a lifetime of 0" if seconds <= 0 else None)
    if reason is None:
        try:
            name = pattern.key(PageAddress.of_request(request))
            reason = told.refusal(request.META, request.path, name) or query.refusal(request, pattern)
            reason = reason or _of_origin(request)
            item = item_of(response, seconds, age_of(response) or 0)
        except (NoKey, NoItem) as error:
            reason = str(error)
    if reason is not None:
        logger.debug('"%s" is not stored: %s', request.path, reason)
        return reason
    return _quietly("stored", name, lambda: client.put(conf.cache(), name, item.value, seconds, item.flags))


def _of_origin(request: HttpRequest) -> str | None:
    trouble = origin.trouble(request)
    if trouble is None:
        return None
    told.say_once(f'"%s" is not stored: {trouble.advice}', request.path, *trouble.values)
    return trouble.reason


def drop(key: str) -> None:
    """Deletes a page from the cache, if it is there: also while no pages are stored, since nginx still serves it."""
    if enabled.tests_run():
        logger.debug('"%s" is not dropped: tests are running', key)
        return
    _quietly("dropped", key, lambda: _delete(key))


def _delete(key: str) -> None:
    conf.cache().delete(key)


def _quietly(done: str, key: str, write: Callable[[], str | None]) -> str | None:
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
