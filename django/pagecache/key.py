"""The key of a page: computes nginx's `pagecache_key` again, byte for byte.

This file knows which variables a key may have, and memcached's limits; `policy.py` decides which pages may be stored
under a key.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from pagecache import boundaries
from pagecache.address import PageAddress
from pagecache.args import IgnoredArgs

KEY_MAX = 250
"""Bytes of memcached's longest key (protocol.txt, "Keys")."""


class NoKey(ValueError):
    """This page cannot be stored: the message says which part of its address prevents it."""


def raw_key(key: str, key_prefix: str, version: Any) -> str:
    """KEY_FUNCTION of the pages' cache: nginx knows neither Django's key prefix nor its key version."""
    return key


VARIABLES: dict[str, Callable[[PageAddress], bytes | None]] = {
    "uri": lambda page: page.uri,
    "document_uri": lambda page: page.uri,
    "args": lambda page: page.args,
    "query_string": lambda page: page.args,
    "is_args": lambda page: b"?" if page.args else b"",
    "request_uri": lambda page: page.request_uri,
    "host": lambda page: page.host,
    "scheme": lambda page: page.scheme,
}
"""nginx's variables that Django can know, each with its value for a page. Not listed are `$arg_NAME`, `$cookie_NAME`
and `$pagecache_args`, which depends on the pattern's ignored arguments."""

_PAGECACHE_ARGS = "pagecache_args"
_PATH = {"uri", "document_uri"}
_AS_IT_CAME = {"args", "query_string", "request_uri"}
_WHOLE_QUERY = {*_AS_IT_CAME, _PAGECACHE_ARGS}
_PART_OF_QUERY = {"args", "query_string", "is_args", _PAGECACHE_ARGS}


