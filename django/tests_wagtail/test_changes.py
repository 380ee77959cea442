"""What an editor changes is fresh for the next visitor: each row is a change, and the pages that show it. Whether a page
is purged is decided by its key and its tags, as its response has them, and by the log that was written."""

import io
import unittest
from unittest import mock

from tests_wagtail.visits import VisitCase, Visitor

from django.contrib.auth import get_user_model
from django.core.files.images import ImageFile
from django.db import transaction
from django.urls import reverse
from PIL import Image as Pixels
from wagtail.images.models import Image
from wagtail.models import Locale, Page, PageViewRestriction, Site

from pagecache.invalidate import invalidate_queryset
from pagecache.wagtail.purge import invalidate_pages
from tests_wagtail.blog.models import Author, Footer, Post, Section


def picture(color):
    file = io.BytesIO()
    Pixels.new("RGB", (40, 40), color).save(file, "PNG")
    return ImageFile(file, f"{color}.png")


class ChangeCase(VisitCase):
    """/news/ lists the posts a, b, ... e; /other/ lists the post x."""

    def setUp(self):
        super().setUp()
        self.home = Page.objects.get(depth=2, slug="home")
        self.addCleanup(self.remove)
        self.news, self.other = (self.add(self.home, Section, slug) for slug in ("news", "other"))
        self.posts = {slug: self.add(self.news, Post, slug) for slug in "abcde"}
        self.x = self.add(self.other, Post, "x")
        for parent in (self.home, self.news, self.other):  # treebeard counts their children in the database
            parent.refresh_from_db()

    def remove(self):
        for page in Page.objects.get(pk=self.home.pk).get_children():
            page.delete()

    def add(self, parent, model, slug, **fields):
        return Page.objects.get(pk=parent.pk).add_child(instance=model(title=f"The {slug}", slug=slug, **fields)).specific

    def edit(self, page, **fields):
        for name, value in fields.items():
            setattr(page, name, value)
        return page.save_revision()


LIST = ("/news/", "/news/?page=2", "/news/?page=3", "/news/?utm_source=mail", "/news/?unknown=1")


