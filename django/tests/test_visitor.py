"""Pages that belong to one visitor by what was used while they were made: messages, and nonces."""

import unittest

from csp.constants import NONCE
from django.test import override_settings

from tests import site, storages
from tests.cases import PageCase

STORAGES = (
    "django.contrib.messages.storage.fallback.FallbackStorage",
    "django.contrib.messages.storage.cookie.CookieStorage",
    "django.contrib.messages.storage.session.SessionStorage",
    "tests.storages.ListOfMessages",
    "tests.storages.MessagesAtOnce",
)

OF_DJANGO_CSP = {"CONTENT_SECURITY_POLICY": {"DIRECTIVES": {"script-src": ["'self'", NONCE]}}}


class Messages(PageCase):
    def setUp(self):
        super().setUp()
        storages.ListOfMessages.waiting.clear()

    def with_storage(self, storage):
        return self.behind(*site.OF_MESSAGES, MESSAGE_STORAGE=storage, PAGECACHE_IGNORE_VARY=["Cookie"])

    def test_shown_in_the_request_that_added_them(self):
        for storage in STORAGES:
            with self.subTest(storage), self.with_storage(storage):
                self.assertIn(b"ADA-1", self.client.get("/shown-message/").content)
                self.assertIsNone(self.item("/shown-message/"))

    def test_added_for_a_later_request(self):
        for storage in STORAGES:
            with self.subTest(storage), self.with_storage(storage):
                self.assertNotStored("/message/")

    def test_shown_from_an_earlier_request(self):
        for storage in STORAGES:
            for url in ("/messages/", "/looped-messages/", "/counted-messages/"):
                with self.subTest(storage, url=url), self.with_storage(storage):
                    self.memcached.flush_all()
                    self.client.get("/message/")
                    self.assertNotStored(url)

    def test_a_page_that_looked_for_messages_and_had_none(self):
        for storage in STORAGES[:3]:
            for url in ("/messages/", "/looped-messages/", "/"):
                with self.subTest(storage, url=url), self.with_storage(storage):
                    self.assertStored(url)
        with self.with_storage("tests.storages.ListOfMessages"):
            self.assertStored("/messages/")


class Nonces(PageCase):
    def test_in_a_header(self):
        for header in ("Content-Security-Policy", "Content-Security-Policy-Report-Only"):
            self.assertNotStored(f"/header/{header}/script-src%20'self'%20'Nonce-abc'")
            self.assertStored(f"/header/{header}/script-src%20'self'".replace("%20", ""))

    @override_settings(**OF_DJANGO_CSP)
    def test_of_django_csp(self):
        with self.behind("csp.middleware.CSPMiddleware"):
            self.assertIn("'nonce-", self.client.get("/nonce/")["Content-Security-Policy"])
            self.assertIsNone(self.item("/nonce/"))
            self.assertStored("/")
        self.memcached.flush_all()
        # In a header that nginx or a meta element would repeat.
        with self.behind("csp.middleware.CSPMiddleware", CONTENT_SECURITY_POLICY=None):
            self.assertNotStored("/nonce/")
            self.assertStored("/")

    def test_of_django_itself(self):
        # As ContentSecurityPolicyMiddleware of Django 6.0 leaves it.
        with self.behind("tests.site.a_nonce"):
            self.assertStored("/")
        self.memcached.flush_all()
        with self.behind("tests.site.a_used_nonce"):
            self.assertNotStored("/")


if __name__ == "__main__":
    unittest.main()
