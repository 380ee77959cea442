"""Query arguments: the tables of core/src/args.rs, and what they mean for pages."""

import unittest
from unittest.mock import patch

from django.test import Client, SimpleTestCase, override_settings

from pagecache import conf
from pagecache.args import IgnoredArgs
from pagecache.key import KeyPattern
from tests import site
from tests.cases import PageCase
from tests.processes import ROOT, Nginx
from tests.test_check import SAYING


def ignored(words):
    return IgnoredArgs.parse(words.split())


class Words(SimpleTestCase):
    def test_words_of_the_setting(self):
        for words, wrong in (
            (["*"], "*"),
            (["a", ""], ""),
            (["a*b"], "a*b"),
            (["**"], "**"),
            (["a=1"], "a=1"),
            (["a&b"], "a&b"),
            (["all", "a"], "all"),
            (["a", "all"], "all"),
            (["all", "all"], "all"),
        ):
            with self.subTest(words), self.assertRaises(ValueError) as caught:
                IgnoredArgs.parse(words)
            self.assertEqual(str(caught.exception), wrong)
        self.assertTrue(ignored("all*").has_name(b"allow"))
        self.assertFalse(ignored("all*").is_all)

    def test_ignored_arguments_are_taken_out(self):
        rows = (ROOT / "tests/data/without_ignored_args.tsv").read_text().splitlines()
        for query, expected in (row.split("\t") for row in rows[1:]):
            with self.subTest(query):
                self.assertEqual(ignored("utm_* gclid").without(query.encode()), expected.encode())
                self.assertEqual(ignored("all").without(query.encode()), b"")
                self.assertEqual(ignored("").without(query.encode()).decode(), "?" + query if query else "")


class Covered(SimpleTestCase):
    def assertCovered(self, pattern, words, queries, expected=True):
        for query in queries:
            with self.subTest(pattern, words=words, query=query):
                covered = not KeyPattern.parse(pattern, ignored(words)).lacks(query.encode())
                self.assertEqual(covered, expected)

    def test_a_key_without_the_query_covers_no_argument(self):
        for pattern in ("/site-$uri", "$uri$is_args", "$cookie_lang;$host$uri"):
            self.assertCovered(pattern, "", [""])
            self.assertCovered(pattern, "", ["page=2", "page", "page=", "=", "&", "%70age=2", ";"], False)

    def test_a_key_with_the_query_covers_each(self):
        whole = ("$uri?$args", "$uri$is_args$ARGS", "${uri}?${query_string}", "$request_uri", "$uri$pagecache_args")
        for pattern in whole:
            self.assertCovered(pattern, "", ["", "page=2", "&", "a=1&a=2&A=3", "x;y"])

    def test_an_argument_of_the_key_is_the_one_that_both_take(self):
        pattern = "$uri?$arg_page&$arg_q"
        self.assertCovered(pattern, "", ["page=2", "page=2&q=a", "q=a=b&page=;", "q=a;page=3"])
        for query in ("PAGE=2", "page=1&page=2", "page=1&PAGE=2", "PAGE=1&page=2", "page&page=2"):
            self.assertCovered(pattern, "", [query], False)
            self.assertCovered(pattern, "PAGE x", [query], query == "PAGE=2")
        others = ["page=", "page", "page=2&", "&page=2", "page=2&r=1", "pag%65=2", "page[]=2"]
        self.assertCovered(pattern, "", others, False)

    def test_ignored_arguments_need_not_be_in_the_key(self):
        self.assertCovered("$uri", "utm_* gclid", ["utm_source=x", "gclid=1&utm_=2", "gclid", "gclid=&gclid=2"])
        others = ["gclid=1&page=2", "gclids=1", "UTM_ID=1", "utm%5Fid=1", "gclid=1&", "utm", "gclid=1;page=2"]
        self.assertCovered("$uri", "utm_* gclid", others, False)
        self.assertCovered("$uri", "all", ["page=2", "&&", "a;b", "PAGE=1&page"])


