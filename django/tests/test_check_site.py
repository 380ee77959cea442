"""`manage.py pagecache check` of a site as it runs: the page that Django makes for it, the cookies of visitors who must
not get a stored page, and the headers of a hit beside those of a page from Django."""

import unittest
from unittest import mock

from django.test import override_settings

from pagecache import before, conf, probe
from pagecache.purges.log import Refused
from tests import site
from tests.test_check import FROM_DJANGO, KEY, PASS, STORE, CheckCase


class Made(CheckCase):
    def test_what_is_not_stored_and_why(self):
        for changed, text in (
            ({"PAGECACHE_ENABLED": False}, "PAGECACHE_ENABLED is False"),
            ({"PAGECACHE_TIMEOUTS": 1}, "PAGECACHE_TIMEOUTS is no setting"),
            ({"MIDDLEWARE": [conf.MIDDLEWARE, "tests.site.a_cookie"]}, "a cookie"),
            ({"MIDDLEWARE": [conf.MIDDLEWARE, "tests.site.a_vary"]}, "its Vary"),
        ):
            with self.subTest(text), override_settings(**changed):
                self.assertWrong("middleware", self.check(KEY, PASS), "not stored it: " + text)

    def test_no_middleware_where_the_site_runs(self):
        with override_settings(MIDDLEWARE=[]):
            self.assertWrong("middleware", self.check(KEY, PASS), "status is 200", conf.MIDDLEWARE.rpartition(".")[2])

    def test_an_answer_of_something_else(self):
        with override_settings(MIDDLEWARE=["tests.site.unavailable", conf.MIDDLEWARE]):
            with override_settings(PAGECACHE_ALLOW_BEFORE=["tests.site.unavailable"]):
                self.assertWrong("middleware", self.check(KEY, PASS), "status is 503")

    def test_marked_pages_alone(self):
        with override_settings(PAGECACHE_ONLY_MARKED=True):
            self.assertEqual(self.check(KEY, PASS)[0][-3:], FROM_DJANGO)

    def test_nobody_else_has_one_made(self):
        for name in ("pagecache-probe-", "pagecache-probe-a.b.c", probe.new_name()[:-1], probe.new_name() + "/"):
            response = self.client.get(f"/{name}")
            self.assertEqual(response.content.decode(), f"page /{name}")
            self.assertNotIn(probe.HEADER, response)
        self.assertIn(probe.HEADER, self.client.get(f"/{probe.new_name()}"))

    def test_a_page_says_nothing_of_it_from_the_cache(self):
        name = "/" + probe.new_name()
        self.assertRegex(self.client.get(name)[probe.HEADER], f"^{probe.STORED} [0-9a-f]{{16}}$")
        self.assertNotIn(probe.HEADER.encode(), self.item(name)[1])


@override_settings(PAGECACHE_FILL="nginx")
class StoredByNginx(CheckCase):
    HOST = ("--host", "a.test")  # nginx stores nothing for a Host with a port

    def test_right(self):
        result = self.check(KEY, PASS, STORE, arguments=self.HOST)
        self.assertEqual(result, (["server", "escaping", "query", "long key", *FROM_DJANGO], "", "", 0))

    def test_another_zone(self):
        for settings, lines, text in (
            ({"PAGECACHE_PURGE_ZONE": "site"}, [STORE], 'pagecache_purge_zone must be "site"'),
            ({}, [STORE, "pagecache_purge_zone other;"], 'pagecache_purge_zone must be "/test-"'),
            ({"PAGECACHE_PURGE_ZONE": "site", "PAGECACHE_FILL": "django"}, [], "it looks at no log"),
        ):
            with self.subTest(text), override_settings(**settings):
                self.assertWrong("purges", self.check(KEY, PASS, *lines, arguments=self.HOST), text)
        with override_settings(PAGECACHE_PURGE_ZONE="site", PAGECACHE_FILL="django"):
            result = self.check(KEY, PASS, "pagecache_purge_zone site;", arguments=self.HOST)
            self.assertEqual((result[0][-3:], *result[1:]), (FROM_DJANGO, "", "", 0))

    def test_a_server_that_takes_no_purges(self):
        with mock.patch("pagecache.purges.log.append", side_effect=Refused("no room")):
            result = self.check(KEY, PASS, STORE, arguments=self.HOST)
        self.assertWrong("purges", result, f"on {site.MEMCACHED} takes no purges: Refused: no room")

    def test_nginx_does_not_store(self):
        self.assertWrong("middleware", self.check(KEY, PASS, arguments=self.HOST), "nginx does not serve it", "pagecache_store")

    def test_django_does_not_permit_it(self):
        with override_settings(MIDDLEWARE=[conf.MIDDLEWARE, "tests.site.a_cookie"]):
            self.assertWrong("middleware", self.check(KEY, PASS, STORE, arguments=self.HOST), "not stored it: a cookie")

    def test_the_pages_of_sessions(self):
        with override_settings(PAGECACHE_IGNORE_VARY=["Cookie"]):
            self.assertWrong("cookie", self.check(KEY, PASS, STORE, arguments=self.HOST), "$cookie_sessionid")
            result = self.check(KEY, PASS, STORE, "pagecache_bypass $cookie_sessionid;", arguments=self.HOST)
            self.assertEqual(result[0][-4:], ["middleware", "cookie", "headers", "purges"])


