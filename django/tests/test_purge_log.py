"""The log of purges of one server: its lines, how it is created, appended to, and begun again."""

import threading
import time
import unittest
import unittest.mock

from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from pagecache import conf
from pagecache.key import KeyPattern
from pagecache.purges import log, target
from pagecache.purges.zone import zone_of, zones
from tests import site
from tests.cases import PageCase
from tests.logs import lines_of, log_of

KEY = "pagecache:purges:/test-"


class Targets(unittest.TestCase):
    def test_how_they_are_written(self):
        for written, made in (
            (b"u:/a%20b%25%0A%C3%A4".replace(b"%C3%A4", "ä".encode()), target.of_key("/a b%\nä".encode())),
            (b"k:/blog/", target.of_prefix(b"/blog/")),
            (b"*", target.of_prefix(b"")),
            (b"k:" + b"a" * 512, target.of_prefix(b"a" * 513)),
            (b"u:" + b"a" * 512, target.of_key(b"a" * 512)),
            (b"k:" + b"a" * 512, target.of_key(b"a" * 513)),
            # printf 'site\nblog-7' | sha256sum
            (b"t:43ab256f0b4a6cb8", target.of_tag("site", "blog-7")),
        ):
            with self.subTest(written):
                self.assertEqual(made, written)
                self.assertEqual(target.line_of(made, False, 7), b"s 7 %s\n" % written)
                self.assertEqual(target.line_of(made, True, 7), b"h 7 %s\n" % written)

    def test_which_pages_a_line_names(self):
        tag = target.hash_of("site", "a")
        for line, is_named in (
            (b"", False),
            (b"s 1 *", True),
            (b"h 1 u:/a%20b", True),
            (b"s 1 u:/a%20", False),
            (b"s 1 k:/a%20", True),
            (b"s 1 k:%2fa", True),
            (b"s 1 k:/b", False),
            (b"s 1 k:", True),
            (b"s 1 t:" + tag, True),
            (b"s 1 t:" + tag.upper(), True),
            (b"s 1 t:0123456789abcdef", False),
            # malformed: a purge of all pages
            (b"s 1 k:/a b", True),
            (b"s 1 u:/b%2", True),
            (b"x 1 u:/b", True),
            (b"s u:/b", True),
            (b"s 1 t:0123", True),
        ):
            with self.subTest(line):
                self.assertIs(target.is_named(line, b"/a b", [tag]), is_named)
        long = b"/" + b"a" * 600
        self.assertTrue(target.is_named(b"s 1 " + target.of_key(long), long, []))
        self.assertTrue(target.is_named(b"s 1 u:" + long, long, []))


class Zones(unittest.TestCase):
    def test_by_default_it_is_the_beginning_of_the_key(self):
        for key, zone in (
            *(("/site-$uri", "/site-"), ("$scheme://$host$uri", ""), ("a${uri}", "a")),
            *(("größe$uri", "gr"), ("a site$uri", "a"), ("%$uri", ""), ("a" * 129 + "$uri", "a" * 128)),
        ):
            self.assertEqual(zone_of(KeyPattern.parse(key)), zone)
        with override_settings(PAGECACHE_PURGE_ZONE="site"):
            self.assertEqual(zone_of(KeyPattern.parse("/site-$uri")), "site")

    def test_each_key_may_have_its_own(self):
        with unittest.mock.patch.object(conf, "keys_of_views", {"/other-$uri", "/test-$host$uri"}):
            self.assertEqual(zones(), ["/test-", "/other-"])

    def test_names_that_are_none(self):
        for wrong in ("a b", "a%", "ä", "a\n", "a" * 129, 7):
            with self.subTest(wrong), override_settings(PAGECACHE_PURGE_ZONE=wrong):
                self.assertRaises(ImproperlyConfigured, zone_of, KeyPattern.parse("$uri"))