class Held(SimpleTestCase):
    """The query that a key holds, of which a page may be made."""

    def assertHeld(self, pattern, words, queries):
        for query, expected in queries.items():
            with self.subTest(pattern, words=words, query=query):
                self.assertEqual(KeyPattern.parse(pattern, ignored(words)).held(query.encode()), expected.encode())

    def test_ignored_arguments_are_not(self):
        kept = {"": "", "utm_id=1": "", "utm_id=1&b=2&gclid&a=%20": "b=2&a=%20", "gclid=1&": "", "gclid=1;b": "gclid=1;b"}
        for pattern in ("$uri$pagecache_args", "$uri", "$uri$is_args"):
            self.assertHeld(pattern, "utm_* gclid", kept)
            self.assertHeld(pattern, "all", dict.fromkeys(kept, ""))

    def test_all_of_it_where_the_key_has_it_as_it_came(self):
        for pattern in ("$uri$is_args$args", "$uri?$QUERY_STRING", "$request_uri"):
            for words in ("utm_* gclid", "all"):
                self.assertHeld(pattern, words, {query: query for query in ("utm_id=1&b=2", "gclid", "&")})

    def test_an_ignored_argument_that_is_in_the_key_by_itself(self):
        both = {
            "page=2": "page=2",
            "a=1&page=2&b": "page=2",
            "page=1&page=2": "page=1",
            "PAGE=1&page=2": "page=1",
            "page&PAGE=2": "page=2",
            "page=&page=2": "",
            "page=a=b": "page=a=b",
        }
        self.assertHeld("$uri?$arg_page", "all", both)
        self.assertHeld("$uri?$arg_page", "page PAGE", {q: e for q, e in both.items() if "a=1" not in q})


class Pages(PageCase):
    @override_settings(PAGECACHE_KEY="/test-$uri$pagecache_args", PAGECACHE_IGNORE_ARGS=["utm_*", "gclid"])
    def test_under_the_key_without_them(self):
        page = self.client.get("/a?utm_source=x&b=c&gclid=y")
        self.assertEqual(self.page("/a?b=c"), page.content)
        page = self.client.get("/a?utm_source=x")
        self.assertEqual(self.page("/a"), page.content)

    @override_settings(PAGECACHE_KEY="/test-$uri", PAGECACHE_IGNORE_ARGS="all")
    def test_a_query_that_never_matters(self):
        page = self.client.get("/a?b=c")
        self.assertEqual(self.page("/a"), page.content)

    @override_settings(PAGECACHE_KEY="/test-$uri?$arg_page", PAGECACHE_IGNORE_ARGS="all")
    def test_a_query_of_which_one_argument_matters(self):
        self.assertEqual(self.client.get("/a?b=c&PAGE=2&page=3").content, b"page /a?page=2")
        self.assertEqual(self.page("/a?2"), b"page /a?page=2")

    def test_as_nginx_reads_them(self):
        """Of each query, nginx looks the page up and Django stores it, under one key, or neither does."""
        queries = [
            *("", "b=c", "utm_id=1", "utm_id=1&b=c&gclid", "b=c&utm_=", "gclid=1;b=c", "Gclid=1", "&", "gclid=1&"),
            *("a&&gclid&b", "utm%5Fid=1", "a=1?b", "page=2", "page=2&gclid=1", "PAGE=2", "page=1&page=2", "page=", "="),
            *("page=2&PAGE=3", "page=%32", "p%61ge=2", "page=2&", "page=a=b", "page[]=2", "%C3%A4=%C3%B6", "utm_*=1"),
        ]
        for pattern in ("$scheme://$host$uri$pagecache_args", "/test-$uri", "/test-$uri?$arg_page"):
            for words in ([], ["utm_*", "gclid"], ["all"]):
                directive = f"pagecache_ignore_args {' '.join(words)};" if words else ""
                with override_settings(PAGECACHE_KEY=pattern, PAGECACHE_IGNORE_ARGS=words):
                    nginx = Nginx(
                        f'pagecache_key "{pattern}"; pagecache_pass {site.MEMCACHED}; {directive} {SAYING}',
                        fallback=SAYING,
                        application=self.serving(),
                    )
                    try:
                        self.agree_on(queries, nginx, (pattern, words))
                    finally:
                        nginx.stop()

    def agree_on(self, queries, nginx, where):
        for query in queries:
            with self.subTest(where, query=query):
                self.memcached.flush_all()
                first, again = (nginx.get(f"/a?{query}") for _ in range(2))
                said = first.headers["X-Cache"], again.headers["X-Cache"]
                self.assertIn(said, (("MISS", "HIT"), ("BYPASS", "BYPASS")))
                if said[0] == "BYPASS":
                    self.assertEqual(first.headers["X-Cache-Reason"], "args")


