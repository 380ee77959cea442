"""Pages in several languages: a page of one must never be served for another."""

import unittest

from django.conf.urls.i18n import i18n_patterns
from django.http import HttpResponse
from django.test import override_settings
from django.urls import path
from django.utils.translation import get_language
from django.views.decorators.vary import vary_on_headers

from pagecache import before, conf
from pagecache.system_checks import LOCALE
from tests.cases import PageCase
from tests.processes import Nginx
from tests.test_check import KEY, PASS, SAYING
from tests.test_system_checks import found


def page(request):
    return HttpResponse(f"in {get_language()}")


@vary_on_headers("Accept-Language")
def by_header(request):
    return HttpResponse("for " + request.headers.get("Accept-Language", "nobody"))


PAGES = [path("page/", page), path("by-header/", by_header)]
PREFIXED = (*i18n_patterns(*PAGES), path("plain/", page))
DEFAULT_UNPREFIXED = tuple(i18n_patterns(*PAGES, prefix_default_language=False))
PLAIN = tuple(PAGES)

SETTINGS = {
    "MIDDLEWARE": [conf.MIDDLEWARE, LOCALE],
    "LANGUAGES": [("en", "English"), ("de", "German")],
    "LANGUAGE_CODE": "en",
    "USE_I18N": True,
}


@override_settings(**SETTINGS, ROOT_URLCONF=PREFIXED)
class Languages(PageCase):
    def setUp(self):
        super().setUp()
        self.nginx = Nginx(f"{KEY} {PASS} {SAYING}", fallback=SAYING, application=self.serving())
        self.addCleanup(self.nginx.stop)

    def ask(self, target, language, cookie=""):
        answer = self.nginx.get(target, {"Accept-Language": language, "Cookie": cookie})
        return answer.headers["X-Cache"], answer.body.decode()

    def test_a_language_in_the_url_is_that_of_the_page(self):
        for of_url, other in (("de", "en"), ("en", "de")):
            for status in ("MISS", "HIT"):
                answer = self.ask(f"/{of_url}/page/", other, f"django_language={other}")
                self.assertEqual(answer, (status, f"in {of_url}"))

    def test_a_language_of_the_browser_is_not_stored(self):
        for target, text in (("/plain/", "in"), ("/de/by-header/", "for"), ("/plain/", "in")):
            for language in ("de", "en"):
                self.assertEqual(self.ask(target, language), ("MISS", f"{text} {language}"))

    def test_nor_if_that_is_to_be_ignored(self):
        with override_settings(PAGECACHE_IGNORE_VARY=["Accept-Language"]), self.assertLogs("pagecache", "ERROR"):
            nginx = Nginx(f"{KEY} {PASS}", application=self.serving())
            self.addCleanup(nginx.stop)
            for language in ("de", "en", "de"):
                self.assertEqual(nginx.get("/plain/", {"Accept-Language": language}).body.decode(), f"in {language}")

    def test_what_the_system_check_says(self):
        self.assertNotIn("pagecache.W012", found())
        self.assertNotIn("pagecache.W012", found(ROOT_URLCONF=PLAIN, MIDDLEWARE=[conf.MIDDLEWARE]))
        self.assertRegex(found(ROOT_URLCONF=PLAIN)["pagecache.W012"].msg, "^No page is stored")
        of_default = found(ROOT_URLCONF=DEFAULT_UNPREFIXED)["pagecache.W012"].msg
        self.assertRegex(of_default, "^No page of the default language is stored")


class Cors(PageCase):
    def test_what_the_system_check_says(self):
        behind = {"MIDDLEWARE": [conf.MIDDLEWARE, before.CORS]}
        self.assertIn("pagecache.W013", found(**behind))
        self.assertNotIn("pagecache.W013", found(**behind, PAGECACHE_IGNORE_VARY=["origin"]))
        self.assertNotIn("pagecache.W013", found(MIDDLEWARE=[before.CORS, conf.MIDDLEWARE]))


if __name__ == "__main__":
    unittest.main()
