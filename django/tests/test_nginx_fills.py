"""nginx stores the pages of a site that runs: those that Django would have stored, and no others."""

import itertools
import time
import unittest

from django.http import HttpResponse
from django.middleware.csrf import get_token
from django.test import override_settings
from django.urls import path, re_path

from pagecache import conf
from pagecache.invalidate import invalidate, invalidate_all, invalidate_prefix, invalidate_tags
from pagecache.middleware import page_cache
from tests import site
from tests.cases import PageCase
from tests.processes import Nginx
from tests.test_check import SAYING

KEY = "$scheme://$host$uri$pagecache_args"
STORE = f'pagecache_pass {{}}; pagecache_key "{KEY}"; pagecache_store on; {{}}'
SAID = SAYING + " add_header X-Store $pagecache_store_status always;"

SITE = "http://a.test"

numbers = itertools.count()


@page_cache(timeout=60, tags=["a"])
def numbered(request, *_):
    return HttpResponse(f"page {next(numbers)}")


URLS = (path("session/", site.with_session), path("token/", lambda request: HttpResponse(get_token(request))), re_path("", numbered))

PURGES = {
    "url": lambda hard: invalidate("http://a.test/a", hard=hard),
    "prefix": lambda hard: invalidate_prefix("http://a.test/", hard=hard),
    "tag": lambda hard: invalidate_tags("a", hard=hard),
    "all": lambda hard: invalidate_all(hard=hard),
}
"""Those that concern the page /a."""


@override_settings(PAGECACHE_FILL="nginx", PAGECACHE_KEY=KEY, ROOT_URLCONF=URLS)
class NginxFills(PageCase):
    def setUp(self):
        super().setUp()
        self.nginx = Nginx(STORE.format(site.MEMCACHED, SAID), fallback=SAID, application=self.serving())
        self.addCleanup(self.nginx.stop)

    def get(self, url, nginx=None, **headers):
        # A Host with a port is not that of everybody: nginx stores nothing for it.
        return (nginx or self.nginx).get(url, {"Host": "a.test", **headers})

    def test_a_page(self):
        first, second = (self.get("/gr%C3%B6%C3%9Fe/?page=2") for _ in range(2))
        self.assertEqual((first.headers["X-Cache"], second.headers["X-Cache"]), ("MISS", "HIT"))
        self.assertEqual(first.body, second.body)
        self.assertNotIn("Cache-Tag", first.headers)
        self.assertNotIn(b"Cache-Tag", self.item("/größe/?page=2", SITE)[1])
        self.assertIn(b"life=60;", self.item("/größe/?page=2", SITE)[1])

    def test_pages_that_are_purged(self):
        for hard in (False, True):
            for name, purge in PURGES.items():
                with self.subTest(name, hard=hard):
                    old = self.get("/a").body
                    self.assertEqual(self.get("/a").body, old)
                    self.assertTrue(purge(hard))
                    new = self.get("/a")
                    self.assertIn(new.headers["X-Cache"], ("MISS", "EXPIRED"))
                    self.assertNotEqual(new.body, old)

    def test_other_pages_stay(self):
        old = self.get("/a").body
        invalidate("http://a.test/b")
        invalidate_prefix("http://a.test/b")
        invalidate_tags("b")
        self.assertEqual(self.get("/a").body, old)

    def test_a_page_that_was_purged_while_it_was_rendered(self):
        def view(request):
            invalidate_tags("a")
            return numbered(request)

        with override_settings(ROOT_URLCONF=(path("a", view),)):
            self.get("/a")
        self.assertNotEqual(self.get("/a").headers["X-Cache"], "HIT")
        self.assertEqual(self.get("/a").headers["X-Cache"], "HIT")

    def test_pages_of_one_visitor(self):
        for url in ("/session/", "/token/"):
            for _ in range(2):
                response = self.get(url)
                self.assertEqual((response.status, response.headers["X-Cache"]), (200, "MISS"))
                self.assertEqual(response.headers["CDN-Cache-Control"], "no-store")
            self.assertIsNone(self.item(url, SITE))

    def test_a_visitor_with_a_cookie_of_statistics(self):
        bodies = {self.get("/a", Cookie="_ga=1").body for _ in range(2)}
        self.assertEqual(len(bodies), 1)

    def test_views_without_a_mark(self):
        with override_settings(PAGECACHE_ONLY_MARKED=True, ROOT_URLCONF=(path("a", site.page),)):
            self.assertEqual(self.get("/a").headers["X-Cache"], "MISS")
            self.assertEqual(self.get("/a").headers["X-Cache"], "MISS")

    def test_a_page_that_is_renewed(self):
        view = page_cache(timeout=1)(lambda request: HttpResponse("a page", headers={"ETag": '"1"'}))
        behind = [conf.MIDDLEWARE, "django.middleware.http.ConditionalGetMiddleware"]
        with override_settings(ROOT_URLCONF=(path("a", view),), MIDDLEWARE=behind):
            nginx = Nginx(STORE.format(site.MEMCACHED, SAID), fallback=SAID, application=self.serving())
            self.addCleanup(nginx.stop)
            seen = [self.get("/a", nginx).headers["X-Cache"]]
            while "REVALIDATED" not in seen and len(seen) < 5000:
                answer = self.get("/a", nginx)
                self.assertEqual(answer.body, b"a page")
                seen.append(answer.headers["X-Cache"])
        self.assertEqual((seen[0], seen[-1]), ("MISS", "REVALIDATED"))
        self.assertEqual(set(seen[1:-1]), {"HIT"})

    def test_a_page_that_is_renewed_in_the_background(self):
        stale = {"Cache-Control": "max-age=1, stale-while-revalidate=60"}
        view = page_cache(tags=["a"])(lambda request: HttpResponse(f"page {next(numbers)}", headers=stale))
        with override_settings(ROOT_URLCONF=(path("a", view),)):
            first = self.get("/a").body
            for renew in (lambda: None, lambda: invalidate_tags("a"), lambda: invalidate("http://a.test/a")):
                renew()
                seen = []
                until = time.monotonic() + 10
                while not seen or seen[-1].body == first:
                    self.assertLess(time.monotonic(), until)
                    seen.append(self.get("/a"))
                statuses = {answer.headers["X-Cache"] for answer in seen}
                self.assertTrue(statuses & {"STALE", "UPDATING"}, statuses)
                self.assertLessEqual(statuses, {"HIT", "STALE", "UPDATING"})
                first = seen[-1].body


@override_settings(PAGECACHE_KEY=KEY, PAGECACHE_PURGE_ZONE="site", ROOT_URLCONF=URLS)
class DjangoFills(PageCase):
    """With PAGECACHE_PURGE_ZONE, the pages that Django stores are purged as those that nginx stores."""

    def test_pages_that_are_purged(self):
        location = f'pagecache_pass {site.MEMCACHED}; pagecache_key "{KEY}"; pagecache_purge_zone site; {SAID}'
        nginx = Nginx(location, fallback=SAID, application=self.serving())
        self.addCleanup(nginx.stop)

        def get():
            return nginx.get("/a", {"Host": "a.test"})

        for hard in (False, True):
            for name, purge in PURGES.items():
                with self.subTest(name, hard=hard):
                    old = get().body
                    invalidate_tags("b")
                    self.assertEqual((get().headers["X-Cache"], get().body), ("HIT", old))
                    self.assertTrue(purge(hard))
                    new = get()
                    self.assertIn(new.headers["X-Cache"], ("MISS", "EXPIRED"))
                    self.assertNotEqual(new.body, old)


if __name__ == "__main__":
    unittest.main()