@dataclass(frozen=True)
class KeyPattern:
    """A parsed PAGECACHE_KEY: text and names of variables alternately, beginning with text; and the arguments that
    `$pagecache_args` leaves out and that the key need not contain."""

    text: str
    parts: tuple[str, ...]
    ignored: IgnoredArgs = IgnoredArgs()

    @classmethod
    @lru_cache(maxsize=64)  # for the keys of the settings and of decorated views
    def parse(cls, text: str, ignored: IgnoredArgs = IgnoredArgs()) -> KeyPattern:
        """`$name` and `${name}` are variables, as in nginx's configuration."""
        parts = re.split(r"\$(\{\w+\}|\w*)", text, flags=re.ASCII)
        parts[1::2] = [name.strip("{}") for name in parts[1::2]]
        for name in parts[1::2]:
            is_known = name.lower() in (*VARIABLES, _PAGECACHE_ARGS)
            if not is_known and not re.match("(arg|cookie)_.", name, re.IGNORECASE):
                known = " ".join(f"${name}" for name in (*VARIABLES, _PAGECACHE_ARGS, "arg_NAME", "cookie_NAME"))
                raise ImproperlyConfigured(
                    f'the key "{text}": "${name}" is not a variable that Django can know; it has {known}'
                )
        ambiguous = boundaries.ambiguous(parts)
        if ambiguous:
            name, advice = ambiguous
            raise ImproperlyConfigured(
                f'the key "{text}": pages of different URLs could have the same key, for the value of "${name}" '
                f"may go on with what follows it; {advice}"
            )
        return cls(text, tuple(parts), ignored)

    def lacks(self, query: bytes) -> bool:
        """Does a query have an argument that may change the page but that the key does not contain? nginx does not
        look such a page up."""
        return not self.has_query and self.ignored.leave(query, self.arguments)

    def held(self, query: bytes) -> bytes:
        """The part of a query that the key contains, provided that it lacks no argument."""
        return query if not _AS_IT_CAME.isdisjoint(self._names) else self.ignored.held(query, self.arguments)

    @property
    def has_query(self) -> bool:
        """Do pages that differ in any part of their query have different keys?"""
        return not _WHOLE_QUERY.isdisjoint(self._names)

    @property
    def joins_query(self) -> bool:
        """Does the key contain the decoded path and the query, so that a `?` in one may be taken for that of the
        other?"""
        has_part = not _PART_OF_QUERY.isdisjoint(self._names) or bool(self.arguments)
        return not _PATH.isdisjoint(self._names) and has_part

    @property
    def has_host(self) -> bool:
        return "host" in self._names

    def __str__(self) -> str:
        """The key as it is written."""
        return self.text

    @property
    def arguments(self) -> tuple[str, ...]:
        """Names of the arguments that the key contains as `$arg_NAME`, as PAGECACHE_KEY spells them."""
        return self._prefixed("arg_")

    @property
    def cookies(self) -> tuple[str, ...]:
        """Names of the cookies that the key contains, as PAGECACHE_KEY spells them."""
        return self._prefixed("cookie_")

    @property
    def _names(self) -> set[str]:
        return {name.lower() for name in self.parts[1::2]}

    def _prefixed(self, prefix: str) -> tuple[str, ...]:
        return tuple(name[len(prefix) :] for name in self.parts[1::2] if name.lower().startswith(prefix))

    def key(self, page: PageAddress) -> str:
        """The key under which nginx looks a page up.

        Raises NoKey if the page has no key, or one that Django's clients cannot send.
        """
        if self.joins_query and page.uri is not None and b"?" in page.uri:
            # nginx does not look such a page up, either: /a%3Fb=c would have the key of /a?b=c.
            raise NoKey("a question mark inside the path")
        key = shortened(escaped(self.value(page)))
        if not key:
            raise NoKey("the key is empty")
        if b"\x7f" in key:
            raise NoKey("Django sends no key with a DEL character in it")
        try:
            return key.decode()
        except UnicodeDecodeError:
            raise NoKey("the key is not UTF-8") from None

    def prefix(self, page: PageAddress) -> bytes:
        """The beginning of the keys of all pages whose path begins with that of `page`, before it is escaped: the value
        up to the path. If `page` has a query, all of the value.

        Raises NoKey if the key has no path.
        """
        if page.args:
            return self.value(page)
        value = b""
        for literal, name in zip(self.parts[::2], self.parts[1::2]):
            value += literal.encode() + _variable(name, page)
            if name.lower() in {*_PATH, "request_uri"}:
                return value
        raise NoKey("the key has no path")

    def value(self, page: PageAddress) -> bytes:
        """The value that nginx computes from the text, before it is escaped."""
        value = b""
        for literal, name in zip(self.parts[::2], (*self.parts[1::2], "")):
            value += literal.encode()
            if name.lower() == _PAGECACHE_ARGS:
                value += self.ignored.without(page.args)
            elif name:
                value += _variable(name, page)
        return value


def _variable(name: str, page: PageAddress) -> bytes:
    kind, _, rest = name.partition("_")
    if name.lower() in VARIABLES:
        value = VARIABLES[name.lower()](page)
    elif kind.lower() == "arg":
        value = page.argument(rest)
    else:
        value = page.cookie_value(rest)
        if value is None:
            raise NoKey(f"versions of nginx read ${name} differently")
    if value is None and name.lower() in _PATH:
        raise NoKey("a path that is not UTF-8, or none that nginx takes")
    if value is None:
        raise NoKey(f"${name} is not known")
    return value


def escaped(key: bytes) -> bytes:
    """Escapes the bytes that would end a key or a command on the wire, and the `%` that begins an escape."""
    return re.sub(rb"[\x00-\x20%]", lambda byte: b"%%%02X" % byte[0][0], key)


def shortened(key: bytes) -> bytes:
    """Replaces a key that is too long for memcached by `%sha256:` and its digest, like `pagecache_long_keys`."""
    return key if len(key) <= KEY_MAX else b"%sha256:" + hashlib.sha256(key).hexdigest().encode()
