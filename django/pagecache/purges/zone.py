"""The zone of a key: pages of one zone are purged together. nginx knows the same name by `pagecache_purge_zone`."""

from __future__ import annotations

import re

from django.core.exceptions import ImproperlyConfigured

from pagecache import conf
from pagecache.key import KeyPattern

NAME_MOST = 128
"""The longest name, in bytes (core/src/purge/zone.rs)."""


def zone_of(pattern: KeyPattern) -> str:
    """PAGECACHE_PURGE_ZONE, or the literal text at the beginning of the key. Raises ImproperlyConfigured."""
    said = conf.purge_zone()
    name = pattern.parts[0] if said is None else said
    if not isinstance(name, str) or not re.fullmatch("[!-$&-~]{0,%d}" % NAME_MOST, name):
        place = f'the beginning of the key "{pattern}"' if said is None else f"PAGECACHE_PURGE_ZONE, {name!r},"
        raise ImproperlyConfigured(
            f"{place} is no name of a purge zone, which has at most {NAME_MOST} letters, digits and signs of ASCII, "
            "without spaces and %: set PAGECACHE_PURGE_ZONE, and nginx's pagecache_purge_zone, to one"
        )
    return name


def zones() -> list[str]:
    """The zones of all keys of the site. Raises ImproperlyConfigured."""
    return list(dict.fromkeys(map(zone_of, conf.key_patterns())))


def log_key(zone: str) -> str:
    return f"pagecache:purges:{zone}"
