"""The action and the button in Django's admin."""

import re
import unittest

from django.core.checks.registry import registry
from django.core.management import call_command
from django.db import connection, models
from django.test import override_settings
from django.urls import path

from pagecache import conf
from pagecache.purges.target import hash_of
from tests import site
from tests.cases import PageCase
from tests.logs import lines_of


class Leaflet(models.Model):
    class Meta:
        app_label = "pagecache"

    def __str__(self):
        return f"leaflet {self.pk}"

    def get_absolute_url(self):
        return f"/leaflets/{self.pk}/"


APPS = [f"django.contrib.{name}" for name in ("admin", "auth", "contenttypes", "messages", "sessions")]

TEMPLATES = {
    "BACKEND": "django.template.backends.django.DjangoTemplates",
    "APP_DIRS": True,
    "OPTIONS": {
        "context_processors": [
            *("django.template.context_processors.request", "django.contrib.auth.context_processors.auth"),
            "django.contrib.messages.context_processors.messages",
        ]
    },
}

MIDDLEWARE = [
    conf.MIDDLEWARE,
    *site.OF_MESSAGES,
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]


@override_settings(
    INSTALLED_APPS=["pagecache", *APPS],
    MIDDLEWARE=MIDDLEWARE,
    TEMPLATES=[TEMPLATES],
    STATIC_URL="/static/",
    PAGECACHE_KEY="/test-$host$uri",
)
class Admin(PageCase):
    @classmethod
    def setUpClass(cls):
        for checks in (registry.registered_checks, registry.deployment_checks):  # which the applications add to
            cls.addClassCleanup(checks.update, set(checks))
            cls.addClassCleanup(checks.clear)
        super().setUpClass()
        for app in ("contenttypes", "auth", "admin"):
            call_command("migrate", app, verbosity=0)
        with connection.schema_editor() as editor:
            editor.create_model(Leaflet)

    @classmethod
    def tearDownClass(cls):
        with connection.schema_editor() as editor:
            editor.delete_model(Leaflet)
        super().tearDownClass()

    def setUp(self):
        super().setUp()
        from django.contrib import admin
        from django.contrib.auth.models import User

        from pagecache.admin import PurgeMixin

        class LeafletAdmin(PurgeMixin, admin.ModelAdmin):
            purge_where = {"host": "a.test"}

        own = admin.AdminSite()
        own.register(Leaflet, LeafletAdmin)
        changed = override_settings(ROOT_URLCONF=(path("admin/", own.urls),))
        changed.enable()
        self.addCleanup(changed.disable)
        User.objects.all().delete()
        Leaflet.objects.all().delete()
        self.leaflets = [Leaflet.objects.create() for _ in range(2)]
        self.editor = User.objects.create_superuser("ada")
        self.reader = User.objects.create_user("bob", is_staff=True)
        self.client.force_login(self.editor)
        self.memcached.flush_all()

    def purged(self, *leaflets):
        tags = [f"pagecache.leaflet:{leaflet.pk}" for leaflet in leaflets]
        hashes = [f"t:{hash_of('/test-', tag).decode()}" for tag in ("pagecache.leaflet", *tags)]
        return {*hashes, *(f"u:/test-a.test/leaflets/{leaflet.pk}/" for leaflet in leaflets)}

    def lines(self):
        return {line.removeprefix("s ") for line in lines_of()}

    def test_the_action(self):
        ticked = {"action": "purge_from_the_page_cache", "_selected_action": [leaflet.pk for leaflet in self.leaflets]}
        response = self.client.post("/admin/pagecache/leaflet/", ticked, follow=True)
        self.assertContains(response, "Purged from the page cache: 2")
        self.assertEqual(self.lines(), self.purged(*self.leaflets))

    def test_the_button(self):
        form = f"/admin/pagecache/leaflet/{self.leaflets[0].pk}/change/"
        shown = self.client.get(form).content.decode()
        (url,) = re.findall(r'<form method="post" action="([^"]*)" id="pagecache-purge">', shown)
        response = self.client.post(url, follow=True)
        self.assertEqual(response.redirect_chain, [(form, 302)])
        self.assertContains(response, "Purged from the page cache: 1")
        self.assertEqual(self.lines(), self.purged(self.leaflets[0]))
        self.assertEqual(self.client.get(url).status_code, 403)
        self.assertEqual(self.client.post(url.replace(f"/{self.leaflets[0].pk}/", "/7777/")).status_code, 404)
        self.assertNotContains(self.client.get("/admin/pagecache/leaflet/add/"), "pagecache-purge")

    def test_only_those_may_who_may_change_the_object(self):
        self.client.force_login(self.reader)
        url = f"/admin/pagecache/leaflet/{self.leaflets[0].pk}/purge/"
        self.assertEqual(self.client.post(url).status_code, 403)
        self.client.logout()
        self.assertEqual(self.client.post(url).status_code, 302)
        self.assertEqual(lines_of(), [])

    def test_what_was_not_purged(self):
        url = f"/admin/pagecache/leaflet/{self.leaflets[0].pk}/purge/"
        down = override_settings(CACHES={"default": site.DUMMY, "pages": site.cache_of("127.0.0.1:1")})
        with down, self.assertLogs("pagecache", "WARNING"):
            response = self.client.post(url, follow=True)
        self.assertContains(response, "127.0.0.1:1: ConnectionRefusedError")
        self.assertNotContains(response, "Purged from the page cache: ")
        with override_settings(PAGECACHE_KEY="/test-$scheme://$host$uri"), self.assertLogs("pagecache", "WARNING"):
            response = self.client.post(url, follow=True)
        self.assertContains(response, "$scheme is not known")


if __name__ == "__main__":
    unittest.main()
