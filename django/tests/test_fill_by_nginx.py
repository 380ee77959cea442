"""PAGECACHE_FILL = "nginx": which responses nginx may store, for how long, and with which tags."""

import time
import unittest
from unittest.mock import patch

from django.db import models
from django.http import HttpResponse
from django.test import override_settings
from django.urls import path
from django.utils.http import http_date
from django.views.decorators.http import condition

from pagecache import probe, store
from pagecache.middleware import page_cache
from pagecache.tags import tag
from tests import site
from tests.cases import PageCase


class Author(models.Model):
    class Meta:
        app_label = "pagecache"


class Novelist(Author):
    class Meta:
        app_label = "pagecache"


class Pseudonym(Novelist):
    class Meta:
        app_label = "pagecache"
        proxy = True


@override_settings(PAGECACHE_FILL="nginx")
class FillCase(PageCase):
    def control(self, url, **extra):
        return self.client.get(url, **extra).get("CDN-Cache-Control")

    def assertForbidden(self, url, method="get", **extra):
        with self.subTest(url, **extra):
            response = getattr(self.client, method)(url, **extra)
            self.assertEqual(response.get("CDN-Cache-Control"), "no-store")
            self.assertNotIn("Cache-Tag", response)


class Stored(FillCase):
    def test_django_stores_nothing_and_asks_memcached_nothing(self):
        before = self.memcached.stats()
        self.assertEqual(self.control("/"), "max-age=300")
        now = self.memcached.stats()
        self.assertEqual([now[name] for name in (b"cmd_get", b"cmd_set")], [before[name] for name in (b"cmd_get", b"cmd_set")])

    def test_for_how_long(self):
        now = int(time.time())
        just = http_date(now - 100).replace(" ", "%20")
        both = "/headers/{}/{}/{}/{}".format
        for url, said in (
            ("/", "max-age=300"),
            ("/minute/", "max-age=60"),
            ("/header/Cache-Control/max-age=20", "max-age=20"),
            ("/header/Cache-Control/max-age=20,s-maxage=99", "max-age=99, proxy-revalidate"),
            ("/header/Cache-Control/max-age=999", "max-age=300"),
            ("/header/Cache-Control/max-age=20,stale-while-revalidate=7,must-revalidate", "max-age=20, must-revalidate, stale-while-revalidate=7"),
            ("/header/Cache-Control/max-age=20,stale-if-error=x,no-transform", "max-age=20, no-transform"),
            # what a view says to nginx itself
            ("/header/CDN-Cache-Control/max-age=20,stale-if-error=5", "max-age=20, stale-if-error=5"),
            (both("CDN-Cache-Control", "max-age=20", "Cache-Control", "no-cache"), "max-age=20"),
            (both("CDN-Cache-Control", "max-age=999", "Cache-Control", "max-age=0"), "max-age=300"),
            # nginx subtracts the age
            (both("Cache-Control", "max-age=100", "Age", "40"), "max-age=100"),
            (both("Cache-Control", "max-age=999", "Age", "40"), "max-age=340"),
            (both("Cache-Control", "max-age=150", "Date", just), "max-age=150"),
        ):
            with self.subTest(url):
                self.assertEqual(self.control(url), said)

    def test_the_header_that_nginx_reads_first(self):
        response = self.client.get("/header/X-Accel-Expires/999")
        self.assertEqual((response["CDN-Cache-Control"], response["X-Accel-Expires"]), ("max-age=300", "300"))

    def test_where_the_body_ends(self):
        self.assertEqual(self.client.get("/")["Content-Length"], str(len("page /")))

    async def test_under_asgi(self):
        told = {"X-Pagecache-Status": "MISS", "X-Pagecache-Key": "/test-/decorated-async/"}
        response = await self.async_client.get("/decorated-async/", headers=told)
        self.assertEqual(response["CDN-Cache-Control"], "max-age=300")

    def test_a_page_that_is_unchanged(self):
        view = page_cache(timeout=60, tags=["a"])(lambda request: HttpResponse("a page", headers={"ETag": '"1"'}))
        of_view = page_cache(timeout=60)(condition(etag_func=lambda request: '"1"')(site.page))
        by_middleware = "django.middleware.http.ConditionalGetMiddleware"
        with override_settings(ROOT_URLCONF=(path("a", view), path("b", of_view))), self.behind(by_middleware):
            for only_marked in (False, True):
                for url in ("/a", "/b"):
                    with self.subTest(url), override_settings(PAGECACHE_ONLY_MARKED=only_marked):
                        response = self.client.get(url, headers={"If-None-Match": '"1"'})
                        self.assertEqual((response.status_code, response["CDN-Cache-Control"]), (304, "max-age=60"))


