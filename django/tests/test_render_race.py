"""PAGECACHE_FILL = "django": a page that was rendered while a purge was made shows the old data."""

import hashlib
import re
import unittest
from unittest import mock

from django.http import HttpResponse
from django.test import override_settings
from django.urls import path, re_path

from pagecache import client, store
from pagecache.invalidate import invalidate, invalidate_all, invalidate_prefix, invalidate_tags
from pagecache.middleware import page_cache
from pagecache.purges import render
from pagecache.purges.target import hash_of
from tests import site
from tests.cases import PageCase, item_of, memcached_at
from tests.logs import log_of
from tests.processes import Memcached


class RaceCase(PageCase):
    def setUp(self):
        super().setUp()
        render._failed.clear()
        store._last_warning = float("-inf")

    def get(self, meanwhile, url="/a"):
        """A page with the tags "a" and "b", while something happens."""

        @page_cache(tags=["a", "b"])
        def view(request, *_):
            meanwhile()
            return HttpResponse("the old page")

        with override_settings(ROOT_URLCONF=(re_path("", view),)):
            self.assertEqual(self.client.get(url).content, b"the old page")


class Race(RaceCase):
    def test_purges_that_name_the_page(self):
        for purge in (
            lambda: invalidate("/a"),
            lambda: invalidate("/a", hard=True),
            lambda: invalidate_prefix("/"),
            lambda: invalidate_tags("b"),
            invalidate_all,
            lambda: self.memcached.append("pagecache:purges:/test-", b"malformed"),
            # it is not known whether the page was named
            lambda: self.memcached.delete("pagecache:purges:/test-"),
            lambda: (self.memcached.delete("pagecache:purges:/test-"), invalidate("/other")),
        ):
            self.memcached.flush_all()
            invalidate("/before")
            with self.assertLogs("pagecache", "DEBUG") as logged:
                self.get(purge)
            self.assertIsNone(self.item("/a"))
            self.assertIn("purge", logged.output[-1])
            self.get(lambda: None)
            self.assertIsNotNone(self.item("/a"))

    def test_the_first_purge_of_all(self):
        self.get(lambda: invalidate("/a"))
        self.assertIsNone(self.item("/a"))
        self.memcached.flush_all()
        self.get(lambda: invalidate("/b"))
        self.assertIsNotNone(self.item("/a"))

    def test_other_purges(self):
        invalidate("/a")
        invalidate_tags("a")
        self.get(lambda: (invalidate("/ab"), invalidate_prefix("/a/"), invalidate_tags("c")))
        self.assertIsNotNone(self.item("/a"))

    def test_a_long_key(self):
        url = "/" + "a" * 300
        key = "%sha256:" + hashlib.sha256(b"/test-" + url.encode()).hexdigest()
        for purged, count in ((url, 0), (url + "b", 1)):
            self.get(lambda: invalidate(purged), url)
            self.assertEqual(len(self.memcached.get_many([key])), count)

    def test_a_purge_between_the_look_at_the_log_and_the_store(self):
        put = client.put

        def slow(*arguments):
            invalidate("/a")
            put(*arguments)

        with mock.patch.object(client, "put", slow):
            self.get(lambda: None)
        self.assertIsNone(self.item("/a"))

    def test_of_several_servers_that_of_the_page_counts(self):
        other = Memcached()
        self.addCleanup(other.stop)
        of_other = memcached_at(other.address)
        self.addCleanup(of_other.close)
        for backend in ("PyMemcacheCache", "PyLibMCCache"):
            pages = site.cache_of(site.MEMCACHED, other.address, backend=backend)
            with override_settings(CACHES={"default": site.DUMMY, "pages": pages}):
                for number in range(8):
                    url = f"/{backend}{number}"
                    with self.subTest(url):
                        self.get(lambda: invalidate(url), url)
                        self.get(lambda: invalidate("/b"), url + "b")
                        for end, count in (("", 0), ("b", 1)):
                            found = [item_of(client, "/test-" + url + end) for client in (self.memcached, of_other)]
                            self.assertEqual(len([item for item in found if item]), count)

    def test_a_server_that_does_not_answer_is_left_alone_for_a_while(self):
        down = override_settings(CACHES={"default": site.DUMMY, "pages": site.cache_of("127.0.0.1:1")})
        with down, mock.patch("pagecache.purges.log.read", side_effect=ConnectionRefusedError) as read:
            with self.assertLogs("pagecache", "WARNING"):
                for _ in range(3):
                    self.get(lambda: None)
        self.assertEqual(read.call_count, 1)

    def test_requests_whose_pages_are_not_stored_cost_nothing(self):
        before = self.memcached.stats()
        self.client.get("/", HTTP_X_PAGECACHE_STATUS="BYPASS")
        self.client.get("/", HTTP_X_PAGECACHE_KEY="/another")
        now = self.memcached.stats()
        self.assertEqual(now[b"cmd_get"], before[b"cmd_get"])


class Notes(RaceCase):
    """What a page notes for nginx, with PAGECACHE_PURGE_ZONE."""

    def note(self, url="/a"):
        head = self.item(url)[1].partition(b"\r\n\r\n")[0].decode()
        return re.search("X-Pagecache: (.*)$", head)[1]

    def test_by_default_there_is_none(self):
        invalidate("/b")
        self.get(lambda: None)
        self.assertRegex(self.note(), r"^v=1; life=\d+; window=0; ttl=\d+; age=0$")

    @override_settings(PAGECACHE_PURGE_ZONE="site")
    def test_the_log_from_before_it_was_rendered_and_its_tags(self):
        tags = ",".join(hash_of("site", tag).decode() for tag in "ab")
        for purges in (0, 2):
            for _ in range(purges):
                invalidate("/b")
            self.get(lambda: invalidate("/c"))
            epoch = log_of(zone="site")[0]
            ends = re.search(rf"age=0; purges={epoch}\.(\d+); tags={tags}$", self.note())
            # Each purge is a line feed and a line.
            line = len("\ns 1764515000 u:/test-/b\n")
            self.assertEqual(int(ends[1]), 0 if not purges else 3 * line)
            self.memcached.delete("/test-/a")

    @override_settings(PAGECACHE_PURGE_ZONE="site")
    def test_a_page_without_tags_and_one_with_too_many(self):
        many = page_cache(tags=map(str, range(200)))(site.page)
        with override_settings(ROOT_URLCONF=(path("a", site.page), path("b", many))):
            self.client.get("/a")
            self.client.get("/b")
        self.assertRegex(self.note(), r"purges=[0-9a-f]{16}\.0$")
        self.assertRegex(self.note("/b"), r"purges=[0-9a-f]{16}\.0; tags=\*$")

    @override_settings(PAGECACHE_PURGE_ZONE="site")
    def test_its_tags_are_no_header(self):
        self.get(lambda: None)
        with override_settings(ROOT_URLCONF=(path("b", page_cache(tags=["a"])(lambda _: HttpResponse("b", headers={"Cache-Tag": "c"}))),)):
            response = self.client.get("/b")
        self.assertNotIn(b"Cache-Tag", self.item("/b")[1])
        self.assertEqual(response["Cache-Tag"], "c")


if __name__ == "__main__":
    unittest.main()
