"""The backend of wagtail.contrib.frontend_cache, by Wagtail's own functions."""

import unittest

from tests_wagtail.visits import ZONE, VisitCase

from wagtail.contrib.frontend_cache.utils import PurgeBatch, purge_url_from_cache

from pagecache.purges.target import hash_of
from pagecache.wagtail import names


class Backend(VisitCase):
    def test_a_url_with_each_query(self):
        with self.purges("/", "/?page=2", "/?b=1"):
            purge_url_from_cache("http://localhost/")

    def test_several_urls(self):
        self.memcached.flush_all(noreply=False)
        PurgeBatch(["http://localhost/%C3%A4/", "http://localhost/b/?c=1"]).purge()
        targets = {line.split()[2] for line in self.lines()}
        path = b"t:" + hash_of(ZONE, names.of_path("/ä/"))
        self.assertEqual(targets, {"u:http://localhost/ä/".encode(), path, b"u:http://localhost/b/?c=1"})


if __name__ == "__main__":
    unittest.main()