class Cookies(CheckCase):
    def test_of_sessions(self):
        settings = {"PAGECACHE_IGNORE_VARY": ["Cookie"], "SESSION_COOKIE_NAME": "sid"}
        with override_settings(**settings):
            result = self.check(KEY, PASS, "pagecache_bypass $cookie_sessionid;")
            self.assertWrong("cookie", result, "SESSION_COOKIE_NAME", "pagecache_bypass needs $cookie_sid")
            result = self.check(KEY, PASS, "pagecache_bypass $cookie_sid;")
            self.assertEqual(result[0][-4:], ["middleware", "cookie", "headers", "purges"])

    def test_of_a_name_that_nginx_has_no_variable_for(self):
        with override_settings(PAGECACHE_IGNORE_VARY=["Cookie"], SESSION_COOKIE_NAME="__Host-sid"):
            self.assertWrong("cookie", self.check(KEY, PASS), "a map of $http_cookie", '"~(^|; *)__Host\\-sid=" 1')
            of_name = 'map $http_cookie $is_of_one { "~(^|; *)__Host\\-sid=" 1; }'
            result = self.check(KEY, PASS, "pagecache_bypass $is_of_one;", http=of_name)
            self.assertEqual(result[1:], ("", "", 0))

    def test_of_messages(self):
        with override_settings(MIDDLEWARE=[conf.MIDDLEWARE, *site.OF_MESSAGES]):
            self.assertWrong("cookie", self.check(KEY, PASS), "pagecache_bypass needs $cookie_messages")
            self.assertEqual(self.check(KEY, PASS, "pagecache_bypass $cookie_messages;")[1:], ("", "", 0))
            of_session = "django.contrib.messages.storage.session.SessionStorage"
            with override_settings(MESSAGE_STORAGE=of_session):
                self.assertWrong("cookie", self.check(KEY, PASS), "pagecache_bypass needs $cookie_sessionid")
                self.assertEqual(self.check(KEY, PASS, "pagecache_bypass $cookie_sessionid;")[1:], ("", "", 0))


class Headers(CheckCase):
    def test_those_of_a_middleware_before(self):
        with override_settings(MIDDLEWARE=[before.SECURITY, conf.MIDDLEWARE]):
            names = "X-Content-Type-Options, Referrer-Policy, Cross-Origin-Opener-Policy"
            self.assertWrong("headers", self.check(KEY, PASS), f"hits lack {names}")
        with override_settings(MIDDLEWARE=[conf.MIDDLEWARE, before.SECURITY]):
            self.assertEqual(self.check(KEY, PASS)[1:], ("", "", 0))

    def test_those_of_one_answer(self):
        name = "tests.site.a_number"
        with override_settings(MIDDLEWARE=[name, conf.MIDDLEWARE], PAGECACHE_ALLOW_BEFORE=[name]):
            self.assertEqual(self.check(KEY, PASS)[1:], ("", "", 0))

    def test_those_of_nginx(self):
        result = self.check(KEY, PASS, "expires 60;")
        self.assertEqual(result[1:], ("", "", 0))  # a page from Django has none
        with override_settings(MIDDLEWARE=[conf.MIDDLEWARE, "tests.site.a_lifetime"]):
            result = self.check(KEY, PASS, "expires 60;")
            self.assertWrong("headers", result, 'Cache-Control is "max-age=60" in a hit and "max-age=30"')

    def test_a_bare_body_has_none(self):
        with override_settings(PAGECACHE_FORMAT="body", MIDDLEWARE=[conf.MIDDLEWARE, before.SECURITY]):
            self.assertWrong("headers", self.check(KEY, PASS), "hits lack X-Content-Type-Options")

    def test_compressed_pages(self):
        with override_settings(PAGECACHE_GZIP=True):
            self.assertEqual(self.check(KEY, PASS)[1:], ("", "", 0))


if __name__ == "__main__":
    unittest.main()
