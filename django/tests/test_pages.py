"""Which pages are stored, as what, for how long, and when they go."""

import hashlib
import unittest

from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.test import SimpleTestCase, override_settings
from pymemcache.client.base import Client

from pagecache import conf, store
from pagecache.invalidate import invalidate, invalidate_object
from tests import site  # noqa: F401  (configures Django)

DECORATED_ALONE = override_settings(
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
    ]
)


class PageCase(SimpleTestCase):
    databases = {"default"}

    def setUp(self):
        self.memcached = Client(site.MEMCACHED, allow_unicode_keys=True, default_noreply=False)
        self.addCleanup(self.memcached.close)
        self.memcached.flush_all()

    def item(self, url):
        """What memcached holds for a URL: (flags, bytes), or None."""
        key = ("/test-" + url).encode()
        reply = self.memcached.raw_command(b"mg " + key + b" f v", end_tokens=b"\r\n")
        if reply == b"EN":
            return None
        flags = int(reply.split()[2][1:])
        return flags, self.memcached.get(key)

    def seconds_left(self, url):
        reply = self.memcached.raw_command(b"mg " + ("/test-" + url).encode() + b" t")
        return int(reply.split()[1][1:])

    def assertStored(self, url, **headers):
        response = self.client.get(url, headers=headers)
        self.assertEqual(self.item(url), (0, response.content))

    def assertNotStored(self, url, method="get", **extra):
        getattr(self.client, method)(url, **extra)
        self.assertIsNone(self.item(url))


class Stored(PageCase):
    def test_bytes_with_the_flag_0(self):
        for url in ("/", "/safe-string/", "/template/", "/empty/", "/größe/", "/?page=2"):
            with self.subTest(url):
                self.assertStored(url)

    def test_a_long_key(self):
        response = self.client.get("/" + "a" * 300)
        digest = hashlib.sha256(b"/test-/" + b"a" * 300).hexdigest()
        self.assertEqual(self.memcached.get(digest), response.content)

    def test_vary_on_what_does_not_matter(self):
        self.assertStored("/header/Vary/Accept-Encoding")
        with override_settings(PAGECACHE_IGNORE_VARY=["Cookie"]):
            self.assertStored("/header/Vary/cookie,Accept-Encoding")
            self.assertStored("/look-at-session/")

    def test_for_how_long(self):
        self.assertStored("/")
        self.assertIn(self.seconds_left("/"), range(290, 301))
        self.assertStored("/minute/")
        self.assertIn(self.seconds_left("/minute/"), range(50, 61))
        self.assertStored("/header/Cache-Control/max-age=20")
        self.assertIn(self.seconds_left("/header/Cache-Control/max-age=20"), range(10, 21))
        self.assertStored("/header/Cache-Control/max-age=20,s-maxage=99")
        self.assertIn(self.seconds_left("/header/Cache-Control/max-age=20,s-maxage=99"), range(89, 100))


class NotStored(PageCase):
    def test_methods_and_bodies(self):
        for method in ("post", "put", "delete", "options", "head"):
            with self.subTest(method):
                self.assertNotStored("/", method)
        self.client.generic("GET", "/", b"a body")
        self.assertIsNone(self.item("/"))

    def test_answers(self):
        for url in (
            "/missing/",
            "/stream/",
            "/never/",
            "/cookie/",
            "/csrf/",
            "/session/",
            "/look-at-session/",
            "/header/Vary/Cookie",
            "/header/Vary/*",
            "/header/Cache-Control/private",
            "/header/Cache-Control/no-store,max-age=60",
            "/header/Cache-Control/max-age=0",
            "/header/Content-Encoding/gzip",
            "/header/Content-Disposition/attachment",
            "/header/Content-Type/application/json",
        ):
            with self.subTest(url):
                self.assertNotStored(url)

    def test_visitors(self):
        self.assertNotStored("/", headers={"Authorization": "Basic eDp5"})
        self.client.get("/session/")
        self.assertNotStored("/")

    def test_a_page_that_would_have_the_key_of_another(self):
        self.client.get("/a%3Fb=c")
        self.assertIsNone(self.item("/a?b=c"))
        with override_settings(PAGECACHE_KEY="/test-$uri"):
            self.client.get("/a?b=c")
            self.assertIsNone(self.item("/a"))


@DECORATED_ALONE
class DecoratorAlone(PageCase):
    def test_only_decorated_views_are_stored(self):
        self.assertNotStored("/")
        self.assertStored("/minute/")
        self.assertStored("/decorated-template/")

    def test_what_the_middlewares_will_add_is_foreseen(self):
        self.assertNotStored("/decorated-csrf/")
        self.assertNotStored("/decorated-session/")


class Invalidation(PageCase):
    def test_paths(self):
        for url in ("/größe/", "/?page=2"):
            self.assertStored(url)
        invalidate("/gr%C3%B6%C3%9Fe/", "/?page=2")
        self.assertIsNone(self.item("/größe/"))
        self.assertIsNone(self.item("/?page=2"))

    def test_an_object(self):
        class Article:
            def get_absolute_url(self):
                return "/gr%C3%B6%C3%9Fe/"

        self.assertStored("/größe/")
        invalidate_object(Article())
        self.assertIsNone(self.item("/größe/"))

    def test_it_waits_for_the_transaction(self):
        self.assertStored("/")
        with transaction.atomic():
            invalidate("/")
            self.assertIsNotNone(self.item("/"))
        self.assertIsNone(self.item("/"))

    def test_a_rolled_back_change_drops_nothing(self):
        self.assertStored("/")
        with transaction.atomic():
            invalidate("/")
            transaction.set_rollback(True)
        self.assertIsNotNone(self.item("/"))


class Trouble(PageCase):
    def setUp(self):
        super().setUp()
        store._last_warning = float("-inf")

    def test_a_page_larger_than_memcached_takes(self):
        with self.assertLogs("pagecache", "WARNING") as log:
            self.assertEqual(len(self.client.get("/large/").content), 2_000_000)
        self.assertIn("\"/test-/large/\" is not stored: ", log.output[0])
        self.assertIsNone(self.item("/large/"))

    def test_memcached_is_down(self):
        nobody_listens = {**site.settings.CACHES["pages"], "LOCATION": "127.0.0.1:1"}
        down = override_settings(CACHES={**site.settings.CACHES, "pages": nobody_listens})
        with down, self.assertLogs("pagecache", "WARNING") as log:
            for _ in range(3):
                self.assertEqual(self.client.get("/").status_code, 200)
            invalidate("/")
        self.assertEqual(len(log.output), 1)
        self.assertIn('"/test-/" is not stored: ', log.output[0])


class Settings(SimpleTestCase):
    def test_wrong_ones_stop_the_start(self):
        conf.check()
        plain = {"BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache", "LOCATION": site.MEMCACHED}
        for wrong in (
            {"PAGECACHE_KEY": ""},
            {"PAGECACHE_KEY": "$nonsense"},
            {"PAGECACHE_CACHE": "absent"},
            {"CACHES": {"default": plain, "pages": plain}},
        ):
            with self.subTest(wrong), override_settings(**wrong), self.assertRaises(ImproperlyConfigured):
                conf.check()


if __name__ == "__main__":
    unittest.main()