class Pages(ChangeCase):
    def test_publish(self):
        revision = self.edit(self.posts["a"], title="New")
        with self.purges(*LIST, "/", "/news/a/", "/news/a/?utm_source=mail", "/news/a/?b=1", keeps=["/news/b/", "/other/"]):
            revision.publish()
        self.assertIn("<h1>New</h1>", self.stored("/news/a/").body)

    def test_publish_of_a_new_page(self):
        page = Post(title="New", slug="new", live=False)
        self.assertPurgesNothing(lambda: self.news.add_child(instance=page))
        revision = page.save_revision()
        with self.purges(*LIST, keeps=["/other/", "/news/a/"]):
            revision.publish()
        # What was stored when there was no page.
        self.assertIn(b"u:http://localhost/news/new/", [line.split()[2] for line in self.lines()])

    def test_drafts(self):
        self.assertPurgesNothing(lambda: self.edit(self.posts["a"], title="Not yet", slug="not-yet"))

    def test_a_save_without_a_revision(self):
        page = self.posts["a"]
        page.title = "By a script"
        with self.purges(*LIST, "/news/a/"):
            page.save()

    def test_made_a_draft_by_a_script(self):
        page = self.posts["a"]
        page.live = False
        with self.purges(*LIST, hard=["/news/a/"], keeps=["/news/b/", "/other/"]):
            page.save()

    def test_unpublish(self):
        with self.purges(*LIST, hard=["/news/a/", "/news/a/?b=1"], keeps=["/news/b/", "/other/"]):
            self.posts["a"].unpublish()

    def test_delete(self):
        with self.purges(*LIST, hard=["/news/a/"], keeps=["/news/b/", "/other/"]):
            self.posts["a"].delete()

    def test_delete_of_a_section(self):
        with self.purges("/", hard=[*LIST, "/news/a/", "/news/e/"], keeps=["/other/", "/other/x/"]):
            Page.objects.get(pk=self.news.pk).delete()
        PageViewRestriction.objects.create(page=self.other, restriction_type="login")
        with self.purges("/"):
            Page.objects.get(pk=self.other.pk).delete()

    def test_its_slug(self):
        revision = self.edit(self.posts["a"], slug="z")
        with self.purges(*LIST, "/news/a/", keeps=["/other/"]):
            revision.publish()
        self.stored("/news/z/")

    def test_the_slug_of_its_parent(self):
        revision = self.edit(self.news, slug="new-s")
        with self.purges(*LIST, "/", "/news/a/", "/news/e/?b=1", keeps=["/other/", "/other/x/"]):
            revision.publish()
        targets = {line.split()[2] for line in self.lines()}
        self.assertLessEqual({b"k:http://localhost/news/", b"k:http://localhost/new-s/"}, targets)
        self.stored("/new-s/a/")

    def test_move(self):
        with self.purges(*LIST, "/other/", hard=["/news/a/"], keeps=["/news/b/", "/other/x/"]):
            self.posts["a"].move(self.other, pos="last-child")
        with self.purges("/", "/other/", hard=["/news/", "/news/b/"], keeps=["/other/x/"]):
            Page.objects.get(pk=self.news.pk).move(Page.objects.get(pk=self.other.pk), pos="last-child")
        self.stored("/other/news/b/")

    def test_order_of_a_list(self):
        with self.purges(*LIST, keeps=["/news/b/", "/other/"]):
            self.posts["e"].move(self.posts["a"], pos="left")
        # The paths in the database have changed, of all pages of the list.
        with self.purges(*LIST, "/news/b/", keeps=["/news/a/", "/news/c/"]):
            self.posts["b"].refresh_from_db()
            self.posts["b"].save_revision().publish()

    def test_made_private_and_public(self):
        with self.purges("/", hard=[*LIST, "/news/a/", "/news/b/?c=1"], keeps=["/other/", "/other/x/"]):
            restriction = PageViewRestriction.objects.create(page=self.news, restriction_type="login")
        private = Visitor().get("/news/a/", headers={"Host": "localhost"})
        self.assertEqual((private.status_code, private["CDN-Cache-Control"]), (302, "no-store"))
        for change in (restriction.save, restriction.delete):
            self.memcached.flush_all(noreply=False)
            change()
            self.assertTrue(any(line[:1] == b"h" for line in self.lines()))
        self.stored("/news/a/")

    def test_a_queryset(self):
        posts = Post.objects.filter(slug__in="ab")
        with self.purges("/news/a/", "/news/b/?c=1", keeps=["/news/c/", "/other/x/"]):
            with transaction.atomic():
                invalidate_queryset(posts)
                posts.update(title="Together")
                self.assertEqual(self.lines(), [])

    def test_a_rollback(self):
        def change():
            with transaction.atomic():
                self.edit(self.posts["a"], title="No").publish()
                transaction.set_rollback(True)

        self.assertPurgesNothing(change)

    def test_aliases(self):
        self.posts["a"].create_alias(parent=self.other, update_slug="alias")
        revision = self.edit(self.posts["a"], title="New")
        with self.purges(*LIST, "/news/a/", "/other/", "/other/alias/", keeps=["/other/x/"]):
            revision.publish()
        with self.purges("/other/", hard=["/news/a/", "/other/alias/"]):
            self.posts["a"].unpublish()

    def test_translations(self):
        german = Locale.objects.get_or_create(language_code="de")[0]
        self.addCleanup(german.delete)
        for page in (self.home, self.news):
            page.copy_for_translation(german).save_revision().publish()
        home = Page.objects.get(translation_key=self.home.translation_key, locale=german)
        site = Site.objects.create(hostname="de.localhost", port=80, root_page=home)
        self.addCleanup(home.delete)
        self.addCleanup(site.delete)
        with self.purges("/news/", ("/", "de.localhost"), ("/news/", "de.localhost"), keeps=["/other/"]):
            self.edit(self.news, title="New").publish()

    def test_several_sites(self):
        with self.purges("/", ("/", "second.test")):  # of the default site
            site = Site.objects.create(hostname="second.test", port=80, root_page=self.news)
        self.addCleanup(site.delete)
        revision = self.edit(self.posts["a"], title="New")
        with self.purges("/news/a/", ("/a/", "second.test"), ("/?page=2", "second.test"), keeps=["/news/b/"]):
            revision.publish()
        targets = {line.split()[2] for line in self.lines()}
        self.assertLessEqual({b"u:http://localhost/news/a/", b"u:http://second.test/a/"}, targets)
        with self.purges("/news/b/", ("/b/", "second.test")):
            site.site_name = "Second"
            site.save()


    def test_urls_of_its_own(self):
        def paths(page):
            return ["/", "/feed/"] if page.slug == "a" else ["/"]

        revision = self.edit(self.posts["a"], title="New")
        self.memcached.flush_all(noreply=False)
        with mock.patch.object(Post, "get_cached_paths", paths):
            revision.publish()
        self.assertIn(b"u:http://localhost/news/a/feed/", [line.split()[2] for line in self.lines()])

    def test_very_many(self):
        self.memcached.flush_all(noreply=False)
        with mock.patch("pagecache.wagtail.purge.TARGETS_MOST", 4):
            invalidate_pages(*list(self.posts.values())[:4])
            self.assertNotIn(b"*", [line.split()[2] for line in self.lines()])
            invalidate_pages(*self.posts.values())
        self.assertIn(b"*", [line.split()[2] for line in self.lines()])


