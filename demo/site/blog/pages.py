"""The pages of the list, and the stored pages that a comment makes out of date."""

from django.conf import settings
from django.core.paginator import Paginator
from django.urls import reverse

from blog.models import Article
from pagecache.invalidate import invalidate, invalidate_object

ARTICLES_PER_PAGE = 5


def list_pages():
    return Paginator(Article.objects.all(), ARTICLES_PER_PAGE)


def drop_pages_with(article):
    """Drops the article's page, and the lists, which show the number of its comments."""
    first = reverse("articles")
    lists = [first, *(f"{first}?page={number}" for number in list_pages().page_range)]
    for host in settings.ALLOWED_HOSTS:  # each name has pages of its own
        where = {"scheme": "http", "host": host}
        invalidate_object(article, **where)
        invalidate(*lists, **where)
