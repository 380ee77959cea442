"""What the functions that purge write to the logs, when, and on which servers."""

import unittest
from unittest import mock

from django.db import connection, transaction
from django.test import TestCase, override_settings

from pagecache import conf
from pagecache.invalidate import invalidate, invalidate_all, invalidate_prefix, invalidate_tags
from pagecache.key import NoKey
from pagecache.purges import batch
from pagecache.purges.target import hash_of
from tests import site
from tests.cases import PageCase, memcached_at
from tests.logs import lines_of, log_of
from tests.processes import Memcached


def tagged(name, zone="/test-"):
    return f"s t:{hash_of(zone, name).decode()}"


class Targets(PageCase):
    def test_a_page(self):
        for fill in conf.FILLS:
            with self.subTest(fill), override_settings(PAGECACHE_FILL=fill):
                self.memcached.flush_all()
                for url in ("/größe/", "/?page=2"):
                    self.memcached.set("/test-" + url, b"a page")
                outcome = invalidate("/gr%C3%B6%C3%9Fe/", "http://example.com/?page=2")
                self.assertEqual((bool(outcome), outcome.is_made, outcome.not_reached), (True, True, {}))
                self.assertEqual(lines_of(), ["s u:/test-/größe/", "s u:/test-/?page=2"])
                # nginx's own pages stay until they are renewed.
                for url in ("/größe/", "/?page=2"):
                    reply = self.memcached.raw_command(f"mg /test-{url}".encode())
                    self.assertEqual(reply, b"HD X W" if fill == "nginx" else b"EN")

    def test_a_hard_purge_deletes_the_page_as_well(self):
        with override_settings(PAGECACHE_FILL="nginx"):
            self.memcached.set("/test-/a", b"a page")
            invalidate("/a", hard=True)
            self.assertIsNone(self.item("/a"))
            invalidate_prefix("/blog/", hard=True)
            invalidate_tags("a", hard=True)
            invalidate_all(hard=True)
            hard = ["h u:/test-/a", "h k:/test-/blog/", "h" + tagged("a")[1:], "h *"]
            self.assertEqual(lines_of(), hard)

    def test_a_long_key(self):
        invalidate("/" + "ä" * 300)
        invalidate("/" + "a" * 300)
        self.assertEqual(lines_of()[0].encode(errors="surrogateescape"), b"s k:/test-/" + ("ä" * 300).encode()[: 512 - len("/test-/")])
        self.assertEqual(lines_of()[1], "s u:/test-/" + "a" * 300)

    def test_the_beginning_of_a_url(self):
        for pattern, where, prefix, written in (
            ("/test-$uri$is_args$args", {}, "/blog/", "k:/test-/blog/"),
            ("/test-$uri$is_args$args", {}, "/blog/20", "k:/test-/blog/20"),
            ("/test-$uri$is_args$args", {}, "/list?page=", "k:/test-/list?page="),
            ("/test-$uri?$arg_page", {}, "http://a.test/größe", "k:/test-/größe"),
            ("/test-$request_uri", {}, "/größe", "k:/test-/gr%25C3%25B6%25C3%259Fe"),
            ("/test-$scheme://$host$uri", {}, "https://A.test", "k:/test-https://a.test/"),
            ("/test-$scheme://$host$uri", {"scheme": "http", "host": "a.test"}, "/", "k:/test-http://a.test/"),
            ("/test-$cookie_lang;$uri", {"cookies": {"lang": "de"}}, "/a", "k:/test-de;/a"),
        ):
            with self.subTest(prefix, pattern=pattern), override_settings(PAGECACHE_KEY=pattern):
                self.memcached.flush_all()
                invalidate_prefix(prefix, **where)
                self.assertEqual(lines_of(), ["s " + written])
        with self.assertRaises(NoKey):
            invalidate_prefix("/", key="/test-$arg_q")
        with self.assertRaises(NoKey):
            invalidate_prefix("/", key="/test-$host$uri")

    def test_tags_and_all(self):
        invalidate_tags("news", "front page", "a,b", "größe", "news")
        names = ["news", "front page", "a%2Cb", "größe"]
        self.assertEqual(lines_of(), [tagged(name) for name in names])
        with self.assertRaises(TypeError):
            invalidate_tags(7)
        invalidate_all()
        self.assertEqual(lines_of()[-1], "s *")

    def test_each_zone_of_the_site(self):
        with mock.patch.object(conf, "keys_of_views", {"/other-$uri"}):
            invalidate_tags("a")
            invalidate_all()
            for zone in ("/test-", "/other-"):
                self.assertEqual(lines_of(zone=zone), [tagged("a", zone), "s *"])
            invalidate("/a", key="/other-$uri")
            self.assertEqual((lines_of()[2:], lines_of(zone="/other-")[2:]), ([], ["s u:/other-/a"]))
        with override_settings(PAGECACHE_PURGE_ZONE="site"):
            invalidate_tags("a")
            self.assertEqual(lines_of(zone="site"), [tagged("a", "site")])

    def test_very_many_at_once(self):
        invalidate_tags(*map(str, range(batch.TARGETS_MOST)))
        self.assertEqual(len(lines_of()), batch.TARGETS_MOST)
        self.memcached.flush_all()
        invalidate_tags(*map(str, range(batch.TARGETS_MOST + 1)))
        self.assertEqual(lines_of(), ["s *"])


