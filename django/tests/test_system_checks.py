"""What `manage.py check` finds: headers that are lost, and names that share pages."""

import unittest
from unittest.mock import patch

from django.core.cache.backends.locmem import LocMemCache
from django.core.checks import Tags
from django.core.checks.registry import registry
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.http import HttpRequest, HttpResponse
from django.test import SimpleTestCase, override_settings
from django.utils.module_loading import import_string

from pagecache import before, conf, problems
from pagecache.middleware import page_cache
from tests import site
from pagecache.system_checks import HEADERS, cache_that_nginx_does_not_read

ONE_KEY = {"PAGECACHE_KEY": "/test-$uri$is_args$args"}
WITH_HOST = {"PAGECACHE_KEY": "$scheme://$host$uri$is_args$args"}


def found(**changed):
    with override_settings(**changed):
        return {message.id: message for message in registry.run_checks(include_deployment_checks=True)}


class Names(SimpleTestCase):
    def setUp(self):
        # Of the tests' own views, which have keys without a host.
        keys, conf.keys_of_views = conf.keys_of_views, set()
        self.addCleanup(setattr, conf, "keys_of_views", keys)

    def test_keys_without_host(self):
        for names in (["a.test", "www.a.test"], ["*"], [".a.test"], ["a.test", "localhost"], ["*", "A.test"]):
            with self.subTest(names):
                message = found(ALLOWED_HOSTS=names, **ONE_KEY)["pagecache.E001"]
                self.assertIn('"/test-$uri$is_args$args" has no $host', message.msg)
                self.assertNotIn("pagecache.E001", found(ALLOWED_HOSTS=names, **WITH_HOST))

    def test_one_name(self):
        for names in (["a.test"], ["a.test", "A.test."], []):
            with self.subTest(names):
                self.assertNotIn("pagecache.E001", found(ALLOWED_HOSTS=names, **ONE_KEY))

    def test_keys_of_views(self):
        conf.keys_of_views = {"/other-$uri", "$host/other$uri"}
        message = found(ALLOWED_HOSTS=["*"], **WITH_HOST)["pagecache.E001"]
        self.assertIn('"/other-$uri"', message.msg)

    def test_the_deploy_check_fails(self):
        with override_settings(ALLOWED_HOSTS=["*"], **ONE_KEY):
            with self.assertRaisesMessage(SystemCheckError, "pagecache.E001"):
                call_command("check", "--deploy", "--tag", Tags.security)
            call_command("check", "--tag", Tags.security)  # of a developer's own machine


class Headers(SimpleTestCase):
    def test_those_that_a_bare_body_loses(self):
        middlewares = [
            conf.MIDDLEWARE,
            "django.middleware.security.SecurityMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.clickjacking.XFrameOptionsMiddleware",
            "csp.middleware.CSPMiddleware",
        ]
        policy = {"DIRECTIVES": {"script-src": ["'self'"]}}
        message = found(PAGECACHE_FORMAT="body", MIDDLEWARE=middlewares, CONTENT_SECURITY_POLICY=policy)[
            "pagecache.W001"
        ].msg
        for name in (
            "X-Frame-Options",
            "X-Content-Type-Options",
            "Referrer-Policy",
            "Cross-Origin-Opener-Policy",
            "Vary",
            "Content-Security-Policy",
        ):
            self.assertIn(f" {name},", message)
        self.assertNotIn("Strict-Transport-Security", message)
        self.assertNotIn("Report-Only", message)

    def test_those_of_what_stands_before(self):
        self.assertNotIn("pagecache.W010", found(MIDDLEWARE=[conf.MIDDLEWARE, before.SECURITY, before.CORS]))
        self.assertNotIn("pagecache.W010", found(MIDDLEWARE=[before.GZIP, conf.MIDDLEWARE]))
        message = found(MIDDLEWARE=[before.SECURITY, conf.MIDDLEWARE])["pagecache.W010"]
        self.assertIn("hits lack X-Content-Type-Options, Referrer-Policy, Cross-Origin-Opener-Policy.", message.msg)
        message = found(MIDDLEWARE=[before.CORS, conf.MIDDLEWARE])["pagecache.W010"]
        self.assertIn("pagecache_bypass $http_origin", message.hint)

    def test_the_middlewares_add_just_these(self):
        """Asked of the middlewares themselves."""
        settings = {
            "SECURE_HSTS_SECONDS": 60,
            "CONTENT_SECURITY_POLICY": {"DIRECTIVES": {"script-src": ["'self'"]}},
            "CONTENT_SECURITY_POLICY_REPORT_ONLY": {"DIRECTIVES": {"script-src": ["'self'"]}},
        }
        for path in (
            "django.middleware.security.SecurityMiddleware",
            "django.middleware.clickjacking.XFrameOptionsMiddleware",
            "csp.middleware.CSPMiddleware",
        ):
            with self.subTest(path), override_settings(**settings):
                request = HttpRequest()
                request.method, request.is_secure = "GET", lambda: True
                response = import_string(path)(lambda _: HttpResponse("a page"))(request)
                self.assertEqual(set(response.headers) - {"Content-Type"}, set(HEADERS[path]))

    def test_a_head_loses_none(self):
        self.assertNotIn("pagecache.W001", found(PAGECACHE_FORMAT="http"))


