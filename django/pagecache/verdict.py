"""Whether the response to a request may be stored, under which key, and for how long: by Django or by nginx, as
PAGECACHE_FILL says."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from pagecache import conf, enabled, origin, policy, query, told
from pagecache.address import PageAddress
from pagecache.freshness import lifetime
from pagecache.item import SECONDS_MOST
from pagecache.key import KeyPattern, NoKey

logger = logging.getLogger("pagecache")


@dataclass(frozen=True)
class Verdict:
    reason: str | None
    """The reason why the response must not be stored, in a few words; None if it may be. The rest is then set."""
    key: str = ""
    """The key in memcached."""
    seconds: int = 0
    """How long the page may be served from now on."""
    pattern: KeyPattern | None = None


def verdict(
    request: HttpRequest,
    response: HttpResponseBase,
    timeout: int | None,
    key: str | None,
    wrong: str | None = None,
) -> Verdict:
    """`timeout` in seconds and the pattern `key`: None for those of the settings; `wrong`: a mistake of the view. Raises
    ImproperlyConfigured."""
    found = _verdict(request, response, timeout, key) if wrong is None else Verdict(wrong)
    if found.reason is not None:
        logger.debug('"%s" is not stored: %s', request.path, found.reason)
    return found


def _verdict(request: HttpRequest, response: HttpResponseBase, timeout: int | None, key: str | None) -> Verdict:
    off = enabled.why_not()
    if off is not None:
        return Verdict(off)
    pattern = conf.key_pattern(key)
    if timeout is not None and type(timeout) is not int:  # nginx does not read fractions
        raise ImproperlyConfigured(f"a timeout is a whole number of seconds, and that of the view is {timeout!r}")
    seconds = lifetime(response, conf.timeout() if timeout is None else timeout)
    if conf.marks_pages():
        seconds = min(seconds, SECONDS_MOST)
    reason = policy.refusal(request, response, pattern) or ("a lifetime of 0" if seconds <= 0 else None)
    if reason is not None:
        return Verdict(reason)
    try:
        name = pattern.key(PageAddress.of_request(request))
    except NoKey as error:
        return Verdict(str(error))
    reason = told.refusal(request.META, request.path, name) or query.refusal(request, pattern) or _of_origin(request)
    return Verdict(reason, name, seconds, pattern)


def _of_origin(request: HttpRequest) -> str | None:
    trouble = origin.trouble(request)
    if trouble is None:
        return None
    told.say_once(f'"%s" is not stored: {trouble.advice}', request.path, *trouble.values)
    return trouble.reason
