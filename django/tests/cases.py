"""What test cases of stored pages have in common: an empty memcached, and what one asks it."""

from __future__ import annotations

from contextlib import contextmanager

from django.test import SimpleTestCase, override_settings
from pymemcache.client.base import Client

from pagecache import conf
from tests import site

class PageCase(SimpleTestCase):
    databases = {"default"}

    def setUp(self):
        self.memcached = memcached_at(site.MEMCACHED)
        self.addCleanup(self.memcached.close)
        self.memcached.flush_all()

    @contextmanager
    def behind(self, *middlewares, **changed):
        """PageCacheMiddleware, and these behind it. A client keeps the ones of its first request."""
        with override_settings(MIDDLEWARE=[conf.MIDDLEWARE, *middlewares], **changed):
            self.client = self.client_class()
            yield
        self.client = self.client_class()

    def item(self, url, prefix="/test-"):
        """What memcached holds for a URL: (flags, bytes), or None."""
        return item_of(self.memcached, prefix + url)

    def seconds_left(self, url):
        reply = self.memcached.raw_command(b"mg " + ("/test-" + url).encode() + b" t")
        return int(reply.split()[1][1:])

    def assertStored(self, url, **extra):
        response = self.client.get(url, **extra)
        self.assertEqual(self.item(url), (0, response.content))

    def assertNotStored(self, url, method="get", **extra):
        getattr(self.client, method)(url, **extra)
        self.assertIsNone(self.item(url))


def memcached_at(address):
    return Client(address, allow_unicode_keys=True, default_noreply=False)


def item_of(memcached, key):
    """(flags, bytes) of a key, or None."""
    key = key.encode()
    reply = memcached.raw_command(b"mg " + key + b" f")
    if reply == b"EN":
        return None
    return int(reply.split()[1][1:]), bytes(memcached.get(key))
