"""`manage.py pagecache check`, on a real nginx and real memcached: what it finds to be wrong."""

import unittest
from unittest.mock import patch

from django.core.cache import caches
from django.test import override_settings
from django.utils.safestring import mark_safe

from pagecache import conf
from tests import site
from tests.processes import Memcached, Nginx
from tests.test_command import CommandCase

KEY = 'pagecache_key "/test-$uri$is_args$args";'
PASS = f"pagecache_pass {site.MEMCACHED};"

SAYING = """
    add_header X-Cache        $pagecache_status always;
    add_header X-Cache-Reason $pagecache_reason always;
    add_header X-Cache-Key    $pagecache_key    always;
    add_header X-Cache-Server $pagecache_server always;
"""
"""As visit.py wants it. Without it, what nginx does has to be found out."""


FROM_DJANGO = ["middleware", "headers", "purges"]
"""What is right of a page that Django makes."""

STORE = "pagecache_store on;"


class CheckCase(CommandCase):
    def check(self, *lines, http="", target="/", arguments=()):
        """The words of what is right, the one that is wrong and its text, and the exit status. It finds the same
        whether nginx says what it does, or not."""
        results = []
        for saying in ("", SAYING):
            # Headers of one location are not the other's.
            nginx = Nginx(" ".join([*lines, saying]), http, saying, application=self.serving())
            try:
                results.append(self.check_at(nginx.url + target, *arguments))
            finally:
                nginx.stop()
        (_, silent_word, _, silent_status), (_, word, _, status) = results
        # What only nginx knows is the reason for which an item is no page.
        if silent_word == "flags or format":
            self.assertIn(word, ("flags", "format"))
        else:
            self.assertEqual(silent_word, word, results)
        self.assertEqual(silent_status, status, results)
        return results[1]

    def check_at(self, *arguments):
        lines, _, status = self.run_command("check", *arguments)
        left = self.memcached.raw_command(b"lru_crawler metadump all", end_tokens=b"END\r\n")
        self.assertNotIn(b"pagecache-", left)
        wrong = [line for line in lines if line.startswith("WRONG")]
        right = [line.split(":")[0].removeprefix("ok").strip() for line in lines if line not in wrong]
        word, _, text = wrong[0].removeprefix("WRONG").strip().partition(": ") if wrong else ("", "", "")
        return right, word, text, status

    def assertWrong(self, word, result, *texts):
        right, found, text, status = result
        self.assertEqual((found, status), (word, 1), result)
        for part in texts:
            self.assertIn(part, text)


class Right(CheckCase):
    def test_the_same_key_on_the_same_server(self):
        result = self.check(KEY, PASS)
        self.assertEqual(result, (["server", "escaping", "query", "long key", *FROM_DJANGO], "", "", 0))

    def test_below_a_folder(self):
        self.assertEqual(self.check(KEY, PASS, target="/größe/?a=b#c")[3], 0)

    def test_long_keys_that_are_not_looked_up_are_well(self):
        self.assertEqual(self.check(KEY, PASS, "pagecache_long_keys bypass;")[3], 0)

    def test_a_stored_page(self):
        self.client.get("/a")
        self.assertEqual(self.check(KEY, PASS, target="/a")[0][-4:], ["page", *FROM_DJANGO])

    def test_formats(self):
        with override_settings(PAGECACHE_FORMAT="http", PAGECACHE_GZIP=True):
            self.assertEqual(self.check(KEY, PASS, "pagecache_format http;")[3], 0)
        with override_settings(PAGECACHE_GZIP_FLAG=2):
            self.assertEqual(self.check(KEY, PASS, "pagecache_gzip_flag 2;")[3], 0)

    def test_another_location_with_host_and_cookie(self):
        pattern = "$cookie_lang;$scheme-$host$uri?$arg_page"
        arguments = ("--key", pattern, "--host", "A.test:80", "--cookie", "lang=de")
        lines = (f'pagecache_key "{pattern}";', PASS)
        # No view has this key.
        self.assertWrong("middleware", self.check(*lines, arguments=arguments), "another key than nginx's")
        with patch.object(conf, "keys_of_views", {pattern}):
            result = self.check(*lines, arguments=arguments)
        self.assertEqual((result[0], result[3]), (["server", "escaping", "long key", *FROM_DJANGO], 0))

    def test_the_stock_module(self):
        stock = f'set $memcached_key "/test-$uri$is_args$args"; memcached_pass {site.MEMCACHED};'
        nginx = Nginx(f"{stock} error_page 404 = @none;", application=self.serving())
        self.addCleanup(nginx.stop)
        with override_settings(PAGECACHE_FORMAT="body"):
            result = self.check_at(nginx.url + "/")
        self.assertEqual(result[0], ["server", "escaping", "query", "long key"])
        self.assertWrong("middleware", result, "no X-Pagecache-Status")


