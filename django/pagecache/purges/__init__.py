"""Purges: the log on each memcached server that names the pages that nginx must no longer serve as fresh.

    key     pagecache:purges:ZONE
    value   E0123456789abcdef 0\\n          the epoch, and the number of the first byte behind this header
            s 1764515000 u:/site-/news/\\n   a soft purge, its time, and its target
            h 1764515060 *\\n                a hard purge

The format is that of the module (core/src/purge/mod.rs).

| file | owns |
|---|---|
| `target` | the pages that a purge names, and its line |
| `log` | the log of one server: reading it, and appending to it |
| `items` | the items of pages that are purged by URL |
| `zone` | the zone of each key |
| `by` | the functions that purge |
| `batch` | the purges of one transaction, on all servers |
| `render` | pages that were rendered while a purge was made |
"""
