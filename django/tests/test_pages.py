"""Which pages are stored, as what, and for how long."""

import hashlib
import time
import unittest
from unittest.mock import patch

from django.test import override_settings
from django.urls import path
from django.utils.decorators import decorator_from_middleware
from django.utils.http import http_date

from pagecache import before, conf, store
from pagecache.middleware import PageCacheMiddleware, page_cache
from tests import site
from tests.cases import PageCase


class Stored(PageCase):
    def test_pages(self):
        for url in ("/", "/safe-string/", "/template/", "/empty/", "/größe/", "/?page=2"):
            with self.subTest(url):
                self.assertStored(url)

    @override_settings(PAGECACHE_FORMAT="body")
    def test_bare_bytes_with_the_flag_0(self):
        for url in ("/", "/safe-string/", "/template/", "/größe/", "/?page=2"):
            with self.subTest(url):
                self.assertEqual(self.item(url), None)
                page = self.client.get(url)
                self.assertEqual(self.item(url), (0, page.content))

    def test_a_long_key(self):
        response = self.client.get("/" + "a" * 300)
        key = "%sha256:" + hashlib.sha256(b"/test-/" + b"a" * 300).hexdigest()
        self.assertTrue(self.memcached.get(key).endswith(b"\r\n\r\n" + response.content))

    def test_vary_on_what_does_not_matter(self):
        self.assertStored("/header/Vary/Accept-Encoding")
        with override_settings(PAGECACHE_IGNORE_VARY=["Cookie"]):
            self.assertStored("/header/Vary/cookie,Accept-Encoding")
            self.assertStored("/look-at-session/")

    def test_for_how_long(self):
        for url, least, most in (
            ("/", 290, 300),
            ("/minute/", 50, 60),
            ("/header/Cache-Control/max-age=20", 10, 20),
            ("/header/Cache-Control/max-age=20,s-maxage=99", 89, 99),
            ("/header/Cache-Control/max-age=999", 290, 300),
            ("/header/Cache-Control/max-age=20,max-age=99", 10, 20),
            ("/header/Cache-Control/s-maxage=99,max-age=10,s-maxage=20", 10, 20),
            ("/header/Expires/" + http_date(4_000_000_000).replace(" ", "%20"), 290, 300),
        ):
            with self.subTest(url):
                self.client.get(url)
                left = self.seconds_left(url.replace("%20", " ").replace(" ", "%20"))
                self.assertIn(left, range(least, most + 1))

    def test_what_it_says_to_nginx_of_its_lifetime(self):
        both, now = "/headers/{}/X-Accel-Expires/{}", int(time.time())
        for url, least, most in (
            ("/header/X-Accel-Expires/20", 10, 20),
            ("/header/X-Accel-Expires/999", 290, 300),
            (f"/header/X-Accel-Expires/@{now + 50}", 40, 50),
            (f"/header/X-Accel-Expires/@{now + 9999}", 290, 300),
            # It comes first, be it shorter or longer.
            (both.format("Cache-Control/max-age=99", "20"), 10, 20),
            (both.format("Cache-Control/max-age=20,s-maxage=30", "99"), 89, 99),
            (both.format("Cache-Control/max-age=0", "99"), 89, 99),
            (both.format("Expires/0", "99"), 89, 99),
            (both.format("Age/40", "100"), 50, 60),
            # A time of day, whatever the page's age.
            (both.format("Age/40", f"@{now + 100}"), 90, 100),
        ):
            with self.subTest(url):
                self.client.get(url)
                self.assertIn(self.seconds_left(url), range(least, most + 1))

    def test_what_it_says_of_its_age(self):
        soon, just = (http_date(time.time() + seconds).replace(" ", "%20") for seconds in (50, -100))
        for url, least, most in (
            ("/headers/Cache-Control/max-age=100/Age/40", 50, 60),
            ("/headers/Cache-Control/max-age=999/Age/40", 290, 300),
            ("/headers/Age/100/X-A/b", 190, 200),
            (f"/headers/Cache-Control/max-age=150/Date/{just}", 40, 50),
            # Out of Django's own cache, which sends an Age since 5.0 alone.
            (f"/headers/Cache-Control/max-age=100/Expires/{soon}", 40, 50),
            (f"/headers/Cache-Control/max-age=100,max-age=80/Expires/{soon}", 20, 30),
        ):
            with self.subTest(url):
                self.client.get(url)
                self.assertIn(self.seconds_left(url), range(least, most + 1))

    def test_out_of_django_s_own_cache(self):
        local = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": self.id()}
        with override_settings(CACHES={**site.settings.CACHES, "default": local}):
            self.assertStored("/cached/")
            self.assertGreater(self.seconds_left("/cached/"), 90)
            self.memcached.flush_all()
            with patch("time.time", lambda now=time.time() + 80: now):
                self.assertStored("/cached/")
            self.assertLess(self.seconds_left("/cached/"), 21)

    def test_longer_than_memcached_counts_from_now(self):
        # Above 30 days, memcached takes a number of seconds for a date (protocol.txt, "Expiration times").
        with override_settings(PAGECACHE_TIMEOUT=90 * 24 * 3600, PAGECACHE_FORMAT="http"):
            self.assertStored("/")
        self.assertGreater(self.seconds_left("/"), 89 * 24 * 3600)

    async def test_under_asgi(self):
        told = {"X-Pagecache-Status": "MISS", "X-Pagecache-Key": "/test-/a?b=c"}
        response = await self.async_client.get("/a?b=c", headers=told)
        self.assertEqual(self.page("/a?b=c"), response.content)


