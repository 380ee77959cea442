"""Keys, compared with those that nginx 1.22.1 sent for the same requests (nginx_keys.tsv)."""

import csv
import hashlib
import unittest
from io import BytesIO
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.wsgi import WSGIRequest
from django.test import SimpleTestCase

from pagecache.key import KeyPattern, NoKey, PageAddress, escaped
from tests import site  # noqa: F401  (configures Django)


def recorded_rows():
    """The rows of requests that reached Django, with their escapes resolved to latin-1 text."""
    with open(Path(__file__).with_name("nginx_keys.tsv"), encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            if row["status"] == "200":
                yield {name: text.encode("latin-1").decode("unicode_escape") for name, text in row.items()}


def request(path_info: bytes, query: str = "", **environ):
    """A request as uWSGI hands it over: bytes as latin-1 text (PEP 3333)."""
    return WSGIRequest(
        {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": path_info.decode("latin-1"),
            "QUERY_STRING": query,
            "wsgi.input": BytesIO(),
            "wsgi.url_scheme": "http",
            **environ,
        }
    )


def key(pattern: str, of: WSGIRequest) -> str:
    return KeyPattern.parse(pattern).key(PageAddress.of_request(of))


class RecordedKeys(SimpleTestCase):
    def test_every_recorded_request_has_the_key_that_nginx_sent(self):
        compared = 0
        for row in recorded_rows():
            target = row["request_target(latin1)"].removeprefix("http://h.test")
            query = target.partition("#")[0].partition("?")[2]
            path = b"/\xe4" if target == "/%E4" else row["django_request.path"].encode()
            of = request(path, query, REQUEST_URI=target)
            self.assertEqual(of.path, row["django_request.path"])
            for pattern in ("$uri", "$request_uri", "$uri$is_args$args"):
                with self.subTest(target=target, pattern=pattern):
                    expected = row[f"key_nginx_{pattern}"].encode("latin-1")
                    if b"\x7f" in expected or expected[1:2] == b"\xe4":
                        self.assertRaises(NoKey, key, pattern, of)
                    else:
                        self.assertEqual(key(pattern, of).encode(), expected)
                    compared += 1
        self.assertEqual(compared, 27 * 3)


class Patterns(SimpleTestCase):
    def test_variables(self):
        of = request(b"/a", "b=c", REQUEST_URI="/a?b=c", HTTP_HOST="Example.ORG:8080", REQUEST_SCHEME="https")
        self.assertEqual(key("${scheme}://$host$request_uri", of), "https://example.org/a?b=c")
        self.assertEqual(key("x${uri}y$document_uri-$query_string", of), "x/ay/a-b=c")
        self.assertEqual(key("no variable at all", of), "no%20variable%20at%20all")

    def test_wrong_patterns(self):
        for wrong in ("$", "/a-$cookie_a", "${uri", "$uri_", "/100$"):
            with self.subTest(wrong), self.assertRaises(ImproperlyConfigured):
                KeyPattern.parse(wrong)

    def test_the_whole_value_is_escaped(self):
        self.assertEqual(key("a b%$uri", request(b"/\r\nset x")), "a%20b%25/%0D%0Aset%20x")
        self.assertEqual(escaped(bytes(range(0x23))), b"".join(b"%%%02X" % i for i in range(0x21)) + b'!"')

    def test_a_key_of_250_bytes_stays_and_one_of_251_becomes_its_digest(self):
        path = b"/" + "ä".encode() * 124
        self.assertEqual(key("x$uri", request(path)), "x" + path.decode())
        digest = hashlib.sha256(b"xy" + path).hexdigest()
        self.assertEqual(key("xy$uri", request(path)), digest)
        # It is the escaped key that counts, and that is hashed.
        self.assertEqual(key("$uri", request(b"/" + b" " * 83)), "/" + "%20" * 83)
        digest = hashlib.sha256(b"/" + b"%20" * 84).hexdigest()
        self.assertEqual(key("$uri", request(b"/" + b" " * 84)), digest)

    def test_what_has_no_key(self):
        self.assertRaises(NoKey, key, "$uri", request(b"/\xff"))
        self.assertRaises(NoKey, key, "$args", request(b"/"))
        self.assertRaises(NoKey, key, "$request_uri", request(b"/"))
        self.assertRaises(NoKey, key, "$uri$args", request(b"/", "\xff"))


class Paths(SimpleTestCase):
    def key(self, path, pattern="$uri$is_args$args", host=None, scheme=None):
        return KeyPattern.parse(pattern).key(PageAddress.of_path(path, host, scheme))

    def test_percent_encoded_or_not_is_the_same(self):
        self.assertEqual(self.key("/größe/"), "/größe/")
        self.assertEqual(self.key("/gr%C3%B6%c3%9fe/"), "/größe/")
        self.assertEqual(self.key("/100%25/"), "/100%25/")
        self.assertEqual(self.key("/a b/"), "/a%20b/")

    def test_query_and_fragment(self):
        self.assertEqual(self.key("/?page=2#top"), "/?page=2")
        self.assertEqual(self.key("/?q=ö"), "/?q=%25C3%25B6")

    def test_other_variables(self):
        self.assertEqual(self.key("/ö?q", "$request_uri"), "/%25C3%25B6?q")
        self.assertEqual(self.key("/", "$scheme:$host$uri", "A.b:1", "https"), "https:a.b/")
        self.assertRaises(NoKey, self.key, "/", "$host$uri")


if __name__ == "__main__":
    unittest.main()
