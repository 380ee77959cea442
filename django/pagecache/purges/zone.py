"""The zone of a key: pages of one zone are purged together. nginx knows the same name by `pagecache_purge_zone`."""

from __future__ import annotations

import re

from django.core.exceptions import ImproperlyConfigured

from pagecache import conf
from pagecache.key import KeyPattern

NAME_MOST = 128
"""The longest name, in bytes (core/src/purge/zone.rs)."""

_NAME = re.compile("[!-$&-~]{0,%d}" % NAME_MOST)


def zone_of(pattern: KeyPattern) -> str:
    """PAGECACHE_PURGE_ZONE, or the text at the beginning of the key, up to the first character that a name cannot have.
    Raises ImproperlyConfigured."""
    said = conf.purge_zone()
    if said is None:
        return _NAME.match(pattern.parts[0])[0]  # type: ignore[index]  # it may be empty
    if not isinstance(said, str) or not _NAME.fullmatch(said):
        raise ImproperlyConfigured(
            f"PAGECACHE_PURGE_ZONE is {said!r}; it is the name of nginx's pagecache_purge_zone, at most {NAME_MOST} letters, "
            "digits and signs of ASCII, without spaces and %"
        )
    return said


def zones() -> list[str]:
    """The zones of all keys of the site. Raises ImproperlyConfigured."""
    return list(dict.fromkeys(map(zone_of, conf.key_patterns())))


def log_key(zone: str) -> str:
    return f"pagecache:purges:{zone}"