class NotStored(PageCase):
    def test_methods_and_bodies(self):
        for method in ("post", "put", "delete", "options", "head"):
            with self.subTest(method):
                self.assertNotStored("/", method)
        self.client.generic("GET", "/", b"a body")
        self.assertIsNone(self.item("/"))
        self.assertNotStored("/", headers={"Transfer-Encoding": "chunked"})

    def test_answers(self):
        for url in (
            "/status/404/",
            "/status/500/",
            "/status/203/",
            "/redirect/301/?to=/a/",
            "/stream/",
            "/never/",
            "/cookie/",
            "/csrf/",
            "/session/",
            "/decorated-csrf/",
            "/decorated-session/",
            "/look-at-session/",
            "/header/Vary/Cookie",
            "/header/Vary/*",
            "/header/Vary/Accept-Language",
            "/header/Cache-Control/private",
            "/header/Cache-Control/no-store,max-age=60",
            "/header/Cache-Control/max-age=60;no-store",
            "/header/Cache-Control/no-cache;private",
            "/header/Cache-Control/no-cache",
            "/header/Cache-Control/max-age=0",
            "/header/Cache-Control/max-age=soon",
            "/header/Cache-Control/max-age=0,max-age=60",
            "/header/Cache-Control/max-age=soon,max-age=60",
            "/header/Expires/0",
            "/header/X-Accel-Expires/0",
            "/header/X-Accel-Expires/@0",
            "/header/X-Accel-Expires/@1000000000",
            *("/headers/Cache-Control/max-age=60/X-Accel-Expires/" + wrong for wrong in ("soon", "-1", "@", "@soon", "1.5", "9,9")),
            "/headers/Age/100/X-Accel-Expires/100",
            "/headers/Age/soon/X-Accel-Expires/100",
            "/header/Expires/" + http_date(1_000_000_000).replace(" ", "%20"),
            "/headers/Cache-Control/max-age=60/Age/60",
            "/headers/Cache-Control/max-age=60/Age/soon",
            "/header/Age/300",
            "/header/Content-Encoding/gzip",
            "/header/Content-Range/bytes%200-1%2F2",
            "/header/X-Accel-Redirect/secret",
        ):
            self.assertNothingStored(url)

    @override_settings(PAGECACHE_FORMAT="body")
    def test_what_a_bare_body_does_not_say(self):
        for url in (
            "/empty/",
            "/header/Content-Disposition/attachment",
            "/header/Content-Type/application/json",
        ):
            self.assertNothingStored(url)

    def assertNothingStored(self, url):
        with self.subTest(url):
            self.client.cookies.clear()  # with a session of an earlier answer nothing is stored
            self.client.get(url)
            self.assertEqual(self.memcached.stats()[b"cmd_set"], self.sets)

    def setUp(self):
        super().setUp()
        self.sets = self.memcached.stats()[b"cmd_set"]

    def test_visitors(self):
        self.assertNotStored("/", headers={"Authorization": "Basic eDp5"})
        self.assertNotStored("/", headers={"Cache-Control": "no-cache, No-Store"})
        self.client.get("/session/")
        self.assertNotStored("/")

    def test_a_visitor_who_is_logged_in_without_a_session(self):
        for who in ("of_a_token", "by_a_lazy_look", "by_an_asynchronous_look"):
            with self.subTest(who), self.behind(f"tests.site.{who}"):
                self.assertNotStored("/")
        self.assertNotStored("/", REMOTE_USER="ada")

    def test_a_visitor_whom_nobody_has_looked_up(self):
        with self.behind("tests.site.not_looked_up"):
            self.assertStored("/", REMOTE_USER="")

    def test_a_host_other_than_the_key_s(self):
        with override_settings(USE_X_FORWARDED_HOST=True):
            self.assertNotStored("/", headers={"host": "a.test", "X-Forwarded-Host": "evil.test"})
            self.assertStored("/", headers={"host": "A.test", "X-Forwarded-Host": "a.test"})
        with override_settings(ALLOWED_HOSTS=["a.test"]):
            self.assertNotStored("/b", headers={"host": "evil.test"})

    def test_a_spelling_of_the_visitor_s_own(self):
        for host in ("A.test", "a.tesT:80", "a.test.", "a.test.:80", "[::A]"):
            with self.subTest(host=host):
                self.assertNotStored("/", headers={"host": host})
        for host in ("a.test", "a.test:80", "[::a]", "[::a]:80", "127.0.0.1"):
            with self.subTest(host=host):
                self.memcached.flush_all()
                self.assertStored("/", headers={"host": host})

    def test_a_page_that_would_have_the_key_of_another(self):
        self.client.get("/a%3Fb=c")
        self.assertIsNone(self.item("/a?b=c"))
        with override_settings(PAGECACHE_KEY="/test-$uri"):
            self.client.get("/a?b=c")
            self.assertIsNone(self.item("/a"))

    def test_the_log_says_why(self):
        with self.assertLogs("pagecache", "DEBUG") as log:
            self.client.get("/cookie/")
        self.assertEqual(log.output, ['DEBUG:pagecache:"/cookie/" is not stored: a cookie'])


