"""Ambiguous boundaries: the end of each variable's value in a key must be recognisable. Otherwise pages of different
URLs have the same key, and anybody can get the page that was stored for the other URL: with `$uri-$arg_page`,
/a-?page=1 and /a?page=-1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

OF_A_QUERY = ("is_args", "args", "query_string", "pagecache_args", "arg_")


@dataclass(frozen=True)
class _Boundary:
    """What must follow a variable so that the end of its value is recognisable; the end of the key always is."""

    text: str
    """The following text, as a regular expression that matches at its beginning; "" for none."""
    names: tuple[str, ...]
    """Or the following variable, one of these."""
    advice: str


_OF_PATHS = _Boundary(
    r"\?",
    ("is_args", "pagecache_args"),
    'end with it, or go on with "$pagecache_args", "$is_args$args" or "?", as in "$uri?$arg_page"; what is not of '
    'the query goes before it, as in "$cookie_lang;$uri"',
)
_OF_QUERIES = _Boundary("", (), "put it at the end")

_BOUNDARIES = {
    "uri": _OF_PATHS,
    "document_uri": _OF_PATHS,
    "is_args": _Boundary("", ("args", "query_string", "arg_"), 'write "$is_args$args"'),
    "args": _OF_QUERIES,
    "query_string": _OF_QUERIES,
    "pagecache_args": _OF_QUERIES,
    "request_uri": _OF_QUERIES,
    "arg_": _Boundary("&", (), 'put it at the end, or "&" after it, as in "$uri?$arg_page&$arg_sort"'),
    "cookie_": _Boundary(";", (), 'put ";" after it, as in "$cookie_lang;$uri"'),
    "host": _Boundary(
        "/", ("uri", "document_uri", "request_uri"), 'put "$uri", "$request_uri" or "/" after it, as in "$host$uri"'
    ),
    "scheme": _Boundary("[^0-9A-Za-z]", (), 'put "://" after it, as in "$scheme://$host$uri"'),
}


def ambiguous(parts: Sequence[str]) -> tuple[str, str] | None:
    """`parts` are text and names of variables alternately. Returns the first variable whose value has no recognisable
    end, and advice; None if there is none."""
    for at in range(1, len(parts), 2):
        boundary = _BOUNDARIES[_kind(parts[at])]
        text, names = parts[at + 1], [_kind(name) for name in parts[at + 2 :: 2]]
        if text:
            is_clear = bool(boundary.text and re.match(boundary.text, text))
        else:
            is_clear = not names or names[0] in boundary.names
        # A path may contain a "?" of its own. Such a page has no key if the key contains the query.
        if boundary is _OF_PATHS and not set(names).issubset(OF_A_QUERY):
            is_clear = False
        if not is_clear:
            return parts[at], boundary.advice
    return None


def _kind(name: str) -> str:
    """The name of a variable in the table; nginx ignores case."""
    name = name.lower()
    return next((prefix for prefix in ("arg_", "cookie_") if name.startswith(prefix)), name)
