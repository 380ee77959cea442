"""Which pages go when something changes, and when."""

import unittest

from django.db import connection, models, transaction
from django.db.models.signals import post_delete, post_save, pre_save
from django.test import override_settings

from pagecache import store
from pagecache.invalidate import invalidate, invalidate_object, invalidate_on_change
from pagecache.key import NoKey
from tests import site
from tests.cases import PageCase


class Article(models.Model):
    slug = models.CharField(max_length=20)

    class Meta:
        app_label = "pagecache"

    def get_absolute_url(self):
        return f"/artikel/{self.slug}/"


class Proxy(Article):
    class Meta:
        app_label = "pagecache"
        proxy = True


class Child(Article):
    class Meta:
        app_label = "pagecache"


class Invalidation(PageCase):
    def test_paths(self):
        for url in ("/größe/", "/?page=2"):
            self.assertStored(url)
        invalidate("/gr%C3%B6%C3%9Fe/", "/?page=2")
        self.assertIsNone(self.item("/größe/"))
        self.assertIsNone(self.item("/?page=2"))

    def test_an_object(self):
        self.assertStored("/artikel/größe/")
        invalidate_object(Article(slug="gr%C3%B6%C3%9Fe"))
        self.assertIsNone(self.item("/artikel/größe/"))

    def test_a_view_with_a_key_of_its_own(self):
        self.client.get("/other-key/", REQUEST_URI="/other-key/", HTTP_X_PAGECACHE_KEY="/other-/other-key/")
        invalidate("/other-key/")
        self.assertIsNotNone(self.item("/other-key/", "/other-"))
        invalidate("/other-key/", key="/other-$request_uri")
        self.assertIsNone(self.item("/other-key/", "/other-"))

    @override_settings(PAGECACHE_KEY="/test-$cookie_lang;$scheme-$host$uri")
    def test_a_key_of_more_than_the_path(self):
        self.client.cookies["lang"] = "de"
        for where in ({"host": "A.test", "scheme": "http"}, {}):
            self.client.get("/a", headers={"host": "a.test"})
            self.assertIsNotNone(self.item("de;http-a.test/a"))
            invalidate("/a" if where else "http://a.test/a", cookies={"lang": "de"}, **where)
            self.assertIsNone(self.item("de;http-a.test/a"))

    def test_a_path_without_a_key(self):
        self.assertStored("/")
        with self.assertRaises(NoKey):
            invalidate("/", "/%FF")
        self.assertIsNotNone(self.item("/"), "all or none")

    def test_it_waits_for_the_transaction(self):
        self.assertStored("/")
        with transaction.atomic():
            invalidate("/")
            self.assertIsNotNone(self.item("/"))
        self.assertIsNone(self.item("/"))

    def test_a_rolled_back_change_drops_nothing(self):
        self.assertStored("/")
        with transaction.atomic():
            invalidate("/")
            transaction.set_rollback(True)
        self.assertIsNotNone(self.item("/"))

    def test_memcached_is_down(self):
        store._last_warning = float("-inf")
        down = override_settings(CACHES={"default": site.DUMMY, "pages": site.cache_of("127.0.0.1:1")})
        with down, self.assertLogs("pagecache", "WARNING") as log:
            invalidate("/")
        self.assertIn('The purge of u:/test-/ is not on "127.0.0.1:1": ConnectionRefusedError', log.output[0])
        self.assertIn('"/test-/" is not dropped: ', log.output[1])


class OnChange(PageCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with connection.schema_editor() as editor:
            for model in (Article, Child):
                editor.create_model(model)

    @classmethod
    def tearDownClass(cls):
        with connection.schema_editor() as editor:
            for model in (Child, Article):
                editor.delete_model(model)
        super().tearDownClass()

    def setUp(self):
        super().setUp()
        for signal in (pre_save, post_save, post_delete):
            self.addCleanup(setattr, signal, "receivers", signal.receivers)
            signal.receivers = []
            signal.sender_receivers_cache.clear()

    def test_its_own_page(self):
        invalidate_on_change(Article)
        article = Article.objects.create(slug="a")
        for change in (article.save, article.delete):
            self.assertStored("/artikel/a/")
            change()
            self.assertIsNone(self.item("/artikel/a/"))

    def test_the_page_at_its_old_url_goes_too(self):
        invalidate_on_change(Article)
        article = Article.objects.create(slug="old")
        self.assertStored("/artikel/old/")
        self.assertStored("/artikel/new/")
        article.slug = "new"
        with transaction.atomic():
            article.save()
            self.assertIsNotNone(self.item("/artikel/old/"))
        self.assertIsNone(self.item("/artikel/old/"))
        self.assertIsNone(self.item("/artikel/new/"))

    @override_settings(PAGECACHE_KEY="/test-$host$uri")
    def test_each_name_of_a_site_has_its_pages(self):
        names = ("a.test", "b.test")
        for host in names:
            invalidate_on_change(Article, host=host)
        article = Article.objects.create(slug="old")
        article.slug = "new"
        for change in (article.save, article.delete):
            for host in names:
                for path in ("/artikel/old/", "/artikel/new/"):
                    self.client.get(path, headers={"host": host})
                    self.assertIsNotNone(self.item(host + path))
            change()
            for host in names:
                self.assertIsNone(self.item(host + "/artikel/new/"))
                self.assertEqual(self.item(host + "/artikel/old/") is None, change == article.save, host)

    def test_models_below_it(self):
        invalidate_on_change(Article)
        for model in (Proxy, Child):
            article = model.objects.create(slug="old")
            article.slug = "new"
            for change in (article.save, article.delete):
                for url in ("/artikel/old/", "/artikel/new/"):
                    self.assertStored(url)
                change()
                self.assertIsNone(self.item("/artikel/new/"))
            self.assertIsNotNone(self.item("/artikel/old/"))

    def test_no_trouble_of_pages_is_the_change_s(self):
        invalidate_on_change(Article, lambda article: ["/%3F?a", "/\x7f", "http://[", 7, f"/artikel/{article.slug}/"])
        self.assertStored("/artikel/a/")
        with self.assertLogs("pagecache", "WARNING") as log, transaction.atomic():
            Article.objects.create(slug="a")
        self.assertIsNone(self.item("/artikel/a/"))
        self.assertEqual(len(log.output), 4)
        self.assertIn('"/%3F?a" is not purged: NoKey', log.output[0])

    def test_an_object_without_a_url(self):
        invalidate_on_change(Article, lambda article: (1 / 0 for _ in "a"))
        with self.assertLogs("pagecache", "WARNING") as log:
            article = Article.objects.create(slug="a")
            article.save()
            article.delete()
        self.assertIn("ZeroDivisionError", log.output[0])
        self.assertEqual(Article.objects.count(), 0)

    def test_a_model_that_is_not_there(self):
        self.assertRaises(LookupError, invalidate_on_change, "pagecache.Artikel")

    def test_other_pages_of_a_model_that_is_named(self):
        invalidate_on_change("pagecache.Article", lambda article: ["/", f"/{article.slug}"], key="/test-$uri")
        for url in ("/", "/a", "/artikel/a/"):
            self.assertStored(url)
        Article.objects.create(slug="a")
        self.assertEqual([self.item(url) is None for url in ("/", "/a", "/artikel/a/")], [True, True, False])


if __name__ == "__main__":
    unittest.main()
