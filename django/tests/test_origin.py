"""Scheme, host and port that a page may speak of: those of its key, not those of one visitor."""

import unittest

from django.test import override_settings

from pagecache import told
from tests import site
from tests.cases import PageCase
from tests.processes import Nginx
from tests.test_check import SAYING


class OriginCase(PageCase):
    def setUp(self):
        super().setUp()
        told._said.clear()

    def is_stored(self, **extra):
        self.memcached.flush_all()
        self.client.get("/", **extra)
        return self.item("/") is not None


class Ports(OriginCase):
    def assertStoredBy(self, *rows):
        for host, of_server, secure, expected in rows:
            with self.subTest(host=host, of_server=of_server, secure=secure):
                self.assertEqual(self.is_stored(HTTP_HOST=host, SERVER_PORT=of_server, secure=secure), expected)

    def test_of_the_scheme(self):
        self.assertStoredBy(
            ("a.test", "8000", False, True),
            ("[::2]", "8000", False, True),
            ("a.test:81", "80", False, False),
            ("[::1]:81", "80", False, False),
            ("a.test:80", "8000", False, True),
            ("a.test:443", "8000", True, True),
            ("a.test:443", "80", False, False),
            ("a.test:80", "443", True, False),
        )

    def test_of_the_server(self):
        """Behind a balancer or a container's published port, it is no port of the visitors' address."""
        loopback = ("localhost", "a.localhost", "127.0.0.1", "127.1.2.3", "[::1]")
        self.assertStoredBy(*((f"{host}:8000", "8000", False, True) for host in loopback))
        self.assertStoredBy(*((f"{host}:8001", "8000", False, False) for host in loopback))
        others = ("a.test", "alocalhost", "localhost.test", "127.a.test", "128.0.0.1", "[::2]", "127.0.0.1.test")
        self.assertStoredBy(*((f"{host}:8000", "8000", False, False) for host in others))

    @override_settings(PAGECACHE_PORT=8080)
    def test_of_the_address(self):
        self.assertStoredBy(
            ("a.test:8080", "80", False, True),
            ("a.test:8080", "80", True, True),
            ("[::2]:8080", "80", False, True),
            ("a.test", "80", False, False),
            ("a.test:80", "80", False, False),
            ("a.test:08080", "80", False, False),
            ("a.test", "8080", False, False),
            ("localhost:80", "80", False, False),
        )

    def test_the_log_says_what_to_do(self):
        with self.assertLogs("pagecache", "WARNING") as log:
            for host in ("a.test:8000", "b.test:8000"):
                self.assertFalse(self.is_stored(HTTP_HOST=host, SERVER_PORT="8000"))
        self.assertEqual(len(log.output), 1)
        self.assertIn('"/" is not stored: its Host is "a.test:8000"', log.output[0])
        self.assertIn("PAGECACHE_PORT", log.output[0])
        with override_settings(PAGECACHE_PORT=8080), self.assertLogs("pagecache", "WARNING") as log:
            for _ in range(2):
                self.assertFalse(self.is_stored(HTTP_HOST="a.test"))
        self.assertEqual(len(log.output), 1)
        self.assertIn('its Host is "a.test", without the port 8080 of PAGECACHE_PORT', log.output[0])

    def test_of_a_page_that_would_not_be_stored_anyway_it_says_nothing(self):
        with self.assertNoLogs("pagecache", "WARNING"):
            self.client.get("/never/", HTTP_HOST="a.test:8000")
            self.client.get("/", HTTP_HOST="a.test:8000", HTTP_X_PAGECACHE_STATUS="BYPASS")
            self.client.post("/", HTTP_HOST="a.test:8000")


BEHIND_TLS = {"SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https")}


