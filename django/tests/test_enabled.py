"""PAGECACHE_ENABLED, and that a site's tests leave its pages alone."""

import io
import unittest
from contextlib import contextmanager
from unittest.mock import patch

from django.core import mail
from django.core.management import CommandError, call_command
from django.test import override_settings
from django.test.utils import setup_test_environment, teardown_test_environment

from pagecache import enabled
from pagecache.invalidate import invalidate
from tests.cases import PageCase
from tests.test_system_checks import found


@contextmanager
def tests_running():
    setup_test_environment()
    try:
        yield
    finally:
        teardown_test_environment()


class Enabled(PageCase):
    def assertUntouched(self):
        """Nothing is stored, nothing dropped, and nobody asked."""
        self.client.get("/before")
        asked = self.memcached.stats()
        with self.assertLogs("pagecache", "DEBUG") as logged:
            self.client.get("/a")
            invalidate("/before")
        self.assertEqual(len(logged.output), 2)
        for line in logged.output:
            self.assertIn("tests are running", line)
        same = (b"cmd_set", b"cmd_get", b"get_hits", b"delete_hits", b"delete_misses")
        now = self.memcached.stats()
        self.assertEqual({name: now[name] for name in same}, {name: asked[name] for name in same})

    def test_while_tests_run(self):
        self.assertStored("/before")
        for switch in (True, False):
            with self.subTest(switch), override_settings(PAGECACHE_ENABLED=switch), tests_running():
                self.assertUntouched()
        self.assertIsNotNone(self.item("/before"))
        self.assertStored("/a")
        invalidate("/before")
        self.assertIsNone(self.item("/before"))

    def test_tests_of_the_cache(self):
        with override_settings(PAGECACHE_ENABLED="in tests"), tests_running():
            self.assertStored("/a")
            invalidate("/a")
            self.assertIsNone(self.item("/a"))

    def test_commands_leave_the_cache_alone(self):
        self.assertStored("/before")
        stored = self.memcached.stats()[b"cmd_set"]
        for action in ("purge", "check"):
            with self.subTest(action), tests_running(), self.assertRaisesMessage(CommandError, "tests are running"):
                call_command("pagecache", action, "http://127.0.0.1:1/before")
        self.assertIsNotNone(self.item("/before"))
        self.assertEqual(self.memcached.stats()[b"cmd_set"], stored)
        with override_settings(PAGECACHE_ENABLED="in tests"), tests_running():
            call_command("pagecache", "purge", "/before", stdout=io.StringIO())
        self.assertIsNone(self.item("/before"))

    def test_a_django_without_the_word_that_is_looked_at(self):
        with patch("django.test.utils._TestState", None), patch.object(mail, "outbox", [], create=True):
            self.assertEqual(enabled.why_not(), "tests are running (setup_test_environment)")
        self.assertIsNone(enabled.why_not())

    def test_off(self):
        self.assertStored("/before")
        with override_settings(PAGECACHE_ENABLED=False, PAGECACHE_IGNORE_ARGS=["a"]):
            with self.assertLogs("pagecache", "DEBUG") as logged:
                self.assertNotStored("/a")
            self.assertIn("PAGECACHE_ENABLED is False", logged.output[0])
            # The view of a page that is not stored sees all of its query.
            self.assertEqual(self.client.get("/a?a=b").content, b"page /a?a=b")
            invalidate("/before")
            self.assertIsNone(self.item("/before"))
            self.assertIn("pagecache.W011", found())
        self.assertNotIn("pagecache.W011", found())


if __name__ == "__main__":
    unittest.main()
