"""The pages that a purge names, as the text in a line of the log.

    *                    all pages of the zone
    k:KEY_PREFIX         pages whose keys begin so
    u:KEY                the page of this key
    t:0123456789abcdef   pages with this tag
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection

from pagecache.key import escaped

ALL = b"*"

PREFIX_MOST = 512
"""The longest key or prefix in a purge, in bytes before they are escaped (core/src/purge/line.rs)."""


def of_key(key: bytes) -> bytes:
    """The page of a key, as nginx evaluates it, before it is escaped or shortened."""
    return b"u:" + escaped(key) if len(key) <= PREFIX_MOST else of_prefix(key)


def of_prefix(prefix: bytes) -> bytes:
    """The pages whose keys begin so. Of a long prefix only the beginning counts."""
    return b"k:" + escaped(prefix[:PREFIX_MOST]) if prefix else ALL


def of_tag(zone: str, tag: str) -> bytes:
    return b"t:" + hash_of(zone, tag)


def hash_of(zone: str, tag: str) -> bytes:
    """The hash of a tag: 16 hex digits."""
    return hashlib.sha256(f"{zone}\n{tag}".encode()).hexdigest()[:16].encode()


def line_of(target: bytes, hard: bool, now: int) -> bytes:
    return b"%s %d %s\n" % (b"h" if hard else b"s", now, target)


def is_named(line: bytes, key: bytes, tags: Collection[bytes]) -> bool:
    """Does a line of the log, without its end, name the page of a key with the hashes of its tags? A malformed line
    names all pages."""
    if not line:
        return False
    parsed = LINE.fullmatch(line)
    kind, text = (parsed[3][:1], parsed[3][2:]) if parsed else (ALL, b"")
    if kind == b"t":
        return text.lower() in tags
    if kind == b"u":
        named = _unescaped(text)
        return key == named if len(named) <= PREFIX_MOST else key.startswith(named[:PREFIX_MOST])
    return kind == ALL or key.startswith(_unescaped(text)[:PREFIX_MOST])


LINE = re.compile(
    rb"([sh]) (\d+) (\*|t:[0-9a-fA-F]{16}|[ku]:(?:%[0-9a-fA-F]{2}|[^\x00-\x20%])*)",
)
"""A line: the kind, the time, the target."""


def _unescaped(text: bytes) -> bytes:
    return re.sub(rb"%([0-9a-fA-F]{2})", lambda escape: bytes([int(escape[1], 16)]), text)
