"""One result of `manage.py pagecache check`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """A success is named by what it proves, a problem by its cause: key, prefix, escaping, distribution, flags,
    format, server, bypass, memcached, nginx, middleware, cookie, headers,
    purges."""

    word: str
    text: str
    is_right: bool = False