@override_settings(PAGECACHE_KEY="/test-$uri$pagecache_args", PAGECACHE_IGNORE_ARGS=["utm_*", "gclid"])
class Shown(PageCase):
    """What the page of a visitor with ignored arguments is made of, for it is served to all."""

    evil = "?utm_source=evil&b=c&gclid=ID"
    as_it_came = {"REQUEST_URI": "/query/" + evil, "RAW_URI": "/query/" + evil}

    def assertShown(self, url, **extra):
        with self.subTest(url, **extra):
            shown = self.client.get(url, **self.as_it_came, **extra).content
            self.assertNotEqual(b"evil" in shown, b"ID" not in shown)
            self.assertIn(b"b=c", shown)
            return b"evil" in shown

    def test_no_argument_that_the_key_lacks(self):
        for path in ("/query/", "/minute-of-query/"):
            self.assertFalse(self.assertShown(path + self.evil))
            self.assertEqual(self.page(path + "?b=c").count(b"b=c"), 7)
            self.assertEqual(self.client.get(path + "?b=c").content.count(b"b=c"), 5)

    @override_settings(PAGECACHE_KEY="/test-$uri", PAGECACHE_IGNORE_ARGS="all")
    def test_no_query_at_all(self):
        page = self.client.get("/query/" + self.evil, **self.as_it_came).content
        self.assertNotIn(b"?", page)
        self.assertEqual(self.page("/query/"), page)

    async def test_under_asgi(self):
        told = {"X-Pagecache-Status": "MISS", "X-Pagecache-Key": "/test-/query/?b=c"}
        response = await self.async_client.get("/query/" + self.evil, headers=told)
        self.assertEqual(response.content.count(b"b=c"), 6)
        self.assertNotIn(b"evil", response.content)
        self.assertEqual(self.page("/query/?b=c"), response.content)

    def test_not_stored_sees_each(self):
        url, path = "/query/" + self.evil, "/query/?b=c"
        self.assertTrue(self.assertShown(url, HTTP_X_PAGECACHE_STATUS="BYPASS"))
        self.assertTrue(self.assertShown(url, HTTP_X_PAGECACHE_STATUS="ERROR"))
        self.assertTrue(self.assertShown(url, HTTP_X_PAGECACHE_KEY="/test-/other/"))
        self.assertTrue(self.assertShown(url, HTTP_AUTHORIZATION="Basic eDp5"))
        self.assertTrue(self.assertShown(url, HTTP_COOKIE="sessionid=a"))
        self.assertTrue(self.assertShown(url, HTTP_HOST="A.test"))
        self.assertTrue(self.assertShown(url, HTTP_HOST="a.test:81"))
        self.assertIn(b"evil", self.client.post(url).content)
        self.assertIsNone(self.item(path))
        self.client = Client()
        self.assertTrue(self.assertShown(url))
        self.assertIsNone(self.item(path))

    @override_settings(PAGECACHE_KEY="/test-$uri", PAGECACHE_IGNORE_ARGS="all")
    def test_under_the_key_of_a_view(self):
        of_nginx = {"HTTP_X_PAGECACHE_KEY": "/test-search-/search/?x"}
        page = self.client.get("/search/?q=x&b=c&q=y", **of_nginx).content
        self.assertIn(b"/search/?q=x\n", page)
        self.assertNotRegex(page, b"b=c|q=y")
        self.assertEqual(self.page("search-/search/?x"), page)
        # Before the views are loaded, nobody knows their keys.
        self.memcached.flush_all()
        with patch("pagecache.conf.keys_of_views", set()):
            self.assertIn(b"b=c", self.client.get("/search/?q=x&b=c", **of_nginx).content)
        self.assertIsNone(self.item("search-/search/?x"))

    def test_of_a_query_that_was_read_before(self):
        before = "tests.site.a_look_at_the_query"
        with override_settings(MIDDLEWARE=[before, conf.MIDDLEWARE], PAGECACHE_ALLOW_BEFORE=[before]):
            self.client = self.client_class()
            self.assertFalse(self.assertShown("/query/" + self.evil))
            self.assertIsNotNone(self.item("/query/?b=c"))

    def test_of_a_query_that_was_put_back(self):
        with self.behind("tests.site.a_query_put_back"):
            self.assertNotStored("/query/?gclid=ID")
            self.assertNotStored("/query/")

    def test_by_nginx(self):
        nginx = Nginx(
            'pagecache_key "/test-$uri$pagecache_args"; pagecache_ignore_args utm_* gclid; '
            f"pagecache_pass {site.MEMCACHED}; pagecache_bypass $cookie_a; {SAYING}",
            fallback=SAYING,
            application=self.serving(),
        )
        self.addCleanup(nginx.stop)
        for query, shown in (("?utm_source=evil", ""), (self.evil, "?b=c")):
            for headers, said, expected in (
                ({"Cookie": "a=b"}, "BYPASS", query),
                ({}, "MISS", shown),
                ({}, "HIT", shown),
            ):
                with self.subTest(query, said=said):
                    answer = nginx.get("/a" + query, headers)
                    self.assertEqual(answer.headers["X-Cache"], said)
                    self.assertEqual(answer.body.decode(), "page /a" + expected)


if __name__ == "__main__":
    unittest.main()
