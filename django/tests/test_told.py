"""What nginx tells of its lookup decides whether a page is stored."""

import unittest

from django.test import Client, override_settings

from pagecache import told
from tests import site
from tests.cases import PageCase
from tests.processes import Nginx


KEY = 'pagecache_key "/test-$uri$is_args$args";'


class Told(PageCase):
    client_class = Client  # says nothing by itself

    def setUp(self):
        super().setUp()
        told._said.clear()

    def get(self, url, status=None, key=None):
        headers = {"X-Pagecache-Status": status, "X-Pagecache-Key": key}
        self.client.get(url, headers={name: value for name, value in headers.items() if value is not None})
        return self.item(url)

    def test_a_miss_under_the_same_key(self):
        self.assertIsNotNone(self.get("/a?b=c", "MISS", "/test-/a?b=c"))
        # Headers are bytes, which WSGI shows as latin-1 text.
        self.assertIsNotNone(self.get("/größe", "MISS", "/test-/größe".encode().decode("latin-1")))

    def test_any_other_word(self):
        later = ("EXPIRED", "STALE", "UPDATING", "REVALIDATED")
        for status in ("BYPASS", "ERROR", "HIT", *later, "miss", "MISS,MISS", ""):
            with self.subTest(status):
                self.assertIsNone(self.get("/", status, "/test-/"))

    def test_another_key(self):
        with self.assertLogs("pagecache", "WARNING") as log:
            for key in ("/test-/b", "/test-/A", "/test-/a ", "", None):
                with self.subTest(key):
                    self.assertIsNone(self.get("/a", "MISS", key))
        self.assertEqual(len(log.output), 1)
        self.assertIn('nginx has looked up "/test-/b", and Django\'s key is "/test-/a"', log.output[0])

    def test_without_the_headers(self):
        with self.assertLogs("pagecache", "WARNING") as log:
            for key in (None, "/test-/a", None):
                self.assertIsNone(self.get("/a", None, key))
        self.assertEqual(len(log.output), 1)
        self.assertIn('"/a" is not stored: the request has no X-Pagecache-Status', log.output[0])

    def test_a_page_that_would_not_be_stored_anyway_says_nothing(self):
        with self.assertNoLogs("pagecache", "WARNING"):
            self.client.get("/never/")
            self.client.post("/")


class FromNginx(PageCase):
    """nginx itself says it, and a visitor cannot."""

    def test_what_the_answer_to_a_bypass_must_not_replace(self):
        bypassed = "pagecache_bypass $cookie_currency;"
        nginx = Nginx(f"{KEY} pagecache_pass {site.MEMCACHED}; {bypassed}", application=self.serving())
        self.addCleanup(nginx.stop)
        forged = {"Cookie": "currency=EUR", "X-Pagecache-Status": "MISS", "X-Pagecache-Key": "/test-/price/"}
        with override_settings(PAGECACHE_IGNORE_VARY=["Cookie"]):
            self.assertEqual(nginx.get("/price/", forged).body, b"in EUR")
            self.assertIsNone(self.item("/price/"))
            self.assertEqual(nginx.get("/price/").body, b"in USD")
            self.assertEqual(self.page("/price/"), b"in USD")
            self.assertEqual(nginx.get("/price/", forged).body, b"in EUR")
            self.assertEqual(nginx.get("/price/").body, b"in USD")

    def test_a_page_that_was_marked_as_stale_is_replaced(self):
        saying = "add_header X-Cache $pagecache_status always;"
        location = f"{KEY} pagecache_pass {site.MEMCACHED}; {saying}"
        nginx = Nginx(location, fallback=saying, application=self.serving())
        self.addCleanup(nginx.stop)
        for status in ("MISS", "HIT"):
            self.assertEqual(nginx.get("/a").headers["X-Cache"], status)
        self.assertEqual(self.memcached.raw_command(b"md /test-/a I T60"), b"HD")
        for status in ("EXPIRED", "HIT"):
            self.assertEqual(nginx.get("/a").headers["X-Cache"], status)


if __name__ == "__main__":
    unittest.main()
