"""The site's own tests, of which only the last is about the cache: they make requests as nginx does after a miss."""

import os

from django.conf import settings
from django.core.management import CommandError, call_command
from django.test import TestCase, override_settings

from pagecache.invalidate import invalidate

URL = "http://127.0.0.1/de/page/"
TOLD = {"HTTP_HOST": "127.0.0.1", "HTTP_X_PAGECACHE_STATUS": "MISS", "HTTP_X_PAGECACHE_KEY": URL}
PAGES = {**settings.CACHES["pages"], "LOCATION": [os.environ["SITE_MEMCACHED_OF_TESTS"]]}


class Pages(TestCase):
    def test_a_page(self):
        self.assertIn("otel_middleware", settings.MIDDLEWARE[0])
        self.assertEqual(self.client.get("/de/page/", **TOLD).content, b"in de")
        invalidate("http://127.0.0.1/kept/")
        with self.assertRaises(CommandError):
            call_command("pagecache", "get", URL)

    @override_settings(PAGECACHE_ENABLED="in tests", CACHES={**settings.CACHES, "pages": PAGES})
    def test_that_it_is_stored(self):
        self.client.get("/de/page/", **TOLD)
        call_command("pagecache", "get", URL)