class Logs(PageCase):
    def append(self, *targets, hard=False, now=None):
        seconds = int(time.time()) if now is None else now
        log.append(site.MEMCACHED, KEY, b"".join(target.line_of(one, hard, seconds) for one in targets), 2.0)

    def value(self):
        return self.memcached.get(KEY)

    def read(self, creates=False):
        return log.read(site.MEMCACHED, KEY, 2.0, creates)

    def test_it_is_created_and_appended_to(self):
        self.append(b"u:/a")
        epoch, _, lines = log_of()
        self.assertEqual(lines, ["s u:/a"])
        flags = int(self.memcached.raw_command(b"mg " + KEY.encode() + b" f").split()[1][1:])
        self.assertEqual(flags, 0x5B << 24 | int(epoch, 16) & 0xFFFFFF)
        self.append(b"u:/b", b"*", hard=True)
        self.assertEqual(log_of(), (epoch, [], ["s u:/a", "h u:/b", "h *"]))

    def test_a_line_that_another_writer_has_not_ended(self):
        self.append(b"u:/a")
        self.memcached.append(KEY, b"s 1 u:/b")
        self.append(b"u:/c")
        self.assertEqual(self.value().split(b"\n")[2], b"s 1 u:/b")
        self.assertTrue(self.value().endswith(b" u:/c\n"))

    def test_several_writers_at_once(self):
        def write(writer):
            for number in range(20):
                self.append(b"u:/%d/%d" % (writer, number))

        threads = [threading.Thread(target=write, args=[writer]) for writer in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        lines = lines_of()
        self.assertEqual(sorted(lines), sorted(f"s u:/{writer}/{number}" for writer in range(4) for number in range(20)))
        self.assertEqual([line for line in lines if "/0/" in line], [f"s u:/0/{number}" for number in range(20)])

    def test_a_long_log_is_begun_again_and_its_hard_purges_are_repeated(self):
        now = int(time.time())
        self.memcached.set(KEY, b"E0123456789abcdef 7 %d u:/kept 5 u:/old\nh %d k:/hard\ns %d k:/soft\n" % ((now,) * 3))
        self.memcached.append(KEY, b"\n" * log.LENGTH_MOST)
        self.append(b"u:/a")
        epoch, carried, lines = log_of()
        self.assertNotEqual(epoch, "0123456789abcdef")
        self.assertEqual((carried, lines), (["u:/kept", "k:/hard"], []))

        self.memcached.delete(KEY)
        self.append(*(b"u:/%d" % number for number in range(500)), hard=True)
        self.memcached.append(KEY, b"\n" * log.LENGTH_MOST)
        self.append(b"u:/a")
        self.assertEqual(log_of()[1], ["*"])

    def test_a_log_at_memcached_s_limit(self):
        self.append(b"u:/a", hard=True)
        self.assertTrue(self.memcached.append(KEY, b"\n" * ((1 << 20) - 1000)))
        self.append(*(b"k:/%d" % number for number in range(200)))
        _, carried, lines = log_of()
        self.assertEqual((carried, len(lines)), (["u:/a"], 200))

    def test_what_another_program_has_put_in_its_place(self):
        self.memcached.set(KEY, b"no log")
        self.assertEqual(self.read().lines, b"")
        self.assertEqual(log_of()[2], [])

    def test_it_is_read_only_if_it_has_changed(self):
        self.assertIsNone(self.read())
        self.assertIsNone(self.value())
        created = self.read(creates=True)
        self.assertEqual((created.base, created.lines), (0, b""))
        self.append(b"u:/a")
        first = self.read()
        with unittest.mock.patch.object(log, "_get", side_effect=AssertionError("the value is read")):
            self.assertIs(self.read(), first)
        self.append(b"u:/b")
        second = self.read()
        self.assertEqual([line.split(b" ")[-1] for line in second.since(first) if line], [b"u:/b"])
        self.assertEqual(second.mark, b"%s.%d" % (second.epoch, len(second.lines)))
        self.assertIsNone(first.since(second))
        self.memcached.delete(KEY)
        self.assertIsNone(self.read())
        self.assertIsNone(self.read(creates=True).since(second))

    def test_a_log_whose_lines_were_moved(self):
        older = log.Log.parse(b"E0123456789abcdef 100\ns 1 u:/a\n")
        for value, lines in (
            (b"E0123456789abcdef 100\ns 1 u:/a\ns 1 *\n", [b"s 1 *", b""]),
            (b"E0123456789ABCDEF 109\ns 1 *\n", [b"s 1 *", b""]),
            (b"E0123456789abcdef 110\ns 1 *\n", None),
            (b"E0123456789abcdef 100\n", None),
            (b"E1123456789abcdef 100\ns 1 u:/a\ns 1 *\n", None),
        ):
            with self.subTest(value):
                self.assertEqual(log.Log.parse(value).since(older), lines)

    def test_a_server_without_meta_commands(self):
        with unittest.mock.patch.object(log, "_without_meta", {site.MEMCACHED}):
            self.append(b"u:/a")
            self.assertEqual(self.read(), self.read())

    def test_a_server_that_is_down(self):
        self.assertRaises(OSError, log.append, "127.0.0.1:1", KEY, b"s 1 *\n", 0.5)
        self.assertRaises(OSError, log.read, "127.0.0.1:1", KEY, 0.5, True)


if __name__ == "__main__":
    unittest.main()
