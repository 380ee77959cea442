"""Keys, beyond what the contract's rows have of them."""

import unittest

from django.core.exceptions import ImproperlyConfigured
from django.test import SimpleTestCase

from pagecache.key import KeyPattern, NoKey, escaped
from pagecache.address import PageAddress
from tests import site  # noqa: F401  (configures Django)


def key(pattern, url, **where):
    return KeyPattern.parse(pattern).key(PageAddress.of_url(url, **where))


class Patterns(SimpleTestCase):
    def test_wrong_patterns(self):
        for wrong in ("$", "/a-$http_host", "${uri", "$uri_", "/100$", "$1", "$arg_", "$cookie_", "$uri$ö"):
            with self.subTest(wrong), self.assertRaises(ImproperlyConfigured) as caught:
                KeyPattern.parse(wrong)
            self.assertIn(f'"{wrong}"', str(caught.exception))

    def test_what_a_variable_could_go_on_with(self):
        for wrong, name, advice in (
            ("$uri-$arg_page", "uri", '"$uri?$arg_page"'),
            ("$URI-$arg_page", "URI", '"$uri?$arg_page"'),
            ("${document_uri}x", "document_uri", '"$is_args$args"'),
            ("$uri?$cookie_lang", "uri", '"$cookie_lang;$uri"'),
            ("$uri?$arg_a&$host", "uri", "goes before it"),
            ("$uri$pagecache_args$host", "uri", "goes before it"),
            ("$pagecache_args$uri", "pagecache_args", "at the end"),
            ("$uri$is_args$pagecache_args", "is_args", '"$is_args$args"'),
            ("$uri$args", "uri", '"$is_args$args"'),
            ("$uri;$cookie_lang", "uri", "goes before it"),
            ("$uri$is_args-$args", "is_args", '"$is_args$args"'),
            ("$is_args$cookie_lang", "is_args", '"$is_args$args"'),
            ("$uri$is_args$args-x", "args", "at the end"),
            ("$query_string$uri", "query_string", "at the end"),
            ("$request_uri/", "request_uri", "at the end"),
            ("$uri?$arg_a-$arg_b", "arg_a", '"&" after it'),
            ("$arg_a$uri", "arg_a", '"&" after it'),
            ("$cookie_a$uri", "cookie_a", '";" after it'),
            ("$COOKIE_A-$uri", "COOKIE_A", '";" after it'),
            ("$host-$uri", "host", '"$host$uri"'),
            ("$host:$uri", "host", '"$host$uri"'),
            ("$host$arg_a", "host", '"$host$uri"'),
            ("$scheme$uri", "scheme", '"://"'),
            ("${scheme}s://$host$uri", "scheme", '"://"'),
        ):
            with self.subTest(wrong), self.assertRaises(ImproperlyConfigured) as caught:
                KeyPattern.parse(wrong)
            self.assertIn(f'the value of "${name}" may go on', str(caught.exception))
            self.assertIn(advice, str(caught.exception))

    def test_where_each_value_ends(self):
        for right in (
            "$uri",
            "/a-$Uri$Is_Args$Args",
            "$uri$is_args$arg_q",
            "$uri$is_args",
            "$document_uri?$query_string",
            "$uri?$arg_a&$arg_b&x",
            "$uri?x",
            "$cookie_a;$cookie_b; $uri",
            "$scheme://$host$request_uri",
            "$scheme-$host/x$uri",
            "$arg_q",
            "$scheme://$host$uri$pagecache_args",
            "no variable",
            "$host",
            "$cookie_a",
            "$scheme",
        ):
            with self.subTest(right):
                KeyPattern.parse(right)

    def test_the_whole_value_is_escaped(self):
        self.assertEqual(key("a b%$uri", "/%0D%0Aset%20x"), "a%20b%25/%0D%0Aset%20x")
        self.assertEqual(escaped(bytes(range(0x23))), b"".join(b"%%%02X" % i for i in range(0x21)) + b'!"')

    def test_what_has_no_key(self):
        for pattern, url in (
            ("$uri", "/%FF"),
            ("$uri", "no/path"),
            ("$args", "/"),
            ("$host$uri", "/"),
            ("$scheme:$uri", "/"),
            ("$uri$is_args$args", "/%3F"),
            ("$uri", "/%7F"),
        ):
            with self.subTest(pattern=pattern, url=url), self.assertRaises(NoKey):
                key(pattern, url)


class Urls(SimpleTestCase):
    def test_percent_encoded_or_not_is_the_same(self):
        self.assertEqual(key("$uri", "/größe/"), "/größe/")
        self.assertEqual(key("$uri", "/gr%C3%B6%c3%9fe/"), "/größe/")
        self.assertEqual(key("$uri", "/100%25/"), "/100%25/")
        self.assertEqual(key("$uri", "/a b/"), "/a%20b/")

    def test_query_and_fragment(self):
        self.assertEqual(key("$uri$is_args$args", "/?page=2#top"), "/?page=2")
        self.assertEqual(key("$uri$is_args$args", "/?q=ö"), "/?q=%25C3%25B6")
        self.assertEqual(key("$uri?$arg_page", "/?page=2"), "/?2")

    def test_other_variables(self):
        self.assertEqual(key("$request_uri", "/ö?q"), "/%25C3%25B6?q")
        self.assertEqual(key("$scheme:$host$uri", "/", host="A.b:1", scheme="https"), "https:a.b/")
        self.assertEqual(key("$scheme:$host$uri", "https://a.b/"), "https:a.b/")
        self.assertEqual(key("$cookie_lang;$uri", "/", cookies={"lang": "de"}), "de;/")


if __name__ == "__main__":
    unittest.main()