class Subclass(PageCacheMiddleware):
    """Nothing knows of it what stands before it."""


class NotWhereItBelongs(PageCase):
    def test_what_others_add_would_not_be_seen(self):
        of_a_view = decorator_from_middleware(PageCacheMiddleware)
        for middlewares, view in (
            (["tests.site.a_cookie", "tests.test_pages.Subclass"], lambda: site.page),
            (["tests.site.a_cookie"], lambda: of_a_view(site.page)),
        ):
            with self.subTest(middlewares), override_settings(MIDDLEWARE=middlewares):
                with self.assertLogs("pagecache", "ERROR") as logged, override_settings(ROOT_URLCONF=(path("a", view()),)):
                    self.client = self.client_class()
                    self.assertNotStored("/a")
                self.assertIn("No page is stored: MIDDLEWARE", logged.output[0])

    def test_of_several_the_outermost_stores(self):
        of_a_view = decorator_from_middleware(PageCacheMiddleware)(site.page)
        for behind in ([conf.MIDDLEWARE], []):
            with self.subTest(behind), override_settings(ROOT_URLCONF=(path("a", site.page), path("b", of_a_view))):
                with override_settings(MIDDLEWARE=[conf.MIDDLEWARE, "tests.site.a_cookie", *behind]):
                    self.client = self.client_class()
                    self.assertNotStored("/a")
                    self.assertNotStored("/b")
                with override_settings(MIDDLEWARE=[conf.MIDDLEWARE, *behind]):
                    self.client = self.client_class()
                    self.assertStored("/a")
                    self.assertStored("/b")
                self.memcached.flush_all()


