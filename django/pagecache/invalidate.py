"""Purges pages whose content has changed: by URL, by the beginning of a URL, by tag, or all.

A purge is written to the log of each memcached server, where nginx reads it (`purges/`). Within a transaction, that is
done when the transaction is committed: earlier, another visitor could cause the old page to be stored again. Pages are
then stale: nginx renews them, and serves them meanwhile only if they permit it. With `hard=True` they are not served
at all.

No function raises an error because a server is not reached: the log has a warning, and the `Outcome` names the server.
"""

from pagecache.on_change import invalidate_on_change, invalidate_on_save
from pagecache.purges.batch import Outcome
from pagecache.purges.by import (
    add_dependencies,
    invalidate,
    invalidate_all,
    invalidate_object,
    invalidate_prefix,
    invalidate_tags,
)
from pagecache.querysets import InvalidatingQuerySet, invalidate_queryset

__all__ = [
    "InvalidatingQuerySet",
    "Outcome",
    "add_dependencies",
    "invalidate",
    "invalidate_all",
    "invalidate_object",
    "invalidate_on_change",
    "invalidate_on_save",
    "invalidate_prefix",
    "invalidate_queryset",
    "invalidate_tags",
]
