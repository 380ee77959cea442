"""A page that `manage.py pagecache check` requests from the running site: it passes nginx, the application's server
and each middleware like any other page, is stored like any other, and says in a header whether it was stored, and if
not, why.

    /pagecache-probe-TOKEN.TIME.SIGNATURE

The signature is made with the site's SECRET_KEY, so that nobody else can request such a page.
"""

from __future__ import annotations

import secrets
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.core.signing import BadSignature, TimestampSigner
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import get_resolver, re_path

from pagecache import conf
from pagecache.looked_up import pattern_of
from pagecache.tags import tag

HEADER = "X-Pagecache-Probe"

STORED = "stored"

TAG = "pagecache-probe"
"""By which it is purged."""

SECONDS = 20
"""The lifetime of a probe, in case it is not deleted, in seconds."""

_NAME = "pagecache-probe-"

_SIGNED_FOR_SECONDS = 60


def new_name() -> str:
    """The last part of the path of a new probe."""
    return _NAME + _signer().sign(secrets.token_hex(8))


def prepare(request: HttpRequest) -> None:
    """Routes a request for a probe to the view below, after all middlewares, instead of to a view of the site."""
    if _NAME not in request.path:
        return
    try:
        _signer().unsign(request.path.rpartition(_NAME)[2], max_age=_SIGNED_FOR_SECONDS)
    except BadSignature:
        return
    request.pagecache_is_probe = True  # type: ignore[attr-defined]
    any_request: Any = request  # Django accepts more than the name of a module
    any_request.urlconf = _with_probe(settings.ROOT_URLCONF)


def say(request: HttpRequest, response: HttpResponseBase, why_not: str | None) -> None:
    """Reports in a header of a probe whether it was stored. nginx stores the header too: a number tells a hit from
    another response of Django."""
    if getattr(request, "pagecache_is_probe", False):
        text = why_not or f"{STORED} {secrets.token_hex(8)}"
        response[HEADER] = " ".join(text.encode("ascii", "backslashreplace").decode().split())


def _signer() -> TimestampSigner:
    return TimestampSigner(sep=".", salt="pagecache.probe")


@lru_cache(maxsize=8)
def _with_probe(root: Any) -> tuple[Any, ...]:
    """A ROOT_URLCONF with the probe. Everything else is as in the site's: middlewares resolve URLs, and check whether
    they have language prefixes."""
    return (re_path(_NAME, _page), *get_resolver(root).url_patterns)


def _page(request: HttpRequest) -> HttpResponse:
    name = request.path.rpartition(_NAME)[2]
    # Long enough to be compressed, if pages are compressed.
    response = HttpResponse(f"a probe of pagecache, {name}\n".encode() * 20, content_type=conf.content_type())
    tag(request, TAG)
    pattern = pattern_of(request)
    response.pagecache_wishes = {"timeout": SECONDS, "key": pattern and pattern.text}  # type: ignore[attr-defined]
    return response
