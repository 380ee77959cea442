"""Stores pages through Django's own PyMemcacheCache with several LOCATIONs."""

import sys

from django.conf import settings
from django.core.cache import caches

settings.configure(
    CACHES={
        "default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
        "pages": {
            "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
            "LOCATION": sys.argv[1:],
            "KEY_FUNCTION": "pagecache.key.raw_key",
        },
    }
)

for line in sys.stdin.buffer:
    key, page = line.rstrip(b"\n").split(b"\t", 1)
    caches["pages"].set(key.decode(), page, 300)
