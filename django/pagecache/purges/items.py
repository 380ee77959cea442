"""The items of pages that are purged by URL. nginx serves an item that is marked as stale no longer as fresh, whatever the
log says."""

from __future__ import annotations

from collections.abc import Collection

from pagecache.purges.log import Refused
from pagecache.servers import Link


def purge(server: str, soft: Collection[str], hard: Collection[str], timeout: float) -> None:
    """Marks items as stale, or deletes them, where this server has them; `timeout` in seconds. Raises OSError or
    Refused."""
    if not soft and not hard:
        return
    with Link(server, timeout) as link:
        for key, flag in (*((key, b" I") for key in soft), *((key, b"") for key in hard)):
            link.send(b"md %s%s" % (key.encode(), flag))
            reply = link.line()
            if reply not in (b"HD", b"NF"):
                raise Refused(f'{server} answered "{reply.decode("latin-1")}"')
