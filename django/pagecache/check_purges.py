"""The last part of `manage.py pagecache check`: whether each server takes purges, and whether nginx then serves a purged
page no longer."""

from __future__ import annotations

from collections.abc import Callable

from pagecache import conf, probe
from pagecache.finding import Finding
from pagecache.key import KeyPattern
from pagecache.purges import log
from pagecache.purges.by import invalidate_tags
from pagecache.purges.zone import log_key, zone_of
from pagecache.servers import servers_of_logs, timeout_of


def finding(pattern: KeyPattern, is_served: Callable[[], bool]) -> Finding:
    """`is_served`: does nginx serve the probe, which is stored?"""
    zone = zone_of(pattern)
    key, alias = log_key(zone), conf.cache_alias()
    for server in servers_of_logs(alias):
        try:
            log.append(server, key, b"", timeout_of(alias))  # an empty line
        except Exception as error:
            return Finding("purges", f'"{key}" on {server} takes no purges: {type(error).__name__}: {error}')
    if not conf.is_filled_by_nginx() and not conf.notes_purges():
        return Finding("purges", f'"{key}" takes purges on each server', is_right=True)
    invalidate_tags(probe.TAG)
    if is_served():
        return Finding(
            "purges",
            f'nginx has served a page that was purged by tag, in "{key}": it looks at no log, or at another one. Its '
            f'pagecache_purge_zone must be "{zone}"',
        )
    return Finding("purges", f'nginx serves no page that was purged in "{key}"', is_right=True)
