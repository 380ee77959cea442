"""The client library behind Django's cache interface: sets the flags of an item, for which that interface has no
parameter, and says which server and which timeouts the client uses.

The library also chooses the server of an item, so that an item with flags is on the same server as without.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.memcached import PyLibMCCache, PyMemcacheCache

_SAMPLE = b"a page " * 10_000
"""A value that a compressing client would compress."""


def put(backend: BaseCache, key: str, value: bytes, seconds: int, flags: int) -> None:
    """Stores an item with exactly these flags. Raises what the client library raises."""
    if not flags:
        # Every client stores bytes with the flags 0.
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
        # Like Django's own set: the key must not keep its old page.
        any_backend._cache.delete(key)


def takes_flags(backend: BaseCache) -> bool:
    """Can `put` give an item of this cache flags other than 0?"""
    return isinstance(backend, (PyMemcacheCache, PyLibMCCache))


def server_of(backend: BaseCache, servers: Sequence[str], key: str) -> str | None:
    """The server of a key, of those in LOCATION; None if the library does not say."""
    if len(servers) == 1:
        return servers[0]
    if not isinstance(backend, PyMemcacheCache):
        return None
    any_backend: Any = backend
    nodes = list(any_backend._cache.clients)  # in the order of LOCATION
    node = any_backend._cache.hasher.get_node(key)
    return servers[nodes.index(node)] if node in nodes and len(nodes) == len(servers) else None


def timeout_of(options: Mapping[str, Any], most: float) -> float:
    """How long the client waits for a server, in seconds, by a cache's OPTIONS; `most` if it waits longer."""
    behaviors = options.get("behaviors") or {}  # of pylibmc, in milliseconds
    seconds = [options.get(name) for name in ("connect_timeout", "timeout")]
    milliseconds = [behaviors.get(name) for name in ("connect_timeout", "_poll_timeout")]
    said = [number for number in seconds if isinstance(number, (int, float)) and number > 0]
    said += [number / 1000 for number in milliseconds if isinstance(number, int) and number > 0]
    return min([most, *([max(said)] if said else [])])


def place_unknown_to_nginx(backend: BaseCache) -> str | None:
    """The place where a cache keeps its items, if nginx cannot read them there; None for memcached, and for unknown
    caches."""
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
    """The reason why a cache's OPTIONS give its items a form that nginx does not expect; None if there is none."""
    if not isinstance(backend, PyMemcacheCache):
        return None
    if options.get("key_prefix"):
        # Moreover, pymemcache ignores the prefix when it chooses the server.
        return "OPTIONS has a key_prefix, which nginx does not know: put it into PAGECACHE_KEY and pagecache_key"
    serde = options.get("serde")
    if serde is not None and tuple(serde.serialize("", _SAMPLE)) != (_SAMPLE, 0):
        return "OPTIONS has a serde that does not leave bytes as they are: nginx would take its items for no pages"
    return None


class _Flagged(bytes):
    """Bytes with the flags with which they are stored."""

    flags: int

    def __new__(cls, value: bytes, flags: int) -> _Flagged:
        flagged = super().__new__(cls, value)
        flagged.flags = flags
        return flagged


def _flagging_pylibmc(backend: Any) -> Any:
    """A client like the cache's own, with the same servers and options, in the same thread. In pylibmc, only the class
    of a client can set the flags of a value."""
    client = getattr(backend, "_pagecache_client", None)
    if client is None:

        class Client(backend._class):  # type: ignore[misc]
            def serialize(self, value: Any) -> tuple[bytes, int]:
                return (bytes(value), value.flags) if isinstance(value, _Flagged) else super().serialize(value)

        client = backend._pagecache_client = Client(backend.client_servers, **backend._options)
    return client
