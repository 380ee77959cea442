"""`manage.py pagecache get|purge|key|warm`, as a shell sees it: what it prints, and its exit status."""

import io
import sys
import unittest
from unittest import mock

from django.core.management import CommandError, call_command
from django.test import override_settings

from pagecache import conf
from pagecache.purges import target
from tests import site
from tests.cases import PageCase
from tests.logs import lines_of
from tests.processes import Nginx


class CommandCase(PageCase):
    def run_command(self, *arguments, stdin=""):
        """The lines that it prints, its complaints, and its exit status."""
        out, errors, status = io.StringIO(), io.StringIO(), 0
        with mock.patch.object(sys, "stdin", io.StringIO(stdin)):
            try:
                call_command("pagecache", *arguments, stdout=out, stderr=errors, no_color=True)
            except CommandError as error:
                errors.write(str(error))
                status = error.returncode
        return out.getvalue().splitlines(), errors.getvalue(), status


class Keys(CommandCase):
    def test_of_paths_and_urls(self):
        keys = ["/test-/größe/?a=b", "/test-/a"]
        self.assertEqual(self.run_command("key", "/größe/?a=b", "http://a.test//x/../a"), (keys, "", 0))
        self.assertEqual(self.run_command("key", "-", stdin="/größe/?a=b\n\n/a\n"), (keys, "", 0))

    def test_of_another_location(self):
        arguments = ("--key", "$cookie_lang;$host$uri", "--host", "B.test", "--cookie", "lang=de")
        self.assertEqual(self.run_command("key", "http://a.test/a", *arguments)[0], ["de;b.test/a"])

    def test_what_has_none(self):
        lines, errors, status = self.run_command("key", "/%FF", "/a")
        self.assertEqual((lines, status), (["/test-/a"], 1))
        self.assertIn("/%FF: the key is not UTF-8", errors)
        self.assertIn("1 of 2: no key", errors)

    def test_a_line_that_is_no_url(self):
        lines, errors, status = self.run_command("key", "-", stdin="http://[\n/a\n")
        self.assertEqual((lines, status), (["/test-/a"], 1))
        self.assertIn("http://[: ValueError", errors)
        for action in ("get", "purge", "warm", "check"):
            for wrong in ("http://[", *(["http://a:b/", "/a"] if action == "warm" else [])):
                with self.subTest(action, wrong=wrong):
                    _, errors, status = self.run_command(action, wrong, "http://[::1")
                    self.assertIn(wrong, errors)
                    self.assertIn("http://[::1: ValueError", errors)
                    self.assertEqual(status, 1)

    def test_wrong_command_lines(self):
        self.assertEqual(self.run_command("key", "/", "--key", "$nonsense")[2], 2)
        for wrong in ((), ("key",), ("nonsense", "/")):
            with self.assertRaises(CommandError):
                call_command("pagecache", *wrong)


