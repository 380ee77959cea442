"""Which tags are purged when objects change."""

import unittest
from unittest import mock

from django.db import connection, models
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_save
from django.test import override_settings

from pagecache.invalidate import (
    InvalidatingQuerySet,
    add_dependencies,
    invalidate_object,
    invalidate_on_save,
    invalidate_queryset,
    invalidate_tags,
)
from pagecache.key import NoKey
from pagecache.purges import batch, by
from pagecache.purges.target import hash_of
from tests.cases import PageCase
from tests.logs import lines_of

SIGNALS = (pre_save, post_save, post_delete, m2m_changed)


class Topic(models.Model):
    name = models.CharField(max_length=20, default="")

    class Meta:
        app_label = "pagecache"


class Story(models.Model):
    slug = models.CharField(max_length=20, default="")
    topics = models.ManyToManyField(Topic)

    objects = InvalidatingQuerySet.as_manager()

    class Meta:
        app_label = "pagecache"


class Report(Story):
    class Meta:
        app_label = "pagecache"

    def get_absolute_url(self):
        return f"/reports/{self.slug}/"


MODELS = (Topic, Story, Report)


class ObjectCase(PageCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with connection.schema_editor() as editor:
            for model in MODELS:
                editor.create_model(model)

    @classmethod
    def tearDownClass(cls):
        with connection.schema_editor() as editor:
            for model in reversed(MODELS):
                editor.delete_model(model)
        super().tearDownClass()

    def setUp(self):
        super().setUp()
        for signal in SIGNALS:
            self.addCleanup(signal.sender_receivers_cache.clear)
            self.addCleanup(setattr, signal, "receivers", signal.receivers)
            signal.receivers = []
            signal.sender_receivers_cache.clear()
        for patched in (mock.patch.object(by, "_dependencies", []), mock.patch("pagecache.conf.keys_of_views", set())):
            patched.start()
            self.addCleanup(patched.stop)

        for model in reversed(MODELS):
            models.QuerySet(model).delete()

    def assertPurges(self, change, *tags):
        """Also others than tags, as the log has them."""
        self.memcached.flush_all()
        change()
        targets = {tag if ":/" in tag else f"t:{hash_of('/test-', tag).decode()}" for tag in tags}
        lines = lines_of()
        self.assertEqual({line[2:] for line in lines}, targets)


class Objects(ObjectCase):
    def test_its_tag_and_that_of_its_class(self):
        story, report = Story.objects.create(), Report.objects.create(slug="a")
        of_story, of_report = f"pagecache.story:{story.pk}", f"pagecache.report:{report.pk}"
        self.assertPurges(lambda: invalidate_object(story), "pagecache.story", of_story)
        parents = ("pagecache.story", f"pagecache.story:{report.pk}")
        of_it = ("pagecache.report", of_report, *parents)
        self.assertPurges(lambda: invalidate_object(report), *of_it, "u:/test-/reports/a/")
        self.assertPurges(lambda: invalidate_tags(report), *of_it)
        self.assertPurges(lambda: invalidate_tags(Report), "pagecache.report")

    def test_a_url_without_a_key(self):
        report = Report(pk=7, id=7, slug="a")
        with override_settings(PAGECACHE_KEY="/test-$host$uri"):
            self.assertRaises(NoKey, invalidate_object, report)
            with override_settings(PAGECACHE_FILL="nginx"):
                tags = ("pagecache.report", "pagecache.report:7", "pagecache.story", "pagecache.story:7")
                self.assertPurges(lambda: invalidate_object(report), *tags)
                self.assertPurges(lambda: invalidate_object(report, host="a.test"), *tags, "u:/test-a.test/reports/a/")

    def test_what_else_shows_it(self):
        add_dependencies(Story, lambda story: [Topic(pk=3), Topic, f"list {story.slug}"])
        add_dependencies(Topic, lambda topic: 1 / 0)
        story = Story(pk=1, slug="a")
        others = ("pagecache.topic:3", "pagecache.topic", "list a")
        self.assertPurges(lambda: invalidate_object(story), "pagecache.story", "pagecache.story:1", *others)

    def test_what_is_no_model(self):
        class Page:
            def get_absolute_url(self):
                return "/a"

        self.assertPurges(lambda: invalidate_object(Page()), "u:/test-/a")


class OnSave(ObjectCase):
    def setUp(self):
        super().setUp()
        invalidate_on_save("pagecache.Story", Topic)

    def test_saved_and_deleted(self):
        story = Story.objects.create()
        tags = ("pagecache.story", f"pagecache.story:{story.pk}")
        self.assertPurges(story.save, *tags)
        self.assertPurges(story.delete, *tags)
        report = Report.objects.create(slug="b")
        of_report = ("pagecache.report", f"pagecache.report:{report.pk}", "pagecache.story", f"pagecache.story:{report.pk}")
        self.assertPurges(report.save, *of_report, "u:/test-/reports/b/")

    def test_relations(self):
        story, topics = Story.objects.create(), [Topic.objects.create() for _ in range(3)]
        of_story = ("pagecache.story", f"pagecache.story:{story.pk}")
        of_topics = [f"pagecache.topic:{topic.pk}" for topic in topics]
        for change, changed in (
            (lambda: story.topics.add(*topics[:2]), of_topics[:2]),
            (lambda: story.topics.remove(topics[0]), of_topics[:1]),
            (lambda: story.topics.set(topics[:1]), of_topics[:2]),
            (lambda: topics[2].story_set.add(story), of_topics[2:]),
            (lambda: story.topics.clear(), [of_topics[0], of_topics[2]]),
        ):
            self.assertPurges(change, *of_story, "pagecache.topic", *changed)
        story.topics.add(topics[0])
        self.assertPurges(topics[0].story_set.clear, *of_story, "pagecache.topic", of_topics[0])

    def test_no_trouble_of_pages_is_the_change_s(self):
        add_dependencies(Story, lambda story: 1 / 0)
        with self.assertLogs("pagecache", "WARNING") as logged:
            Story.objects.create().delete()
        self.assertEqual(len(logged.output), 2)
        self.assertIn("ZeroDivisionError", logged.output[0])


class QuerySets(ObjectCase):
    def setUp(self):
        super().setUp()
        self.stories = [Story.objects.create(slug=slug) for slug in "aab"]
        self.tags = [f"pagecache.story:{story.pk}" for story in self.stories]

    def test_changes_without_signals(self):
        of_a = Story.objects.filter(slug="a")
        tags = ("pagecache.story", *self.tags[:2])
        self.assertPurges(lambda: invalidate_queryset(of_a), *tags)
        self.assertPurges(lambda: invalidate_queryset(of_a.order_by("pk")[:1]), *tags[:2])
        self.assertPurges(lambda: of_a.update(slug="c"), *tags)
        self.assertEqual(Story.objects.filter(slug="c").count(), 2)
        for story in self.stories[1:]:
            story.slug = "d"
        self.assertPurges(lambda: Story.objects.bulk_update(self.stories[1:], ["slug"]), "pagecache.story", *self.tags[1:])
        self.assertPurges(Story.objects.filter(slug="d").delete, "pagecache.story", *self.tags[1:])
        self.assertFalse(Story.objects.filter(slug="d").exists())

    def test_new_objects(self):
        self.memcached.flush_all()
        created = Story.objects.bulk_create([Story(slug="x"), Story(slug="y")])
        expected = [f"s t:{hash_of('/test-', 'pagecache.story').decode()}"]
        expected += [f"s t:{hash_of('/test-', f'pagecache.story:{story.pk}').decode()}" for story in created if story.pk]
        self.assertEqual(lines_of(), expected)

    def test_very_many(self):
        self.memcached.flush_all()
        with mock.patch("pagecache.querysets.TARGETS_MOST", 2):
            Story.objects.all().update(slug="c")
        self.assertEqual(lines_of(), ["s *"])
        self.assertGreater(batch.TARGETS_MOST, 2)

    def test_a_manager_has_no_delete(self):
        self.assertFalse(hasattr(Story.objects, "delete"))
        self.assertTrue(Story.objects.update.alters_data)


if __name__ == "__main__":
    unittest.main()
