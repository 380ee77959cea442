"""Wrong settings stop Django's start, with a message that names them."""

import re
import unittest

import pymemcache.serde
from django.core.exceptions import ImproperlyConfigured
from django.test import SimpleTestCase, override_settings

from pagecache import conf
from tests import site
from tests.processes import ROOT


def caches(**pages):
    return {"CACHES": {"default": site.DUMMY, "pages": {**site.cache_of(site.MEMCACHED), **pages}}}


PYMEMCACHE, PYLIBMC = ("django.core.cache.backends.memcached." + name for name in ("PyMemcacheCache", "PyLibMCCache"))
SECURITY = "django.middleware.security.SecurityMiddleware"
LOCMEM = "django.core.cache.backends.locmem.LocMemCache"


class Settings(SimpleTestCase):
    def test_right_ones(self):
        for right in (
            {},
            {"PAGECACHE_TIMEOUT": 1, "PAGECACHE_IGNORE_VARY": ["Cookie"]},
            {"PAGECACHE_IGNORE_ARGS": ["utm_*", "gclid"]},
            {"PAGECACHE_IGNORE_ARGS": "all"},
            {"PAGECACHE_PORT": 8080},
            {"PAGECACHE_KEY": "$scheme://$host$uri$pagecache_args"},
            {"PAGECACHE_FORMAT": "http", "PAGECACHE_STATUSES": [200, 301, 404], "PAGECACHE_GZIP": True},
            {"PAGECACHE_FORMAT": "head", "PAGECACHE_STATUSES": [200, 404], "PAGECACHE_GZIP": True},
            {"PAGECACHE_FORMAT": "head", **caches(BACKEND=PYLIBMC)},
            {"PAGECACHE_FORMAT": "body", **caches(BACKEND=LOCMEM, LOCATION="")},
            {"PAGECACHE_GZIP_FLAG": 2},
            {"MIDDLEWARE": (conf.MAY_STAND_BEFORE, conf.MIDDLEWARE, SECURITY)},
            {"MIDDLEWARE": []},
            {"PAGECACHE_GZIP_FLAG": 2**31},
            {"PAGECACHE_GZIP_FLAG": 2, **caches(BACKEND=PYLIBMC)},
            {"PAGECACHE_FORMAT": "http", **caches(BACKEND=LOCMEM, LOCATION="")},
            caches(OPTIONS={"serde": pymemcache.serde.pickle_serde}),
        ):
            with self.subTest(right), override_settings(**right):
                conf.check()

    def test_wrong_ones(self):
        for names, wrong in (
            ("PAGECACHE_KEY", {"PAGECACHE_KEY": ""}),
            ("$nonsense", {"PAGECACHE_KEY": "$nonsense"}),
            ("PAGECACHE_IGNORE_ARGS", {"PAGECACHE_IGNORE_ARGS": "utm_*"}),
            ("PAGECACHE_IGNORE_ARGS", {"PAGECACHE_IGNORE_ARGS": [1]}),
            ("PAGECACHE_IGNORE_ARGS", {"PAGECACHE_IGNORE_ARGS": ["all", "utm_*"]}),
            ('has "*"', {"PAGECACHE_IGNORE_ARGS": ["a", "*"]}),
            *(("PAGECACHE_PORT", {"PAGECACHE_PORT": wrong}) for wrong in (80, 443, 0, 65536, "8080", True, 80.5)),
            ("PAGECACHE_CACHE", {"PAGECACHE_CACHE": "absent"}),
            ("PAGECACHE_TIMEOUTS", {"PAGECACHE_TIMEOUTS": 3}),
            ("PAGECACHE_TIMEOUT", {"PAGECACHE_TIMEOUT": 0}),
            ("PAGECACHE_TIMEOUT", {"PAGECACHE_TIMEOUT": "60"}),
            ("PAGECACHE_TIMEOUT", {"PAGECACHE_TIMEOUT": None}),
            ("PAGECACHE_CONTENT_TYPE", {"PAGECACHE_CONTENT_TYPE": ""}),
            ("PAGECACHE_IGNORE_VARY", {"PAGECACHE_IGNORE_VARY": "Cookie"}),
            ("PAGECACHE_IGNORE_VARY", {"PAGECACHE_IGNORE_VARY": None}),
            ("PAGECACHE_IGNORE_VARY", {"PAGECACHE_IGNORE_VARY": [None]}),
            ("PAGECACHE_STATUSES", {"PAGECACHE_STATUSES": 200}),
            ("PAGECACHE_STATUSES", {"PAGECACHE_STATUSES": None}),
            ("PAGECACHE_STATUSES", {"PAGECACHE_STATUSES": ["200", 404], "PAGECACHE_FORMAT": "http"}),
            ("GZipMiddleware", {"MIDDLEWARE": ["django.middleware.common.CommonMiddleware", conf.MIDDLEWARE]}),
            ("GZipMiddleware", {"MIDDLEWARE": [SECURITY, conf.MAY_STAND_BEFORE, conf.MIDDLEWARE]}),
            ("PAGECACHE_FORMAT", {"PAGECACHE_FORMAT": "xml"}),
            ("PAGECACHE_STATUSES", {"PAGECACHE_STATUSES": [200, 404], "PAGECACHE_FORMAT": "body"}),
            ("[302]", {"PAGECACHE_STATUSES": [200, 302], "PAGECACHE_FORMAT": "http"}),
            ("PAGECACHE_GZIP_FLAG", {"PAGECACHE_GZIP_FLAG": 3}),
            ("PAGECACHE_GZIP_FLAG", {"PAGECACHE_GZIP_FLAG": 2**32}),
            ("PAGECACHE_GZIP_FLAG", {"PAGECACHE_GZIP": True, "PAGECACHE_FORMAT": "body"}),
            ("PAGECACHE_GZIP_FLAG", {"PAGECACHE_GZIP_FLAG": 2, "PAGECACHE_FORMAT": "body", **caches(BACKEND=LOCMEM, LOCATION="")}),
            ("head", caches(BACKEND=LOCMEM, LOCATION="")),
            ("flags", {"PAGECACHE_FORMAT": "head", **caches(BACKEND=LOCMEM, LOCATION="")}),
            ("KEY_FUNCTION", caches(KEY_FUNCTION=None)),
            ("key_prefix", caches(OPTIONS={"key_prefix": b"x"})),
            ("serde", caches(OPTIONS={"serde": pymemcache.serde.compressed_serde})),
        ):
            with self.subTest(wrong), override_settings(**wrong):
                with self.assertRaises(ImproperlyConfigured) as caught:
                    conf.check()
                self.assertIn(names, str(caught.exception))

    def test_the_readme_has_each_in_its_order(self):
        readme = (ROOT / "django/README.md").read_text(encoding="utf-8")
        rows = re.findall(r"^\| `(PAGECACHE_\w+)`", readme, re.MULTILINE)
        self.assertEqual(rows, list(conf.DEFAULTS))


if __name__ == "__main__":
    unittest.main()