class Schemes(OriginCase):
    """nginx's $scheme is http behind a balancer that ends TLS, whatever the visitor has."""

    keys = ("/test-$uri", "/test-$scheme://$host$uri")

    def stored(self, url="/", **extra):
        """Is anything stored?"""
        sets = self.memcached.stats()[b"cmd_set"]
        self.client.get(url, **{"HTTP_HOST": "a.test", **extra})
        return self.memcached.stats()[b"cmd_set"] > sets

    def test_of_a_request_without_tls(self):
        for key in self.keys:
            for scheme in ("http", "HTTPS", "", None):
                of_balancer = {} if scheme is None else {"HTTP_X_FORWARDED_PROTO": scheme}
                for of_nginx in ({}, {"REQUEST_SCHEME": "http"}, {"REQUEST_SCHEME": "https"}):
                    with self.subTest(key, scheme=scheme, of_nginx=of_nginx), override_settings(PAGECACHE_KEY=key):
                        self.assertTrue(self.stored(**of_balancer, **of_nginx))
                        with override_settings(**BEHIND_TLS):
                            self.assertFalse(self.stored(**of_balancer, **of_nginx))

    def test_of_one_with_tls(self):
        for key in self.keys:
            with override_settings(PAGECACHE_KEY=key, **BEHIND_TLS):
                self.assertTrue(self.stored(HTTP_X_FORWARDED_PROTO="https", REQUEST_SCHEME="http"))
                self.assertTrue(self.stored(HTTP_X_FORWARDED_PROTO="https"))
                self.assertTrue(self.stored(secure=True))

    @override_settings(PAGECACHE_STATUSES=[200, 301, 308], **BEHIND_TLS)
    def test_redirects(self):
        for status in (301, 308):
            self.assertFalse(self.stored(f"/redirect/{status}/?to=/a/"))
            self.assertTrue(self.stored(f"/redirect/{status}/?to=/a/", HTTP_X_FORWARDED_PROTO="https"))
        security = "django.middleware.security.SecurityMiddleware"
        with self.behind(security, SECURE_SSL_REDIRECT=True):
            self.assertEqual(self.client.get("/")["Location"], "https://testserver/")
            self.assertFalse(self.stored())
            self.assertTrue(self.stored(HTTP_X_FORWARDED_PROTO="https"))

    @override_settings(**BEHIND_TLS)
    def test_the_log_says_what_to_do(self):
        with self.assertLogs("pagecache", "WARNING") as log:
            self.assertFalse(self.stored())
            self.assertFalse(self.stored("/a"))
        self.assertEqual(len(log.output), 1)
        self.assertIn('"/" is not stored: it was asked for without TLS', log.output[0])
        self.assertIn("SECURE_PROXY_SSL_HEADER", log.output[0])
        with self.assertNoLogs("pagecache", "WARNING"):
            self.client.get("/never/")


class FromNginx(PageCase):
    def nginx(self, host):
        django = self.serving()
        key = f'pagecache_key "/test-$host$uri"; pagecache_pass {site.MEMCACHED};'
        nginx = Nginx(f"{key} {SAYING}", fallback=SAYING, application=django, host=host)
        self.addCleanup(nginx.stop)
        return nginx, django.rpartition(":")[2]

    def assertLinks(self, nginx, said, link, **headers):
        answer = nginx.get("/query/", {name.replace("_", "-"): value for name, value in headers.items()})
        self.assertEqual(answer.headers["X-Cache"], said)
        self.assertIn(f"\n{link}/query/\n", answer.body.decode())

    @override_settings(PAGECACHE_KEY="/test-$host$uri")
    def test_a_port_that_only_the_server_has(self):
        nginx, port = self.nginx("$http_host")
        for _ in range(2):
            self.assertLinks(nginx, "MISS", f"http://a.test:{port}", Host=f"a.test:{port}")
        self.assertLinks(nginx, "MISS", "http://a.test", Host="a.test")
        self.assertLinks(nginx, "HIT", "http://a.test", Host=f"a.test:{port}")

    @override_settings(PAGECACHE_KEY="/test-$host$uri", **BEHIND_TLS)
    def test_a_visitor_without_tls_behind_a_balancer(self):
        nginx, _ = self.nginx("$host")
        for _ in range(2):
            self.assertLinks(nginx, "MISS", "http://a.test", Host="a.test", X_Forwarded_Proto="http")
        self.assertLinks(nginx, "MISS", "https://a.test", Host="a.test", X_Forwarded_Proto="https")
        self.assertLinks(nginx, "HIT", "https://a.test", Host="a.test", X_Forwarded_Proto="http")


if __name__ == "__main__":
    unittest.main()
