"""nginx's report about its lookup, in two headers of the request that it passes on: whether the response is for
everybody, and under which key nginx would find it.

    X-Pagecache-Status: MISS
    X-Pagecache-Key: http://example.com/news/?page=2

Only nginx knows that: the response to a BYPASS may be for one visitor, although nothing in Django shows it, and a page
under another key than nginx's would never be found, or be served to visitors who request another page.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

logger = logging.getLogger("pagecache")

MISS = "MISS"
"""The only status whose responses are stored; BYPASS, ERROR and any status of later versions of the module are not."""

_said: set[str] = set()
"""The messages that this process has logged already: they are the same for each page."""


def refusal(meta: Mapping[str, Any], path: str, key: str) -> str | None:
    """The reason why the response to a request must not be stored under this key, in a few words; None if it may
    be."""
    status = meta.get("HTTP_X_PAGECACHE_STATUS")
    if status is None:
        say_once(
            '"%s" is not stored: the request has no X-Pagecache-Status. It comes from a location of nginx without '
            "pagecache_pass or with pagecache_request_headers off, from an nginx-pagecache that sends no such header, "
            "or past nginx",
            path,
        )
        return "no X-Pagecache-Status"
    if not is_miss(meta):
        return f"nginx's status {status}"
    if not is_key(meta, key):
        say_once(
            '"%s" is not stored: nginx has looked up "%s", and Django\'s key is "%s". pagecache_key and PAGECACHE_KEY '
            "must be the same, and so must pagecache_ignore_args and PAGECACHE_IGNORE_ARGS",
            path,
            key_of(meta),
            key,
        )
        return "another key than nginx's"
    return None


def is_miss(meta: Mapping[str, Any]) -> bool:
    return bool(meta.get("HTTP_X_PAGECACHE_STATUS") == MISS)


def is_key(meta: Mapping[str, Any], key: str) -> bool:
    """Did nginx look the page up under this key?"""
    return _key_of_nginx(meta) == key.encode()


def key_of(meta: Mapping[str, Any]) -> str:
    """The key under which nginx has looked the page up, for messages."""
    return _key_of_nginx(meta).decode(errors="replace")


def _key_of_nginx(meta: Mapping[str, Any]) -> bytes:
    return str(meta.get("HTTP_X_PAGECACHE_KEY", "")).encode("latin-1", "replace")


def say_once(message: str, *arguments: str) -> None:
    """Warns, once in each process for each message."""
    if message not in _said:
        _said.add(message)
        logger.warning(message, *arguments)
