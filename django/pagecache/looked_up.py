"""The one of the site's keys under which nginx has looked a page up."""

from __future__ import annotations

from django.http import HttpRequest

from pagecache import conf, told
from pagecache.address import PageAddress
from pagecache.key import KeyPattern, NoKey


def pattern_of(request: HttpRequest) -> KeyPattern | None:
    """None if nginx has looked up none of them."""
    page = PageAddress.of_request(request)
    for pattern in conf.key_patterns():
        try:
            if told.is_key(request.META, pattern.key(page)):
                return pattern
        except NoKey:
            continue
    return None
