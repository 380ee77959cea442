"""What `manage.py pagecache check` says of one thing that it has looked at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """What is right is named by what it shows; what is wrong by its cause: key, prefix, escaping, distribution, flags,
    format, server, bypass, memcached, nginx, middleware, cookie, headers."""

    word: str
    text: str
    is_right: bool = False