class Shown(ChangeCase):
    def setUp(self):
        super().setUp()
        self.image = Image.objects.create(title="A picture", file=picture("red"))
        self.author = Author.objects.create(name="Anna", photo=self.image)
        self.edit(self.posts["a"], photo=self.image).publish()
        self.edit(self.posts["b"], author=self.author).publish()
        self.edit(self.posts["c"], text=f'<a linktype="page" id="{self.x.pk}">x</a>').publish()

    def test_image(self):
        # b shows the author, who has the image.
        with self.purges(*LIST, "/news/a/", "/news/a/?b=1", "/news/b/", keeps=["/news/c/", "/other/"]):
            self.image.file = picture("blue")
            self.image.save()
        with self.purges(*LIST, "/news/a/", "/news/b/", keeps=["/news/c/", "/other/"]):
            self.image.delete()

    def test_the_hash_that_a_page_asks_for(self):
        self.assertPurgesNothing(lambda: self.image.save(update_fields=["file_hash"]))

    def test_snippet(self):
        with self.purges(*LIST, "/news/b/", keeps=["/news/a/", "/other/"]):
            self.author.name = "Berta"
            self.author.save()
        self.author.name = "Not yet"
        revision = self.assertPurgesNothing(self.author.save_revision)
        with self.purges("/news/b/", keeps=["/news/a/", "/other/"]):
            revision.publish()
        self.author.refresh_from_db()
        for change in (self.author.unpublish, self.author.delete):
            with self.purges("/news/b/", keeps=["/news/a/", "/other/"]):
                change()

    def test_setting(self):
        footer = Footer.for_site(Site.objects.get())
        with self.purges("/", "/news/a/", "/other/x/"):
            footer.text = "New"
            footer.save()


class Admin(ChangeCase):
    """The forms of Wagtail's admin make the same changes."""

    def setUp(self):
        super().setUp()
        user = get_user_model().objects.create_superuser("editor", "editor@example.com", "a")
        self.addCleanup(user.delete)
        self.editor = Visitor(headers={"Host": "localhost"})
        self.editor.force_login(user)

    def post(self, view, *args, **fields):
        response = self.editor.post(reverse(view, args=args), fields)
        self.assertEqual(response.status_code, 302, response.content.decode())

    def test_a_draft_and_its_publication(self):
        page = self.posts["a"]
        fields = {"title": "By hand", "slug": "a", "text": "null", "comments-TOTAL_FORMS": 0, "comments-INITIAL_FORMS": 0}
        self.assertPurgesNothing(lambda: self.post("wagtailadmin_pages:edit", page.pk, **fields))
        fields["action-publish"] = "action-publish"
        with self.purges(*LIST, "/news/a/", keeps=["/news/b/", "/other/"]):
            self.post("wagtailadmin_pages:edit", page.pk, **fields)
        self.assertIn("By hand", self.stored("/news/").body)

    def test_a_draft_that_was_never_published(self):
        page = self.add(self.news, Post, "new", live=False)
        fields = {"title": "By hand", "slug": "new", "text": "null", "comments-TOTAL_FORMS": 0, "comments-INITIAL_FORMS": 0}
        self.assertPurgesNothing(lambda: self.post("wagtailadmin_pages:edit", page.pk, **fields))
        fields["slug"] = "newer"
        self.assertPurgesNothing(lambda: self.post("wagtailadmin_pages:add", "blog", "post", self.news.pk, **fields))

    def test_privacy(self):
        fields = {"restriction_type": "password", "password": "secret"}
        with self.purges("/", hard=["/news/", "/news/a/"], keeps=["/other/"]):
            response = self.editor.post(reverse("wagtailadmin_pages:set_privacy", args=[self.news.pk]), fields)
            self.assertEqual(response.json()["step"], "set_privacy_done")

    def test_editors_see_their_own_pages(self):
        self.assertEqual(self.editor.get("/news/")["CDN-Cache-Control"], "no-store")


if __name__ == "__main__":
    unittest.main()