class Items(CommandCase):
    def test_get(self):
        self.client.get("/a")
        lines, _, status = self.run_command("get", "/a")
        self.assertRegex(lines[0], rf'^"/test-/a" on {site.MEMCACHED}: \d+ bytes, flags 15\d{{8}}, (300|29\d) s left$')
        self.assertEqual(status, 0)
        lines, errors, status = self.run_command("get", "/a", "/b")
        self.assertEqual((lines[1], errors, status), ('"/test-/b" is not stored', "1 of 2: not stored", 1))

    def test_get_the_value(self):
        self.client.get("/a")
        with mock.patch.object(sys, "stdout", io.TextIOWrapper(io.BytesIO())) as out:
            self.assertEqual(self.run_command("get", "--body", "/a")[1:], ("", 0))
        self.assertRegex(out.buffer.getvalue(), rb"(?s)^HTTP/1\.1 200 OK\r\n.*\r\n\r\npage /a$")

    def test_purge(self):
        self.client.get("/a")
        for _ in range(2):
            self.assertEqual(self.run_command("purge", "/a"), (['"/test-/a": purged'], "", 0))
            self.assertIsNone(self.item("/a"))
        self.assertEqual(lines_of(), ["s u:/test-/a"] * 2)

    def test_purge_more_than_pages(self):
        with mock.patch.object(conf, "keys_of_views", set()):
            lines, errors, status = self.run_command(
                *("purge", "/a", "--prefix", "/b/", "--prefix", "http://a.test/c", "--tag", "news", "--all", "--hard")
            )
        purged = ['"/test-/a"', '"/b/" and all below', '"http://a.test/c" and all below', 'the tag "news"', "all"]
        self.assertEqual((lines, errors, status), ([f"{pages}: purged" for pages in purged], "", 0))
        tag = target.of_tag("/test-", "news").decode()
        self.assertEqual(lines_of(), [f"h {one}" for one in ("u:/test-/a", "k:/test-/b/", "k:/test-/c", tag, "*")])

    @override_settings(PAGECACHE_KEY="/test-$host$uri", PAGECACHE_FILL="nginx")
    def test_purge_what_nginx_has_stored(self):
        self.memcached.set("/test-a.test/a", b"a page")
        self.assertEqual(self.run_command("purge", "/a", "--prefix", "/b", "--host", "a.test")[1:], ("", 0))
        self.assertEqual(lines_of(), ["s u:/test-a.test/a", "s k:/test-a.test/b"])
        self.assertEqual(self.memcached.raw_command(b"mg /test-a.test/a"), b"HD X W")
        _, errors, status = self.run_command("purge", "/a", "--prefix", "/b", "--prefix", "http://[")
        self.assertEqual((errors.count("$host is not known"), status), (2, 1))
        self.assertIn("http://[: ValueError", errors)

    def test_purge_nothing(self):
        self.assertEqual(self.run_command("purge")[2], 2)

    def test_memcached_is_down(self):
        with override_settings(CACHES={"default": site.DUMMY, "pages": site.cache_of("127.0.0.1:1")}):
            for action in ("get", "purge"):
                # After the first time, pymemcache leaves the server alone for a second, and says nothing of it.
                lines, errors, status = self.run_command(action, "/a", "/b")
                self.assertEqual((lines, status), ([], 1))
                self.assertEqual(errors.count("ConnectionRefusedError"), 2)

    def test_purge_where_the_client_looks_elsewhere(self):
        self.client.get("/a")
        with mock.patch("pymemcache.client.hash.HashClient.delete", return_value=False):
            lines, errors, status = self.run_command("purge", "/a")
        self.assertEqual((lines, status), ([], 1))
        self.assertIn(f'"/test-/a" is still on {site.MEMCACHED}', errors)


class Warm(CommandCase):
    def test_each_page_is_fetched_and_said_whence(self):
        lines = f'pagecache_pass {site.MEMCACHED}; pagecache_key "/test-$uri"; add_header X-Cache $pagecache_status;'
        nginx = Nginx(lines)
        self.addCleanup(nginx.stop)
        self.client.get("/größe/")
        lines, errors, status = self.run_command("warm", nginx.url + "/größe/")
        self.assertRegex(lines[0], rf"^HIT    200 +[\d.]+ ms  {nginx.url}/größe/$")
        self.assertEqual((errors, status), ("", 0))
        lines, errors, status = self.run_command("warm", "-", stdin=f"{nginx.url}/a\n{nginx.url}/größe/\n")
        self.assertRegex(lines[0], r"^-      404 ")
        self.assertEqual((len(lines), errors, status), (2, "1 of 2: no page", 1))

    def test_nobody_answers(self):
        lines, errors, status = self.run_command("warm", "http://127.0.0.1:1/")
        self.assertEqual((lines, status), ([], 1))
        self.assertIn("ConnectionRefusedError", errors)


if __name__ == "__main__":
    unittest.main()
