"""Drops pages whose content has changed.

Inside a transaction the page goes when the transaction is committed: dropped earlier, another
visitor could bring it back as it was.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

from django.db import DEFAULT_DB_ALIAS, connections

from pagecache import conf, store
from pagecache.key import PageAddress


class Addressed(Protocol):
    def get_absolute_url(self) -> str: ...


def invalidate(*paths: str, host: str | None = None, scheme: str | None = None, using: str = DEFAULT_DB_ALIAS) -> None:
    """Drops the pages of paths such as "/artikel/größe/" or "/artikel/gr%C3%B6%C3%9Fe/?page=2".

    Percent-encoded or not is the same; a literal percent sign is "%25". A key with $host or $scheme
    needs that argument. A key with $request_uri has a page for each spelling of the same URL: the
    usual one, that of `reverse` and of browsers, is dropped.

    Raises NoKey, a ValueError, if the path has no key.
    """
    for path in paths:
        key = conf.key_pattern().key(PageAddress.of_path(path, host, scheme))
        connection = connections[using]
        if connection.in_atomic_block:
            connection.on_commit(partial(store.drop, key))
        else:
            store.drop(key)


def invalidate_object(obj: Addressed, **where: Any) -> None:
    """Drops the page of an object that has `get_absolute_url`; `where` as for `invalidate`."""
    invalidate(obj.get_absolute_url(), **where)
