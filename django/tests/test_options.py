"""The OPTIONS that the README recommends: what a memcached costs that does not answer, and what is dropped."""

import ast
import re
import socket
import time
import unittest

from django.core.cache import caches
from django.test import override_settings
from pymemcache.exceptions import MemcacheUnexpectedCloseError

from pagecache import store
from tests import site
from tests.cases import PageCase
from tests.processes import ROOT, Memcached

README = (ROOT / "django/README.md").read_text(encoding="utf-8")

PYMEMCACHE, PYLIBMC = (ast.literal_eval(options) for options in re.findall(r'"OPTIONS": (\{.*\}),', README))

OF_PYLIBMC_ITSELF = 5.0
"""Seconds that it waits without them."""

IS_AWAY = (ConnectionRefusedError, MemcacheUnexpectedCloseError)


class Options(PageCase):
    def test_a_memcached_that_is_silent(self):
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        for backend, options in (("PyMemcacheCache", PYMEMCACHE), ("PyLibMCCache", PYLIBMC)):
            store._last_warning = float("-inf")
            pages = site.cache_of(address, backend=backend, **options)
            with self.subTest(backend), override_settings(CACHES={"default": site.DUMMY, "pages": pages}):
                asked = time.monotonic()
                with self.assertLogs("pagecache", "WARNING"):
                    self.assertEqual(self.client.get("/").status_code, 200)
                self.assertLess(time.monotonic() - asked, OF_PYLIBMC_ITSELF / 2)

    def test_each_page_keeps_its_server(self):
        away = Memcached()
        pages = site.cache_of(site.MEMCACHED, away.address, **PYMEMCACHE)
        with override_settings(CACHES={"default": site.DUMMY, "pages": pages}):
            cache = caches["pages"]
            cache.set("first", b"")
            keys = [f"/{number}" for number in range(100)]
            of_away = [key for key in keys if "%s:%s" % cache._cache._get_client(key).server == away.address]
            away.stop()
            for _ in range(3):
                for key in of_away:
                    # Not one is let go without a word, or goes to the other server.
                    self.assertRaises(IS_AWAY, cache.set, key, b"a page", 60)
                    self.assertRaises(IS_AWAY, cache.delete, key)
                    self.assertIsNone(self.memcached.get(key))
            away.start()
            for key in of_away:
                cache.set(key, b"a page", 60)
                self.assertIsNone(self.memcached.get(key))
                self.assertTrue(cache.delete(key))


if __name__ == "__main__":
    unittest.main()
