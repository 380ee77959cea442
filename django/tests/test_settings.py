"""Wrong settings: each is named, by a system check and in the log; nothing is stored, and the site goes on."""

import io
import re
import unittest

import pymemcache.serde
from django.apps import apps
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import Client, SimpleTestCase, override_settings

from pagecache import before, conf, problems
from pagecache.invalidate import invalidate
from tests import site
from tests.cases import PageCase
from tests.processes import ROOT


def caches(**pages):
    return {"CACHES": {"default": site.DUMMY, "pages": {**site.cache_of(site.MEMCACHED), **pages}}}


PYMEMCACHE, PYLIBMC = ("django.core.cache.backends.memcached." + name for name in ("PyMemcacheCache", "PyLibMCCache"))
COMMON = "django.middleware.common.CommonMiddleware"
LOCMEM = "django.core.cache.backends.locmem.LocMemCache"


class Settings(SimpleTestCase):
    def test_right_ones(self):
        for right in (
            {},
            {"PAGECACHE_TIMEOUT": 1, "PAGECACHE_IGNORE_VARY": ["Cookie"]},
            {"PAGECACHE_IGNORE_ARGS": ["utm_*", "gclid"]},
            {"PAGECACHE_IGNORE_ARGS": "all"},
            {"PAGECACHE_PORT": 8080},
            {"PAGECACHE_FILL": "nginx", "PAGECACHE_PURGE_ZONE": "site"},
            {"PAGECACHE_KEY": "größe$uri"},
            *({"PAGECACHE_ENABLED": right} for right in (True, False, "in tests")),
            {"PAGECACHE_KEY": "$scheme://$host$uri$pagecache_args"},
            {"PAGECACHE_FORMAT": "http", "PAGECACHE_STATUSES": [200, 301, 404], "PAGECACHE_GZIP": True},
            {"PAGECACHE_FORMAT": "head", "PAGECACHE_STATUSES": [200, 404], "PAGECACHE_GZIP": True},
            {"PAGECACHE_FORMAT": "head", **caches(BACKEND=PYLIBMC)},
            {"PAGECACHE_FORMAT": "body", **caches(BACKEND=LOCMEM, LOCATION="")},
            {"PAGECACHE_GZIP_FLAG": 2},
            {"MIDDLEWARE": (before.GZIP, conf.MIDDLEWARE, before.SECURITY)},
            {"MIDDLEWARE": []},
            {"MIDDLEWARE": [*before.ALLOWED, conf.MIDDLEWARE]},
            {"MIDDLEWARE": ["site.Timing", conf.MIDDLEWARE], "PAGECACHE_ALLOW_BEFORE": ["site.Timing"]},
            {"PAGECACHE_GZIP_FLAG": 2**31},
            {"PAGECACHE_GZIP_FLAG": 2, **caches(BACKEND=PYLIBMC)},
            {"PAGECACHE_FORMAT": "http", **caches(BACKEND=LOCMEM, LOCATION="")},
            caches(OPTIONS={"serde": pymemcache.serde.pickle_serde}),
        ):
            with self.subTest(right), override_settings(**right):
                self.assertEqual(problems.problems(), [])

    def test_wrong_ones(self):
        for names, wrong in (
            ("PAGECACHE_KEY", {"PAGECACHE_KEY": ""}),
            ("$nonsense", {"PAGECACHE_KEY": "$nonsense"}),
            ("PAGECACHE_IGNORE_ARGS", {"PAGECACHE_IGNORE_ARGS": "utm_*"}),
            ("PAGECACHE_IGNORE_ARGS", {"PAGECACHE_IGNORE_ARGS": [1]}),
            ("PAGECACHE_IGNORE_ARGS", {"PAGECACHE_IGNORE_ARGS": ["all", "utm_*"]}),
            ('has "*"', {"PAGECACHE_IGNORE_ARGS": ["a", "*"]}),
            *(("PAGECACHE_PORT", {"PAGECACHE_PORT": wrong}) for wrong in (80, 443, 0, 65536, "8080", True, 80.5)),
            *(("PAGECACHE_ENABLED", {"PAGECACHE_ENABLED": wrong}) for wrong in ("", "yes", 1, None)),
            ("PAGECACHE_CACHE", {"PAGECACHE_CACHE": "absent"}),
            ("PAGECACHE_TIMEOUTS", {"PAGECACHE_TIMEOUTS": 3}),
            ("PAGECACHE_TIMEOUT", {"PAGECACHE_TIMEOUT": 0}),
            ("PAGECACHE_TIMEOUT", {"PAGECACHE_TIMEOUT": "60"}),
            ("PAGECACHE_TIMEOUT", {"PAGECACHE_TIMEOUT": None}),
            ("PAGECACHE_CONTENT_TYPE", {"PAGECACHE_CONTENT_TYPE": ""}),
            ("PAGECACHE_IGNORE_VARY", {"PAGECACHE_IGNORE_VARY": "Cookie"}),
            ("PAGECACHE_IGNORE_VARY", {"PAGECACHE_IGNORE_VARY": None}),
            ("PAGECACHE_IGNORE_VARY", {"PAGECACHE_IGNORE_VARY": [None]}),
            ("i18n_patterns", {"PAGECACHE_IGNORE_VARY": ["Cookie", "accept-Language"]}),
            ('has "*"', {"PAGECACHE_IGNORE_VARY": ["*"]}),
            ("PAGECACHE_ONLY_MARKED", {"PAGECACHE_ONLY_MARKED": "False"}),
            ("PAGECACHE_GZIP", {"PAGECACHE_GZIP": "no"}),
            ("PAGECACHE_STATUSES", {"PAGECACHE_STATUSES": 200}),
            ("PAGECACHE_STATUSES", {"PAGECACHE_STATUSES": None}),
            ("PAGECACHE_STATUSES", {"PAGECACHE_STATUSES": ["200", 404], "PAGECACHE_FORMAT": "http"}),
            (COMMON, {"MIDDLEWARE": [COMMON, conf.MIDDLEWARE]}),
            (COMMON, {"MIDDLEWARE": [before.SECURITY, COMMON, before.GZIP, conf.MIDDLEWARE]}),
            ("PAGECACHE_ALLOW_BEFORE", {"PAGECACHE_ALLOW_BEFORE": COMMON}),
            ("PAGECACHE_ALLOW_BEFORE", {"PAGECACHE_ALLOW_BEFORE": [1]}),
            ("absent.Absent", caches(BACKEND="django.core.cache.backends.absent.Absent")),
            ("PAGECACHE_KEY", {"PAGECACHE_KEY": ["$uri"]}),
            ("PAGECACHE_FORMAT", {"PAGECACHE_FORMAT": "xml"}),
            ("PAGECACHE_STATUSES", {"PAGECACHE_STATUSES": [200, 404], "PAGECACHE_FORMAT": "body"}),
            ("[302]", {"PAGECACHE_STATUSES": [200, 302], "PAGECACHE_FORMAT": "http"}),
            ("PAGECACHE_FILL", {"PAGECACHE_FILL": "uwsgi"}),
            ("PAGECACHE_PURGE_ZONE", {"PAGECACHE_PURGE_ZONE": "a site"}),
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
                self.assertIn(names, " ".join(problem.text for problem in problems.problems()))

    def test_the_readme_has_each_in_its_order(self):
        readme = (ROOT / "django/README.md").read_text(encoding="utf-8")
        rows = re.findall(r"^\| `(PAGECACHE_\w+)`", readme, re.MULTILINE)
        self.assertEqual(rows, list(conf.DEFAULTS))


class TheSiteGoesOn(PageCase):
    WRONG = (
        {"PAGECACHE_KEY": ""},
        {"PAGECACHE_KEY": "$nonsense"},
        {"PAGECACHE_IGNORE_ARGS": "utm_*"},
        {"PAGECACHE_TIMEOUTS": 3},
        {"PAGECACHE_TIMEOUT": "60"},
        {"PAGECACHE_STATUSES": None},
        {"MIDDLEWARE": ["tests.site.a_cookie", conf.MIDDLEWARE]},
        caches(KEY_FUNCTION=None),
    )

    def test_nothing_is_stored_and_the_log_says_why(self):
        told = {"HTTP_X_PAGECACHE_STATUS": "MISS", "HTTP_X_PAGECACHE_KEY": "/test-/a"}
        stored = self.memcached.stats()[b"cmd_set"]
        for wrong in self.WRONG:
            with self.subTest(wrong), override_settings(**wrong):
                (problem,) = problems.problems()
                with self.assertLogs("pagecache", "ERROR") as logged:
                    self.assertEqual(Client().get("/a", **told).content, b"page /a")
                self.assertEqual(logged.records[0].getMessage(), f"No page is stored: {problem.text}")
                self.assertEqual(self.memcached.stats()[b"cmd_set"], stored)
        self.assertEqual(Client().get("/a", **told).content, b"page /a")
        self.assertEqual(self.memcached.stats()[b"cmd_set"], stored + 1)

    def test_django_starts_and_migrates(self):
        for wrong in self.WRONG:
            with self.subTest(wrong), override_settings(**wrong):
                apps.get_app_config("pagecache").ready()
                said = io.StringIO()
                call_command("migrate", verbosity=0, skip_checks=False, stderr=said)
                (problem,) = problems.problems()
                self.assertIn(f"({problem.id}) {problem.text}", said.getvalue())
                with self.assertRaisesMessage(SystemCheckError, f"(pagecache.E002) No page is stored: see {problem.id}"):
                    call_command("check", "--deploy", "--tag", "caches")

    def test_pages_are_dropped_no_more_and_the_log_says_why(self):
        with override_settings(PAGECACHE_KEY=""), self.assertLogs("pagecache", "WARNING") as logged:
            invalidate("/a")
        self.assertIn("('/a',) are not purged: PAGECACHE_KEY is ''", logged.output[0])


if __name__ == "__main__":
    unittest.main()
