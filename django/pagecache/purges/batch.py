"""The purges of one transaction. They are made when it is committed: a page that is rendered before that shows the old
data. They are made on every server, each target once."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.core.cache import InvalidCacheBackendError
from django.db import connections

from pagecache import conf, enabled, store
from pagecache.purges import items, log
from pagecache.purges.target import ALL, line_of
from pagecache.purges.zone import log_key
from pagecache.servers import servers_of_logs, timeout_of

logger = logging.getLogger("pagecache")

TARGETS_MOST = 500
"""More purges at once are one of all pages: a log is short, and each worker of nginx keeps its targets."""


@dataclass
class Outcome:
    """What became of some purges. It is false if a server was not reached."""

    is_made: bool = False
    """False as long as the transaction is not committed, and after it was rolled back."""
    not_reached: dict[str, str] = field(default_factory=dict)
    """The servers, as LOCATION names them, that may have none of the purges, each with the error."""

    def __bool__(self) -> bool:
        return not self.not_reached

    def joined(self, other: Outcome) -> Outcome:
        """Both: within a transaction, that is one."""
        if other is self:
            return self
        return Outcome(self.is_made and other.is_made, {**self.not_reached, **other.not_reached})


@dataclass(frozen=True)
class Purge:
    """Pages of one zone."""

    zone: str
    target: bytes
    hard: bool = False
    item: str | None = None
    """The key in memcached of an item that is marked as stale or deleted too."""


def make(purges: Iterable[Purge], using: str) -> Outcome:
    """Makes purges when the transaction of this database is committed; at once if there is none."""
    connection: Any = connections[using]
    if not connection.in_atomic_block:
        return _Batch(purges).make()
    batch = next(_waiting(connection), None) or _Batch()
    batch.add(purges)
    # Each call registers a callback, of which the first makes all purges: Django forgets those of a savepoint that was
    # rolled back, whose purges are then made with the others, at the cost of a render; tests call some of them alone.
    connection.on_commit(batch.make)
    return batch.outcome


def _waiting(connection: Any) -> Iterator[_Batch]:
    for _, callback, *_ in connection.run_on_commit:
        batch = getattr(callback, "__self__", None)
        if isinstance(batch, _Batch) and not batch.outcome.is_made:
            yield batch


class _Batch:
    def __init__(self, purges: Iterable[Purge] = ()) -> None:
        self.outcome = Outcome()
        self._purges: dict[Purge, None] = dict.fromkeys(purges)

    def add(self, purges: Iterable[Purge]) -> None:
        self._purges.update(dict.fromkeys(purges))

    def make(self) -> Outcome:
        """Makes the purges that were not made yet."""
        purges, self._purges = list(self._purges), {}
        if purges:
            self._make(purges)
        return self.outcome

    def _make(self, purges: list[Purge]) -> None:
        self.outcome.is_made = True
        if enabled.tests_run():
            logger.debug("Nothing is purged: tests are running")
            return
        # First the log: a render that ends in between finds its page named there.
        for zone in dict.fromkeys(purge.zone for purge in purges):
            self._append(zone, [purge for purge in purges if purge.zone == zone])
        if not conf.is_filled_by_nginx():
            for item in dict.fromkeys(purge.item for purge in purges):
                if item is not None:
                    store.drop(item)

    def _append(self, zone: str, purges: list[Purge]) -> None:
        hard = {purge.item for purge in purges if purge.item is not None and purge.hard}
        soft = {purge.item for purge in purges if purge.item is not None} - hard
        lines = _lines(purges)
        for server in _servers():
            try:
                log.append(server, log_key(zone), b"".join(lines), timeout_of(conf.cache_alias()))
                if conf.is_filled_by_nginx():
                    items.purge(server, soft, hard, timeout_of(conf.cache_alias()))
            except Exception as error:  # a change of data must not fail because of a page
                self.outcome.not_reached[server] = f"{type(error).__name__}: {error}"
                logger.warning(
                    'The purge of %s is not on "%s": %s: %s. It may serve the old pages until they expire',
                    *(_texts(lines), server, type(error).__name__, error),
                )


def _lines(purges: list[Purge]) -> list[bytes]:
    """Of one zone: one for each target, hard if one of its purges is."""
    if len(purges) > TARGETS_MOST:
        purges = [Purge("", ALL, any(purge.hard for purge in purges))]
    hard = {purge.target for purge in purges if purge.hard}
    now = int(time.time())
    return [line_of(target, target in hard, now) for target in dict.fromkeys(purge.target for purge in purges)]


def _servers() -> list[str]:
    try:
        return servers_of_logs(conf.cache_alias())
    except InvalidCacheBackendError:  # a problem of its own: no page is stored
        logger.warning('Nothing is purged: CACHES has no "%s"', conf.cache_alias())
        return []


def _texts(lines: list[bytes]) -> str:
    texts = [line.split(b" ", 2)[2].decode(errors="replace").strip() for line in lines]
    return ", ".join(texts[:3]) + (f" and {len(texts) - 3} others" if len(texts) > 3 else "")