class Servers(PageCase):
    def test_each_server_has_each_purge(self):
        other = Memcached()
        self.addCleanup(other.stop)
        for backend in ("PyMemcacheCache", "PyLibMCCache"):
            pages = site.cache_of(site.MEMCACHED, other.address, backend=backend)
            with self.subTest(backend), override_settings(CACHES={"default": site.DUMMY, "pages": pages}):
                self.assertTrue(invalidate("/a", "/b"))
                invalidate_tags("a")
        for address in (site.MEMCACHED, other.address):
            lines = ["s u:/test-/a", "s u:/test-/b", tagged("a")]
            self.assertEqual(lines_of(address), lines * 2)
        self.assertNotEqual(log_of(site.MEMCACHED)[0], log_of(other.address)[0])

    def test_those_that_are_not_reached(self):
        pages = site.cache_of("127.0.0.1:1", site.MEMCACHED)
        with override_settings(CACHES={"default": site.DUMMY, "pages": pages}):
            with self.assertLogs("pagecache", "WARNING") as logged:
                outcome = invalidate_tags("a")
        self.assertEqual(lines_of(), [tagged("a")])
        self.assertEqual((bool(outcome), outcome.is_made, list(outcome.not_reached)), (False, True, ["127.0.0.1:1"]))
        self.assertIn("ConnectionRefusedError", outcome.not_reached["127.0.0.1:1"])
        self.assertIn('is not on "127.0.0.1:1": ConnectionRefusedError', logged.output[0])

    def test_a_cache_that_is_no_memcached(self):
        place = {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": "/tmp/pagecache-none"}
        with override_settings(CACHES={"default": site.DUMMY, "pages": place}):
            self.assertTrue(invalidate_all())


class Transactions(PageCase):
    def test_one_batch_of_each_target_once(self):
        of_one_key = mock.patch.object(conf, "keys_of_views", set())
        with of_one_key, transaction.atomic():
            first = invalidate("/a", "/b", "/a")
            with transaction.atomic():
                second = invalidate_tags("a")
            invalidate("/b", hard=True)
            self.assertIs(first, second)
            self.assertFalse(first.is_made)
            self.assertEqual(lines_of(), [])
            appends = self.memcached.stats()[b"cmd_set"]
        self.assertTrue(first.is_made)
        self.assertEqual(lines_of(), ["s u:/test-/a", "h u:/test-/b", tagged("a")])
        # An append to a log that is not there, and its creation.
        self.assertEqual(self.memcached.stats()[b"cmd_set"], appends + 2)

    def test_what_was_rolled_back(self):
        with transaction.atomic():
            outcome = invalidate("/a")
            transaction.set_rollback(True)
        self.assertEqual((lines_of(), outcome.is_made), ([], False))
        with transaction.atomic():
            invalidate("/b")
        self.assertEqual(lines_of(), ["s u:/test-/b"])

    def test_a_savepoint_that_was_rolled_back(self):
        """Its purges are made with the others, if there are any."""
        with transaction.atomic():
            for url in ("/a", "/b"):
                with transaction.atomic():
                    invalidate(url)
                    transaction.set_rollback(url == "/b")
            invalidate("/c")
        self.assertEqual(lines_of(), ["s u:/test-/a", "s u:/test-/b", "s u:/test-/c"])
        with transaction.atomic(), transaction.atomic():
            invalidate("/d")
            transaction.set_rollback(True)
        with transaction.atomic():
            invalidate("/e")
        self.assertEqual(lines_of()[3:], ["s u:/test-/e"])

    def test_servers_that_are_not_reached_are_known_after_the_commit(self):
        down = override_settings(CACHES={"default": site.DUMMY, "pages": site.cache_of("127.0.0.1:1")})
        with down, self.assertLogs("pagecache", "WARNING"):
            with transaction.atomic():
                outcome = invalidate_all()
                self.assertTrue(outcome)
        self.assertEqual(list(outcome.not_reached), ["127.0.0.1:1"])


class InTheTestsOfASite(TestCase):
    """Each runs in a transaction of its own, which is never committed."""

    def setUp(self):
        self.memcached = memcached_at(site.MEMCACHED)
        self.addCleanup(self.memcached.close)
        self.memcached.flush_all()

    def test_callbacks_that_a_test_captures(self):
        invalidate("/before")
        for url in ("/a", "/b"):
            with self.captureOnCommitCallbacks(execute=True, using=connection.alias):
                invalidate(url)
        self.assertEqual(lines_of(), ["s u:/test-/before", "s u:/test-/a", "s u:/test-/b"])


if __name__ == "__main__":
    unittest.main()