class Caches(SimpleTestCase):
    IN_DJANGO = "django.core.cache.backends."

    def test_those_that_nginx_does_not_read(self):
        for form in ("http", "body", "head"):
            for backend, place in (
                ("locmem.LocMemCache", "memory"),
                ("filebased.FileBasedCache", "files"),
                ("db.DatabaseCache", "database"),
                ("dummy.DummyCache", "nowhere"),
                ("redis.RedisCache", "Redis"),
            ):
                name = self.IN_DJANGO + backend
                messages = self.found(form, BACKEND=name, LOCATION="redis://127.0.0.1:1")
                with self.subTest(form=form, backend=backend):
                    message = messages["pagecache.W014"]
                    self.assertIn(f'CACHES["pages"] has the BACKEND "{name}"', message.msg)
                    self.assertIn(place, message.msg)
                    for word in ("PAGECACHE_CACHE", "PyMemcacheCache", "PyLibMCCache"):
                        self.assertIn(word, message.hint)
                    self.assertNotIn('use PAGECACHE_FORMAT = "http"', str(messages.get("pagecache.W008")))

    def test_a_class_of_a_site_s_own(self):
        message = self.found("http", BACKEND="tests.test_system_checks.OwnLocMem")["pagecache.W014"]
        self.assertIn('"tests.test_system_checks.OwnLocMem"', message.msg)

    def test_those_that_nginx_reads(self):
        for backend in ("PyMemcacheCache", "PyLibMCCache"):
            name = f"{self.IN_DJANGO}memcached.{backend}"
            for form in ("http", "body", "head"):
                self.assertNotIn("pagecache.W014", self.found(form, BACKEND=name, LOCATION="127.0.0.1:1"))

    def test_where_nothing_is_stored(self):
        # As in development.
        dummy = {"BACKEND": self.IN_DJANGO + "dummy.DummyCache"}
        self.assertNotIn("pagecache.W014", self.found("http", PAGECACHE_ENABLED=False, **dummy))
        # A problem of its own.
        absent = {"default": site.DUMMY, "pages": {"BACKEND": "absent.Absent"}}
        with override_settings(CACHES=absent):  # of which a check of Django's own fails
            self.assertEqual(cache_that_nginx_does_not_read(None), [])
        self.assertNotIn("pagecache.W014", found(PAGECACHE_CACHE="absent"))

    def found(self, form, PAGECACHE_ENABLED=True, **pages):
        changed = {"default": site.DUMMY, "pages": {"KEY_FUNCTION": "pagecache.key.raw_key", **pages}}
        return found(CACHES=changed, PAGECACHE_FORMAT=form, PAGECACHE_ENABLED=PAGECACHE_ENABLED)


class OwnLocMem(LocMemCache):
    pass


class Views(SimpleTestCase):
    def test_marked_ones_without_the_middleware(self):
        with patch.object(conf, "has_marked_views", False):
            self.assertNotIn("pagecache.W009", found(MIDDLEWARE=[]))
            page_cache(timeout=60)
            self.assertIn(conf.MIDDLEWARE, found(MIDDLEWARE=[])["pagecache.W009"].msg)
            self.assertNotIn("pagecache.W009", found())

    def test_a_wrong_key(self):
        with patch.object(conf, "wrong_keys_of_views", {}):
            page_cache(key="$nonsense")
            self.assertIn('"$nonsense" is not a variable', found()["pagecache.W009"].msg)
            self.assertNotIn("$nonsense", conf.keys_of_views)
            self.assertEqual(problems.problems(), [])

    def test_a_key_of_another_type(self):
        with patch.object(conf, "wrong_keys_of_views", {}):
            page_cache(key=["$uri"])
            self.assertIn("@page_cache(key=['$uri'])", found()["pagecache.W009"].msg)

    def test_a_wrong_timeout(self):
        with patch.object(conf, "wrong_timeouts_of_views", {}):
            for right in (None, 0, 60):
                page_cache(timeout=right)
            self.assertNotIn("pagecache.W009", found())
            for wrong in (90.0, "60", True):
                with self.subTest(wrong), patch.object(conf, "wrong_timeouts_of_views", {}):
                    page_cache(timeout=wrong)
                    self.assertIn(f"@page_cache(timeout={wrong!r})", found()["pagecache.W009"].msg)
                    self.assertEqual(problems.problems(), [])


class WrongTypes(SimpleTestCase):
    def test_checks_say_so_and_fail_not(self):
        for wrong in (None, 5, [1], "Cookie"):
            with self.subTest(wrong):
                messages = found(MIDDLEWARE=[conf.MIDDLEWARE, before.CORS], PAGECACHE_IGNORE_VARY=wrong)
                self.assertIn("PAGECACHE_IGNORE_VARY", messages["pagecache.W006"].msg)


if __name__ == "__main__":
    unittest.main()
