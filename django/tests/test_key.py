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

    def test_the_whole_value_is_escaped(self):
        self.assertEqual(key("a b%$uri", "/%0D%0Aset%20x"), "a%20b%25/%0D%0Aset%20x")
        self.assertEqual(escaped(bytes(range(0x23))), b"".join(b"%%%02X" % i for i in range(0x21)) + b'!"')

    def test_what_has_no_key(self):
        for pattern, url in (
            ("$uri", "/%FF"),
            ("$uri", "no/path"),
            ("$args", "/"),
            ("$host$uri", "/"),
            ("$scheme$uri", "/"),
            ("$uri$args", "/%3F"),
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
        self.assertEqual(key("$uri-$arg_page", "/?page=2"), "/-2")

    def test_other_variables(self):
        self.assertEqual(key("$request_uri", "/ö?q"), "/%25C3%25B6?q")
        self.assertEqual(key("$scheme:$host$uri", "/", host="A.b:1", scheme="https"), "https:a.b/")
        self.assertEqual(key("$scheme:$host$uri", "https://a.b/"), "https:a.b/")
        self.assertEqual(key("$uri-$cookie_lang", "/", cookies={"lang": "de"}), "/-de")


if __name__ == "__main__":
    unittest.main()
