"""The contract of tests/data/contract: for each row the key that nginx looks up, and whether Django stores
the page under it."""

import csv
import unittest
from dataclasses import replace
from io import BytesIO

from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpResponse
from django.test import SimpleTestCase

from pagecache import policy
from pagecache.address import PageAddress, bare_host, normal_path
from pagecache.args import IgnoredArgs
from pagecache.key import KeyPattern, NoKey, escaped, shortened
from tests import site  # noqa: F401  (configures Django)
from tests.processes import ROOT


def rows():
    """The rows, with their escapes resolved to latin-1 text, and the name of their table."""
    for file in sorted((ROOT / "tests/data/contract").glob("*.tsv")):
        with open(file, encoding="ascii", newline="") as lines:
            for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
                row = {name: text.encode().decode("unicode_escape") for name, text in row.items()}
                yield {"table": file.stem, **row}


def pattern_of(row):
    return KeyPattern.parse(row["pattern"], IgnoredArgs.parse(row.get("ignored", "").split()))


def host_of(row):
    return "site.test" if row["host"] == "-" else row["host"]


def request(row):
    """A row's request as nginx and uWSGI hand it over, with $host as HTTP_HOST: bytes as latin-1 text (PEP 3333)."""
    target, host = row["target"], host_of(row)
    uri = target
    if target.startswith("http://"):
        host, _, uri = target[len("http://") :].partition("/")
        uri = "/" + uri
    path, _, query = uri.partition("#")[0].partition("?")
    decoded = normal_path(path) if path.isascii() else path.encode("latin-1")
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": decoded.decode("latin-1"),
        "QUERY_STRING": query,
        "REQUEST_URI": uri,
        "HTTP_HOST": bare_host(host).decode("latin-1"),
        "SERVER_PORT": "80",
        "wsgi.input": BytesIO(),
        "wsgi.url_scheme": "http",
    }
    if row["cookie"] != "-":
        environ["HTTP_COOKIE"] = row["cookie"]
    return WSGIRequest(environ)


class Contract(SimpleTestCase):
    def test_there_are_rows(self):
        self.assertGreater(len(list(rows())), 280)

    def test_each_raw_key_becomes_the_key(self):
        for row in rows():
            with self.subTest(**row):
                if row["key"] != "-":
                    self.assertEqual(shortened(escaped(row["raw"].encode("latin-1"))), row["key"].encode("latin-1"))

    def test_each_request_has_its_key_or_is_not_stored(self):
        for row in rows():
            with self.subTest(**row):
                pattern, of = pattern_of(row), request(row)
                reason = policy.refusal(of, HttpResponse("a page"), pattern)
                try:
                    key = pattern.key(PageAddress.of_request(of)).encode()
                except NoKey as error:
                    key, reason = None, reason or str(error)
                if row["stored"] == "yes":
                    self.assertEqual((key, reason), (row["key"].encode("latin-1"), None))
                else:
                    self.assertIsNotNone(reason)
                    self.assertIn(key, (row["key"].encode("latin-1"), None))

    def test_each_url_has_its_key(self):
        for row in rows():
            # What is not ASCII in a URL is text, and no byte on the wire.
            if not row["target"].isascii() or not row["key"].isascii() or "\x7f" in row["key"]:
                continue
            with self.subTest(**row):
                host = None if row["target"].startswith("http:") else host_of(row)
                page = PageAddress.of_url(row["target"], host, "http")
                if row["cookie"] != "-":
                    page = replace(page, cookie=row["cookie"].encode())
                pattern = pattern_of(row)
                # Of two versions of nginx, each has a key of its own.
                if row["key"] == "-" or row["table"].startswith("commas_"):
                    self.assertRaises(NoKey, pattern.key, page)
                elif not page.request_uri.startswith(row["target"].encode()) and "$request_uri" in row["pattern"]:
                    continue  # a spelling that no browser sends, as `iri_to_uri` says
                else:
                    self.assertEqual(pattern.key(page), row["key"])


if __name__ == "__main__":
    unittest.main()
