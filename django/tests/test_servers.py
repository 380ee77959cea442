"""Asking memcached servers one by one: their addresses, their items, what is looked up at them."""

import socket
import tempfile
import threading
import unittest
from pathlib import Path

from django.test import override_settings
from pagecache_testkit import Process, memcached

from pagecache.servers import NotMemcached, find, servers_of, timeout_of, watch
from tests import site
from tests.cases import PageCase


class Servers(PageCase):
    def test_locations(self):
        for location, servers in (
            ("a:1;b:2,unix:/c", ["a:1", "b:2", "unix:/c"]),
            (["a:1", "/c"], ["a:1", "/c"]),
            ("a", ["a"]),
        ):
            with override_settings(CACHES={"default": {**site.DUMMY, "LOCATION": location}}):
                self.assertEqual(servers_of("default"), servers)

    def test_items(self):
        self.memcached.set("ö", b"a\r\nEND\r\n", 100, flags=7)
        self.memcached.set("forever", b"")
        port = site.MEMCACHED.partition(":")[2]
        for server in (site.MEMCACHED, f"localhost:{port}"):
            (found,) = find([server], "ö")
            self.assertEqual((found.server, found.flags, found.value), (server, 7, b"a\r\nEND\r\n"))
            self.assertIn(found.seconds_left, (99, 100))
        (found,) = find([site.MEMCACHED], "forever")
        self.assertEqual((found.value, found.seconds_left), (b"", None))
        self.assertEqual(find([site.MEMCACHED], "absent"), [])

    def test_a_unix_socket(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "memcached.sock")
            process = Process("memcached", memcached(path, megabytes=64))
            self.addCleanup(process.stop)
            process.wait_until(path.exists)
            self.assertEqual(find([str(path), f"unix:{path}"], "a"), [])

    def test_lookups_are_seen(self):
        self.memcached.set("a b".replace(" ", "%20") + "ö", b"")
        with watch([site.MEMCACHED]) as watched:
            self.memcached.get("other")
            self.memcached.get("a%20bö")
            self.memcached.get("a%20bü")
            lookup = watched.lookup_of("%20b")
        self.assertEqual((lookup.server, lookup.key, lookup.found), (site.MEMCACHED, "a%20bö", True))
        with watch([site.MEMCACHED]) as watched:
            self.assertIsNone(watched.lookup_of("%20b"))

    def test_who_is_not_memcached(self):
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        for ask in (lambda: find([address], "a"), lambda: watch([address]).__enter__()):
            answering = threading.Thread(target=answer, args=(listener, b"ERROR\r\n"))
            answering.start()
            self.assertRaises(NotMemcached, ask)
            answering.join()
        answering = threading.Thread(target=answer, args=(listener, b""))
        answering.start()
        self.assertRaises(OSError, find, [address], "a")
        answering.join()


def answer(listener, text):
    connection, _ = listener.accept()
    with connection:
        connection.recv(100)
        connection.sendall(text)



class Timeouts(unittest.TestCase):
    def test_those_of_the_client(self):
        for options, seconds in (
            *(({}, 2.0), ({"timeout": 0.5}, 0.5), ({"connect_timeout": 0.1, "timeout": 0.5}, 0.5)),
            *(({"timeout": 9}, 2.0), ({"timeout": None, "connect_timeout": 1}, 1.0)),
            ({"behaviors": {"_poll_timeout": 500, "connect_timeout": 300}}, 0.5),
        ):
            with self.subTest(options), override_settings(CACHES={"default": site.DUMMY, "pages": site.cache_of("a", **options)}):
                self.assertEqual(timeout_of("pages"), seconds)


if __name__ == "__main__":
    unittest.main()