class Wrong(CheckCase):
    def test_prefix(self):
        result = self.check('pagecache_key "/other-$uri$is_args$args";', PASS)
        self.assertWrong("prefix", result, '"/other-/pagecache-check-', '"/test-/pagecache-check-')

    def test_prefix_of_django_s_own(self):
        plain = {**site.cache_of(site.MEMCACHED), "KEY_FUNCTION": None, "KEY_PREFIX": "site"}
        with override_settings(CACHES={**site.settings.CACHES, "default": plain}):
            caches["default"].set("/test-/a", b"a page")
            self.assertWrong("prefix", self.check(KEY, PASS, target="/a"), '"site:1:/test-/a"', "KEY_FUNCTION")

    def test_escaping(self):
        result = self.check('pagecache_key "/test-$request_uri";', PASS)
        self.assertWrong("escaping", result, "%2520%2525%25C3%25A4", "$request_uri")
        self.assertEqual(result[0], ["server"])

    def test_a_key_without_the_query(self):
        nginx = Nginx(f'pagecache_key "/test-$uri"; {PASS} {SAYING}', fallback=SAYING)
        self.addCleanup(nginx.stop)
        result = self.check_at(nginx.url + "/")
        self.assertWrong("bypass", result, "args")
        self.assertEqual(result[0], ["server", "escaping"])

    def test_bypass(self):
        nginx = Nginx(f"{KEY} {PASS} pagecache_bypass 1; {SAYING}", fallback=SAYING)
        self.addCleanup(nginx.stop)
        self.assertWrong("bypass", self.check_at(nginx.url + "/"), "bypass")

    def test_a_location_that_does_not_ask(self):
        nginx = Nginx("return 200 x;")
        self.addCleanup(nginx.stop)
        self.assertWrong("server", self.check_at(nginx.url + "/"), "nginx asked none of")

    def test_a_redirect(self):
        nginx = Nginx("return 301 https://a.test/;")
        self.addCleanup(nginx.stop)
        self.assertWrong("bypass", self.check_at(nginx.url + "/"), "301")

    def test_flags(self):
        with override_settings(PAGECACHE_FORMAT="body"):
            self.assertWrong("flags", self.check(KEY, PASS, "pagecache_flags 16;"), "pagecache_flags")
        with override_settings(PAGECACHE_FORMAT="body", PAGECACHE_GZIP_FLAG=2):
            self.assertWrong("flags", self.check(KEY, PASS), "pagecache_gzip_flag")

    def test_flags_of_a_page_that_was_pickled(self):
        caches["pages"].set("/test-/a", mark_safe("<p>"))
        self.assertWrong("flags", self.check(KEY, PASS, target="/a"), '"/test-/a" has the flags 1', "pickle")

    def test_format(self):
        with override_settings(PAGECACHE_FORMAT="body"):
            self.assertWrong("format", self.check(KEY, PASS, "pagecache_format http;"), "pagecache_format")

    def test_another_memcached(self):
        other = Memcached()
        self.addCleanup(other.stop)
        result = self.check(KEY, f"pagecache_pass {other.address};")
        self.assertWrong("server", result, f"nginx asks {other.address}; LOCATION is {site.MEMCACHED}")

    def test_memcached_of_nginx_is_down(self):
        self.assertWrong("server", self.check(KEY, "pagecache_pass 127.0.0.1:1;"))

    def test_memcached_of_django_is_down(self):
        with override_settings(CACHES={"default": site.DUMMY, "pages": site.cache_of("127.0.0.1:1")}):
            self.assertWrong("memcached", self.check(KEY, PASS), "Connection refused")

    def test_nginx_is_down(self):
        self.assertWrong("nginx", self.check_at("http://127.0.0.1:1/"), "ConnectionRefusedError")


    def test_what_nginx_says_of_a_server_that_does_not_answer(self):
        for reason in ("down", "timeout", "connect", "reset", "protocol", "overload"):
            headers = f"""
                add_header X-Cache ERROR always; add_header X-Cache-Server {site.MEMCACHED} always;
                add_header X-Cache-Reason {reason} always; add_header X-Cache-Key "/test-$uri" always;
            """
            nginx = Nginx(headers + "return 404;")
            try:
                self.assertWrong("server", self.check_at(nginx.url + "/"), f"{site.MEMCACHED}: {reason}")
            finally:
                nginx.stop()

    def test_what_django_stores_meanwhile_is_no_lookup_of_nginx(self):
        nginx = Nginx(f"proxy_pass http://{self.serving()};")
        self.addCleanup(nginx.stop)
        self.assertWrong("server", self.check_at(nginx.url + "/"), "nginx asked none of")


class Distributed(CheckCase):
    """Two servers: Django's client places pages on both."""

    def setUp(self):
        super().setUp()
        self.other = Memcached()
        self.addCleanup(self.other.stop)
        pages = site.cache_of(site.MEMCACHED, self.other.address)
        changed = override_settings(CACHES={"default": site.DUMMY, "pages": pages})
        changed.enable()
        self.addCleanup(changed.disable)

    def upstream(self, distribution):
        servers = f"server {site.MEMCACHED}; server {self.other.address};"
        return f"upstream pages {{ {servers} pagecache_distribution {distribution}; }}"

    def test_nginx_knows_one_of_them_alone(self):
        result = self.check(KEY, PASS)
        self.assertWrong("distribution", result, f"is on {self.other.address} for Django", site.MEMCACHED)

    def test_the_rule_of_the_client(self):
        result = self.check(KEY, "pagecache_pass pages;", http=self.upstream("rendezvous"))
        self.assertEqual((result[1], result[3]), ("", 0), result)

    def test_the_rule_of_another_client(self):
        result = self.check(KEY, "pagecache_pass pages;", http=self.upstream("modula"))
        self.assertWrong("distribution", result, "pagecache_distribution")


if __name__ == "__main__":
    unittest.main()
