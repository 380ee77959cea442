"""What Django's cache interface has no word for, said to the client library behind it: an item's flags.

Where an item goes is decided by that library, too, so that flags never send it to another server.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.memcached import PyLibMCCache, PyMemcacheCache

_SAMPLE = b"a page " * 10_000
"""What a client that compresses would compress."""


def put(backend: BaseCache, key: str, value: bytes, seconds: int, flags: int) -> None:
    """Stores an item with exactly these flags. Raises what the client library raises."""
    if not flags:
        # Of bytes every client makes an item with the flags 0.
        backend.set(key, value, seconds)
        return
    any_backend: Any = backend
    key = any_backend.make_and_validate_key(key)
    until = any_backend.get_backend_timeout(seconds)
    if isinstance(backend, PyMemcacheCache):
        stored = any_backend._cache.set(key, value, until, flags=flags)
    else:
        stored = _flagging_pylibmc(backend).set(key, _Flagged(value, flags), until)
    if not stored:
        # As Django's own set does: the key must not keep its old page.
        any_backend._cache.delete(key)


def takes_flags(backend: BaseCache) -> bool:
    """Can `put` give an item of this cache flags other than 0?"""
    return isinstance(backend, (PyMemcacheCache, PyLibMCCache))


def place_unknown_to_nginx(backend: BaseCache) -> str | None:
    """Where a cache keeps its items, if nginx cannot read them there; None for memcached, and for what is not known."""
    return next((_PLACES[of.__module__] for of in type(backend).__mro__ if of.__module__ in _PLACES), None)


_PLACES = {
    "django.core.cache.backends.locmem": "in the memory of one process",
    "django.core.cache.backends.filebased": "in files",
    "django.core.cache.backends.db": "in the database",
    "django.core.cache.backends.dummy": "nowhere",
    "django.core.cache.backends.redis": "in Redis",
    "django_redis.cache": "in Redis",
}
"""By the module of the cache's class."""


def problem_of(backend: BaseCache, options: Mapping[str, Any]) -> str | None:
    """What about a cache's OPTIONS makes its items other than nginx expects them; None for nothing."""
    if not isinstance(backend, PyMemcacheCache):
        return None
    if options.get("key_prefix"):
        # Besides, it is no part of what pymemcache picks the server by.
        return "OPTIONS has a key_prefix, which nginx does not know: put it into PAGECACHE_KEY and pagecache_key"
    serde = options.get("serde")
    if serde is not None and tuple(serde.serialize("", _SAMPLE)) != (_SAMPLE, 0):
        return "OPTIONS has a serde that does not leave bytes as they are: nginx would take its items for no pages"
    return None


class _Flagged(bytes):
    """Bytes that bring their flags along."""

    flags: int

    def __new__(cls, value: bytes, flags: int) -> _Flagged:
        flagged = super().__new__(cls, value)
        flagged.flags = flags
        return flagged


def _flagging_pylibmc(backend: Any) -> Any:
    """A client like the cache's own: the same servers and options, the same thread. pylibmc lets the class
    of a client say what flags a value has, and nothing else."""
    client = getattr(backend, "_pagecache_client", None)
    if client is None:

        class Client(backend._class):  # type: ignore[misc]
            def serialize(self, value: Any) -> tuple[bytes, int]:
                return (bytes(value), value.flags) if isinstance(value, _Flagged) else super().serialize(value)

        client = backend._pagecache_client = Client(backend.client_servers, **backend._options)
    return client
