"""A blog: lists of pages, and pages with an image and a snippet."""

from django.core.paginator import Paginator
from django.db import models
from wagtail.contrib.settings.models import BaseSiteSetting, register_setting
from wagtail.fields import RichTextField
from wagtail.models import DraftStateMixin, Page, RevisionMixin
from wagtail.snippets.models import register_snippet


@register_snippet
class Author(DraftStateMixin, RevisionMixin, models.Model):
    name = models.CharField(max_length=50)
    photo = models.ForeignKey("wagtailimages.Image", models.SET_NULL, null=True, blank=True, related_name="+")
    panels = ["name", "photo"]


@register_setting
class Footer(BaseSiteSetting):
    text = models.CharField(max_length=50)


class Section(Page):
    def get_context(self, request):
        posts = Paginator(self.get_children().live().specific(), 2)
        return {**super().get_context(request), "posts": posts.get_page(request.GET.get("page"))}


class Post(Page):
    text = RichTextField(blank=True)
    author = models.ForeignKey(Author, models.SET_NULL, null=True, blank=True, related_name="+")
    photo = models.ForeignKey("wagtailimages.Image", models.SET_NULL, null=True, blank=True, related_name="+")
    content_panels = [*Page.content_panels, "text", "author", "photo"]
