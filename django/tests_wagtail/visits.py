"""Visits of pages as nginx passes them on after a miss, and which of these pages the log of purges names since."""

from __future__ import annotations

import unittest
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests_wagtail import project

from django.core.handlers.wsgi import WSGIRequest
from django.test import Client
from pymemcache.client.base import Client as MemcachedClient

from pagecache import conf
from pagecache.address import PageAddress
from pagecache.purges.target import hash_of, is_named

ZONE = ""  # the key begins with a variable


class Visitor(Client):
    def request(self, **request):
        address = PageAddress.of_request(WSGIRequest(self._base_environ(**request)))
        key = conf.key_pattern().key(address)
        told = {"HTTP_X_PAGECACHE_STATUS": "MISS", "HTTP_X_PAGECACHE_KEY": key.encode().decode("latin-1")}
        response = super().request(**{**told, **request})
        response.key = key.encode()
        return response


@dataclass
class Stored:
    """A page as nginx has stored it."""

    url: str
    key: bytes
    tags: set[bytes]
    body: str = field(repr=False)

    def is_named_by(self, lines: list[bytes]) -> bool:
        return any(is_named(line, self.key, self.tags) for line in lines)


class VisitCase(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.memcached = MemcachedClient(project.MEMCACHED)
        self.addCleanup(self.memcached.close)
        self.enterContext(self.assertNoLogs("pagecache", "WARNING"))  # of an error that prevents a purge

    def stored(self, url, host="localhost"):
        """A visit whose page nginx stores."""
        response = Visitor().get(url, headers={"Host": host})
        self.assertEqual((response.status_code, response["CDN-Cache-Control"]), (200, "max-age=300"), url)
        tags = {hash_of(ZONE, tag) for tag in response["Cache-Tag"].split(",")}
        return Stored(url, response.key, tags, response.content.decode())

    def lines(self):
        """The purges, since the log was emptied."""
        value = self.memcached.get(f"pagecache:purges:{ZONE}") or b""
        return [line for line in value.split(b"\n")[1:] if line]

    @contextmanager
    def purges(self, *urls, hard=(), keeps=()):
        """These pages, which are stored before, are purged meanwhile; those of `hard` hard; those of `keeps` are not.
        Each may be a pair of a URL and a host."""
        pages = [[self.stored(*([of] if isinstance(of, str) else of)) for of in each] for each in (urls, hard, keeps)]
        self.memcached.flush_all(noreply=False)
        yield
        lines = self.lines()
        for page in pages[0]:
            self.assertTrue(page.is_named_by(lines), f"{page} is not purged by {lines}")
        for page in pages[1]:
            self.assertTrue(page.is_named_by([line for line in lines if line[:1] == b"h"]), f"{page}: {lines}")
        for page in pages[2]:
            self.assertFalse(page.is_named_by(lines), f"{page} is purged by {lines}")

    def assertPurgesNothing(self, change):
        self.memcached.flush_all(noreply=False)
        result = change()
        self.assertEqual(self.lines(), [])
        return result