class Decorated(PageCase):
    def test_with_the_middleware_a_view_says_for_how_long(self):
        self.assertStored("/minute/")
        self.assertLess(self.seconds_left("/minute/"), 61)

    def test_with_the_middleware_a_view_says_under_which_key(self):
        response = self.client.get("/other-key/", REQUEST_URI="/other-key/", HTTP_X_PAGECACHE_KEY="/other-/other-key/")
        self.assertIsNone(self.item("/other-key/"))
        self.assertEqual(self.page("/other-key/", "/other-"), response.content)

    def test_a_wrong_key(self):
        with patch.object(conf, "wrong_keys_of_views", {}), patch.object(store, "_last_warning", float("-inf")):
            view = page_cache(key="$nonsense")(site.page)
            with override_settings(ROOT_URLCONF=(path("a", view), path("b", site.page))):
                with self.assertLogs("pagecache", "WARNING") as logged:
                    self.assertNotStored("/a")
                self.assertIn('"$nonsense" is not a variable', logged.output[0])
                self.assertStored("/b")

    def test_a_wrong_timeout(self):
        for wrong in (90.0, "60"):
            with self.subTest(wrong), patch.object(conf, "wrong_timeouts_of_views", {}):
                view = page_cache(timeout=wrong)(site.page)
                with override_settings(ROOT_URLCONF=(path("a", view),)), patch.object(store, "_last_warning", float("-inf")):
                    with self.assertLogs("pagecache", "WARNING") as logged:
                        self.assertNotStored("/a")
                    self.assertIn("whole number of seconds", logged.output[0])

    @override_settings(PAGECACHE_ONLY_MARKED=True)
    def test_decorated_views_alone(self):
        self.assertNotStored("/")
        self.assertStored("/minute/")
        self.assertStored("/decorated-template/")
        self.assertStored("/decorated-async/")
        response = self.client.get("/other-key/", REQUEST_URI="/other-key/", HTTP_X_PAGECACHE_KEY="/other-/other-key/")
        self.assertEqual(self.page("/other-key/", "/other-"), response.content)

    def test_what_other_middlewares_add_is_seen(self):
        for adds in ("a_cookie", "a_vary"):
            for only_marked in (False, True):
                with self.behind(f"tests.site.{adds}", PAGECACHE_ONLY_MARKED=only_marked):
                    for url in ("/minute/", "/decorated-template/", "/decorated-async/", "/"):
                        with self.subTest(adds, only_marked=only_marked, url=url):
                            self.assertNotStored(url)

    def test_a_message_is_for_one_visitor(self):
        with self.behind(*site.OF_MESSAGES):
            self.assertNotStored("/decorated-message/")

    def test_compressed_for_the_browser_alone(self):
        with override_settings(MIDDLEWARE=[before.GZIP, conf.MIDDLEWARE]):
            response = self.client.get("/lines/", headers={"Accept-Encoding": "gzip"})
            self.assertEqual(response["Content-Encoding"], "gzip")
            self.assertEqual(self.page("/lines/"), b"a line of the page\n" * 500)


class Trouble(PageCase):
    def setUp(self):
        super().setUp()
        store._last_warning = float("-inf")

    def test_nothing_of_it_reaches_the_visitor(self):
        for broken in ("tests.site.of_a_broken_token", "tests.site.a_broken_header"):
            store._last_warning = float("-inf")
            with self.subTest(broken), self.behind(broken, PAGECACHE_FORMAT="http"):
                with self.assertLogs("pagecache", "WARNING"):
                    self.assertEqual(self.client.get("/").status_code, 200)

    def test_a_page_larger_than_memcached_takes(self):
        for backend in ("PyMemcacheCache", "PyLibMCCache"):
            store._last_warning = float("-inf")
            pages = site.cache_of(site.MEMCACHED, backend=backend)
            with override_settings(CACHES={"default": site.DUMMY, "pages": pages}):
                with self.assertLogs("pagecache", "WARNING") as log:
                    self.assertEqual(len(self.client.get("/large/").content), 2_000_000)
            self.assertIn('"/test-/large/" is not stored: ', log.output[0])
            self.assertIsNone(self.item("/large/"))

    def test_memcached_is_down(self):
        for backend in ("PyMemcacheCache", "PyLibMCCache"):
            store._last_warning = float("-inf")
            nobody_listens = site.cache_of("127.0.0.1:1", backend=backend)
            down = override_settings(CACHES={"default": site.DUMMY, "pages": nobody_listens})
            with down, self.assertLogs("pagecache", "WARNING") as log:
                for _ in range(3):
                    self.assertEqual(self.client.get("/").status_code, 200)
            self.assertEqual(len(log.output), 1)
            self.assertIn('"/test-/" is not stored: ', log.output[0])


if __name__ == "__main__":
    unittest.main()
