"""The key of a page: nginx's `pagecache_key` worked out a second time, byte for byte.

This file knows nginx's variables and memcached's limits; what may be stored under a key is decided
in `policy.py`.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_to_bytes

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.utils.encoding import iri_to_uri

KEY_MAX = 250
"""Bytes of memcached's longest key (protocol.txt, "Keys")."""


class NoKey(ValueError):
    """This page cannot be stored: the message says what about its address is in the way."""


def raw_key(key: str, key_prefix: str, version: Any) -> str:
    """KEY_FUNCTION of the pages' cache: nginx knows neither Django's key prefix nor its version."""
    return key


@dataclass(frozen=True)
class PageAddress:
    """Where a page is found, as nginx's variables say it. None: not known here."""

    uri: bytes | None
    args: bytes
    request_uri: bytes | None
    host: bytes | None
    scheme: bytes | None

    @classmethod
    def of_request(cls, request: HttpRequest) -> PageAddress:
        meta = request.META
        request_uri = meta.get("REQUEST_URI")
        wire = "latin-1" if hasattr(request, "environ") else "utf-8"  # WSGI (PEP 3333), ASGI
        return cls(
            uri=_request_path(request),
            args=meta.get("QUERY_STRING", "").encode(wire),
            request_uri=None if request_uri is None else request_uri.encode(wire),
            host=_bare_host(meta.get("HTTP_HOST", "")),
            scheme=(meta.get("REQUEST_SCHEME") or request.scheme or "").encode() or None,
        )

    @classmethod
    def of_path(cls, path: str, host: str | None, scheme: str | None) -> PageAddress:
        """The address of a path as `reverse` gives it or as a reader sees it: `%C3%B6` and `ö` are
        the same, a literal percent sign is `%25`; `?` begins the query, a `#fragment` is ignored."""
        path = path.partition("#")[0]
        before_query, _, query = path.partition("?")
        return cls(
            uri=unquote_to_bytes(before_query),
            args=iri_to_uri(query).encode(),
            request_uri=iri_to_uri(path).encode(),
            host=_bare_host(host or ""),
            scheme=scheme.encode() if scheme else None,
        )


# Django shows a path that is not UTF-8 with its odd bytes percent-encoded again: /%E4 and /%25E4 are
# both "/%E4" to it, and two different keys to nginx.
_PERCENT_ENCODED_AGAIN = re.compile("%[89A-F][0-9A-F]")


def _request_path(request: HttpRequest) -> bytes | None:
    if _PERCENT_ENCODED_AGAIN.search(request.path):
        return None
    return request.path.encode()


def _bare_host(host: str) -> bytes | None:
    """nginx's $host of a Host header: lower case, no port, no final dot."""
    return re.sub(r":\d*$", "", host.lower()).rstrip(".").encode("latin-1") or None


VARIABLES = {
    "uri": lambda page: page.uri,
    "document_uri": lambda page: page.uri,
    "args": lambda page: page.args,
    "query_string": lambda page: page.args,
    "is_args": lambda page: b"?" if page.args else b"",
    "request_uri": lambda page: page.request_uri,
    "host": lambda page: page.host,
    "scheme": lambda page: page.scheme,
}
"""nginx's variables that Django can know, each with its value for a page."""

_WITH_QUERY = {"args", "query_string", "request_uri"}


@dataclass(frozen=True)
class KeyPattern:
    """A parsed PAGECACHE_KEY: text and names of variables by turns, text first."""

    parts: tuple[str, ...]

    @classmethod
    @lru_cache(maxsize=8)  # the setting is one string; tests use a few
    def parse(cls, text: str) -> KeyPattern:
        """`$name` and `${name}` are variables, as in nginx's configuration."""
        parts = re.split(r"\$(\{\w+\}|\w*)", text, flags=re.ASCII)
        parts[1::2] = [name.strip("{}") for name in parts[1::2]]
        for name in parts[1::2]:
            if name not in VARIABLES:
                known = " ".join(f"${name}" for name in VARIABLES)
                raise ImproperlyConfigured(
                    f'PAGECACHE_KEY "{text}": "${name}" is not a variable that Django can know; it has {known}'
                )
        return cls(tuple(parts))

    @property
    def has_query(self) -> bool:
        """Do pages that differ in their query alone have different keys?"""
        return not _WITH_QUERY.isdisjoint(self.parts[1::2])

    @property
    def joins_query(self) -> bool:
        """Is the key made of the decoded path and the query, so that a `?` in one may pass for the other?"""
        return not {"uri", "document_uri"}.isdisjoint(self.parts[1::2]) and self.has_query

    def key(self, page: PageAddress) -> str:
        """The key under which nginx looks a page up.

        Raises NoKey when there is none, or none that Django's clients can send.
        """
        value = b""
        for literal, name in zip(self.parts[::2], self.parts[1::2] + ("",)):
            value += literal.encode()
            if name:
                value += self._variable(name, page)
        key = shortened(escaped(value))
        if not key:
            raise NoKey("the key is empty")
        if b"\x7f" in key:
            raise NoKey("Django sends no key with a DEL character in it")
        try:
            return key.decode()
        except UnicodeDecodeError:
            raise NoKey("the key is not UTF-8") from None

    @staticmethod
    def _variable(name: str, page: PageAddress) -> bytes:
        value = VARIABLES[name](page)
        if value is None:
            raise NoKey(f"${name} is not known")
        return value


def escaped(key: bytes) -> bytes:
    """What would end a key or a command on the wire, and the `%` that marks it; all else stays."""
    return re.sub(rb"[\x00-\x20%]", lambda byte: b"%%%02X" % byte[0][0], key)


def shortened(key: bytes) -> bytes:
    """A key that is too long for memcached becomes the SHA-256 of it, as with `pagecache_long_keys`."""
    return key if len(key) <= KEY_MAX else hashlib.sha256(key).hexdigest().encode()
