"""Query arguments: the tables of src/args.rs, and what they mean for pages."""

import unittest

from django.test import SimpleTestCase, override_settings

from pagecache.args import IgnoredArgs
from pagecache.key import KeyPattern
from tests import site
from tests.cases import PageCase
from tests.processes import Nginx
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
        for query, expected in (
            ("", ""),
            ("page=2", "?page=2"),
            ("b=1&a=2&b=3", "?b=1&a=2&b=3"),
            ("utm_id=1&b=1&gclid&a=%20&utm_=", "?b=1&a=%20"),
            ("gclid=1", ""),
            ("gclid=1&utm_id=2", ""),
            ("Gclid=1", "?Gclid=1"),
            ("&", "?&"),
            ("gclid=1&", "?"),
            ("a&&gclid&b", "?a&&b"),
            ("gclid=1;page=2", "?gclid=1;page=2"),
            ("a=1?b", "?a=1?b"),
        ):
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


if __name__ == "__main__":
    unittest.main()
