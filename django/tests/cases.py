"""What test cases of stored pages have in common: an empty memcached, and what one asks it."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from wsgiref.simple_server import WSGIRequestHandler, make_server

from django.core.handlers.wsgi import WSGIRequest
from django.core.wsgi import get_wsgi_application
from django.test import Client, SimpleTestCase, override_settings
from pymemcache.client.base import Client as MemcachedClient

from pagecache import conf
from pagecache.address import PageAddress
from pagecache.key import NoKey
from tests import site


class BehindNginx(Client):
    """Requests as nginx passes them on after a lookup that found no page."""

    def request(self, **request):
        told = {"HTTP_X_PAGECACHE_STATUS": "MISS"}
        with suppress(NoKey):
            address = PageAddress.of_request(WSGIRequest(self._base_environ(**request)))
            told["HTTP_X_PAGECACHE_KEY"] = conf.key_pattern().key(address).encode().decode("latin-1")
        return super().request(**{**told, **request})


class PageCase(SimpleTestCase):
    databases = {"default"}
    client_class = BehindNginx

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

    def serving(self):
        """The site on a port of its own, to the end of the test: its address."""
        django = make_server("127.0.0.1", 0, get_wsgi_application(), handler_class=_Silent)
        thread = threading.Thread(target=django.serve_forever)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(django.server_close)
        self.addCleanup(django.shutdown)
        return f"127.0.0.1:{django.server_port}"

    def item(self, url, prefix="/test-"):
        """What memcached holds for a URL: (flags, bytes), or None."""
        return item_of(self.memcached, prefix + url)

    def page(self, url, prefix="/test-"):
        """The body of the page that memcached holds for a URL, or None."""
        item = self.item(url, prefix)
        return item and item[1].partition(b"\r\n\r\n")[2]

    def seconds_left(self, url):
        reply = self.memcached.raw_command(b"mg " + ("/test-" + url).encode() + b" t")
        return int(reply.split()[1][1:])

    def assertStored(self, url, **extra):
        response = self.client.get(url, **extra)
        self.assertEqual(self.page(url), response.content)

    def assertNotStored(self, url, method="get", **extra):
        getattr(self.client, method)(url, **extra)
        self.assertIsNone(self.item(url))


class _Silent(WSGIRequestHandler):
    def log_message(self, *_):
        pass


def memcached_at(address):
    return MemcachedClient(address, allow_unicode_keys=True, default_noreply=False)


def item_of(memcached, key):
    """(flags, bytes) of a key, or None."""
    key = key.encode()
    reply = memcached.raw_command(b"mg " + key + b" f")
    if reply == b"EN":
        return None
    return int(reply.split()[1][1:]), bytes(memcached.get(key))
