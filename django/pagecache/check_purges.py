"""The last part of `manage.py pagecache check`: whether each server takes purges."""

from __future__ import annotations

from collections.abc import Iterator

from pagecache import conf
from pagecache.finding import Finding
from pagecache.key import KeyPattern
from pagecache.purges import log
from pagecache.purges.zone import log_key, zone_of
from pagecache.servers import servers_of_logs, timeout_of


def findings(pattern: KeyPattern) -> Iterator[Finding]:
    key = log_key(zone_of(pattern))
    alias = conf.cache_alias()
    for server in servers_of_logs(alias):
        try:
            log.append(server, key, b"", timeout_of(alias))  # an empty line
        except Exception as error:
            yield Finding("purges", f'"{key}" on {server} takes no purges: {type(error).__name__}: {error}')
            return
    yield Finding("purges", f'"{key}" takes purges on each server', is_right=True)