class NotStored(FillCase):
    def test_what_django_would_not_store(self):
        for url in (
            *("/status/404/", "/status/500/", "/stream/", "/never/", "/cookie/", "/csrf/", "/session/", "/decorated-csrf/"),
            *("/header/Vary/Cookie", "/header/Vary/Accept-Language", "/header/Cache-Control/private"),
            *("/header/Cache-Control/max-age=0", "/header/Content-Encoding/gzip", "/header/X-Accel-Redirect/secret"),
            *("/header/CDN-Cache-Control/no-store", "/headers/CDN-Cache-Control/private/Cache-Control/max-age=9"),
            *("/headers/X-Accel-Expires/60/Cache-Control/private", "/look-at-session/"),
        ):
            self.client.cookies.clear()
            self.assertForbidden(url)

    def test_requests(self):
        self.assertForbidden("/", "post")
        self.assertForbidden("/", headers={"Authorization": "Basic eDp5"})
        self.assertForbidden("/", HTTP_X_PAGECACHE_STATUS="BYPASS")
        self.assertForbidden("/", HTTP_X_PAGECACHE_KEY="/another")
        self.assertForbidden("/", headers={"host": "A.test"})
        self.client.get("/session/")
        self.assertForbidden("/")

    def test_what_is_for_one_visitor(self):
        with self.behind(*site.OF_MESSAGES):
            self.assertForbidden("/decorated-message/")
        for who in ("of_a_token", "by_a_lazy_look", "a_cookie", "a_vary", "a_used_nonce"):
            with self.behind(f"tests.site.{who}"):
                self.assertForbidden("/")

    def test_a_visitor_gets_the_page_whatever_is_wrong(self):
        for broken in ("tests.site.of_a_broken_token",):
            with self.behind(broken), patch.object(store, "_last_warning", float("-inf")):
                with self.assertLogs("pagecache", "WARNING"):
                    self.assertForbidden("/")

    def test_views_without_a_mark(self):
        with override_settings(PAGECACHE_ONLY_MARKED=True):
            self.assertForbidden("/header/Cache-Control/max-age=60")
            self.assertEqual(self.control("/minute/"), "max-age=60")

    def test_settings(self):
        with override_settings(PAGECACHE_ENABLED=False):
            self.assertForbidden("/")
        with self.assertLogs("pagecache", "ERROR"), self.behind(PAGECACHE_STATUSES=[500]):
            self.assertForbidden("/")

    def test_a_site_s_own_tests_see_nothing_of_it(self):
        with patch("pagecache.enabled.tests_run", return_value=True):
            for url in ("/", "/cookie/"):
                self.assertNotIn("CDN-Cache-Control", self.client.get(url))

    def test_the_reason(self):
        name = "/" + probe.new_name()
        self.assertRegex(self.client.get(name)[probe.HEADER], f"^{probe.STORED} [0-9a-f]{{16}}$")
        self.assertEqual(self.client.get(name, headers={"Authorization": "a"})[probe.HEADER], "a request with an Authorization header")


class Tags(FillCase):
    def tags_of(self, view, url="a", **extra):
        with override_settings(ROOT_URLCONF=(path("a", view), path("a/<int:pk>", view))):
            header = self.client.get("/" + url, **extra).get("Cache-Tag")
            return header and header.encode("latin-1").decode()

    def test_of_a_view(self):
        for tags, said in (
            ([], None),
            (["a", "b", "a"], "a,b"),
            (iter("ab"), "a,b"),
            ("front page", "front page"),
            (["a,b", "größe"], "a%2Cb,größe"),
            ([Author, Author(pk=7)], "pagecache.author,pagecache.author:7"),
            ([Novelist], "pagecache.novelist"),
            ([Pseudonym(pk=7, id=7)], "pagecache.novelist:7,pagecache.author:7"),
            (lambda request, pk: [f"page {pk}", Author(pk=pk)], "page 7,pagecache.author:7"),
        ):
            with self.subTest(said):
                view = page_cache(tags=tags)(lambda request, pk=0: site.page(request))
                for _ in range(2):
                    self.assertEqual(self.tags_of(view, "a/7" if callable(tags) else "a"), said)

    def test_that_are_added_within_a_view(self):
        def view(request):
            tag(request, "b", Author(pk=1))
            tag(request, "b", "c")
            return HttpResponse("a page", headers={"Cache-Tag": "d e, b,"})

        self.assertEqual(self.tags_of(view), "b,pagecache.author:1,c,d e")
        self.assertEqual(self.tags_of(page_cache(tags=["a"])(view)), "b,pagecache.author:1,c,a,d e")

    def test_of_an_asynchronous_view(self):
        self.assertEqual(self.tags_of(page_cache(tags=lambda request: [Author])(site.asynchronous)), "pagecache.author")

    def test_too_many_for_a_head(self):
        for many in (range(129), ["a" * 100 + str(number) for number in range(20)]):
            header = self.tags_of(page_cache(tags=map(str, many))(site.page))
            self.assertEqual(header, ",".join(map(str, range(129))))

    def test_a_mistake_in_them(self):
        for wrong in (lambda request: 1 / 0, [7]):
            view = page_cache(tags=wrong)(site.page)
            with override_settings(ROOT_URLCONF=(path("a", view),)), self.assertLogs("pagecache", "WARNING"):
                response = self.client.get("/a")
            self.assertEqual((response.status_code, response["CDN-Cache-Control"]), (200, "no-store"))


if __name__ == "__main__":
    unittest.main()
