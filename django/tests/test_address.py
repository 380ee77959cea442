"""nginx's variables, beyond what the contract's rows have of them."""

import unittest

from django.core.handlers.asgi import ASGIRequest
from django.test import RequestFactory, SimpleTestCase

from pagecache.address import PageAddress, bare_host, normal_path
from tests import site  # noqa: F401  (configures Django)


class Paths(SimpleTestCase):
    def test_normal_paths(self):
        for path, normal in (
            ("/a%20b", b"/a b"),
            ("/%2F/a", b"/a"),
            ("/a/", b"/a/"),
            ("//", b"/"),
            ("/a/..", b"/"),
            ("/a/b/../", b"/a/"),
            ("/a/.", b"/a/"),
            ("/...", b"/..."),
            ("/.a/..b", b"/.a/..b"),
            ("/ö", "/ö".encode()),
        ):
            with self.subTest(path):
                self.assertEqual(normal_path(path), normal)

    def test_what_nginx_refuses(self):
        for path in ("", "a", "/..", "/a/../..", "/%", "/%2", "/%zz", "/a%00"):
            with self.subTest(path):
                self.assertIsNone(normal_path(path))


class Hosts(SimpleTestCase):
    def test_bare_hosts(self):
        for host, bare in (
            ("Example.ORG:8080", b"example.org"),
            ("example.org.:80", b"example.org"),
            ("[::1]:80", b"[::1]"),
            ("", None),
            (":80", None),
        ):
            with self.subTest(host):
                self.assertEqual(bare_host(host), bare)


class Urls(SimpleTestCase):
    def test_a_whole_url(self):
        page = PageAddress.of_url("HTTPS://user@Example.org:8443/ö?a=ü#b")
        self.assertEqual((page.scheme, page.host), (b"https", b"example.org"))
        self.assertEqual((page.uri, page.args), ("/ö".encode(), b"a=%C3%BC"))
        self.assertEqual(page.request_uri, b"/%C3%B6?a=%C3%BC")
        self.assertEqual(PageAddress.of_url("http://a.b").uri, b"/")
        self.assertEqual(PageAddress.of_url("http://a.b?c").args, b"c")

    def test_a_host_beyond_ascii(self):
        for url, host in (
            ("https://Größe.example/", b"xn--gre-6ka8i.example"),
            ("https://www.größe.example:8443/", b"www.xn--gre-6ka8i.example"),
            ("https://größe:8443/", b"xn--gre-6ka8i"),
        ):
            self.assertEqual(PageAddress.of_url(url).host, host)
            self.assertEqual(PageAddress.of_url("/", host=url.split("/")[2]).host, host)

    def test_what_is_said_goes_before_the_url(self):
        page = PageAddress.of_url("http://127.0.0.1/", host="example.org", scheme="https", cookies={"a": "b", "c": "d"})
        self.assertEqual((page.scheme, page.host, page.cookie), (b"https", b"example.org", b"a=b; c=d"))

    def test_a_path_has_neither(self):
        page = PageAddress.of_url("/a")
        self.assertEqual((page.scheme, page.host, page.cookie), (None, None, b""))


class Requests(SimpleTestCase):
    def test_gunicorn_names_the_request_uri_otherwise(self):
        page = PageAddress.of_request(RequestFactory().get("/a", RAW_URI="/%61?"))
        self.assertEqual(page.request_uri, b"/%61?")

    def test_a_mounted_application(self):
        page = PageAddress.of_request(RequestFactory().get("/a", SCRIPT_NAME="/app"))
        self.assertEqual(page.uri, b"/app/a")

    def test_asgi(self):
        page = asgi(b"/gr%C3%B6%C3%9Fe", "/größe", b"q=%20")
        self.assertEqual((page.uri, page.args), ("/größe".encode(), b"q=%20"))
        self.assertEqual(page.request_uri, b"/gr%C3%B6%C3%9Fe?q=%20")
        self.assertEqual((page.host, page.cookie), (b"a.b", b"c=d"))
        # Here the two can be told apart.
        self.assertIsNone(asgi(b"/%E4", "/\ufffd").uri)
        self.assertEqual(asgi(b"/%25E4", "/%E4").uri, b"/%E4")


def asgi(raw_path, path, query=b""):
    headers = [(b"host", b"A.b:80"), (b"cookie", b"c=d")]
    scope = {"type": "http", "method": "GET", "path": path, "raw_path": raw_path, "query_string": query}
    return PageAddress.of_request(ASGIRequest({**scope, "headers": headers}, None))


if __name__ == "__main__":
    unittest.main()
