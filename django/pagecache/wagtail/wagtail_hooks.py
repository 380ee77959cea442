"""The tags of each page that Wagtail serves. Wagtail imports this file by its name."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from wagtail import hooks
from wagtail.models import Page

from pagecache.tags import tag
from pagecache.wagtail import names


def tag_served_page(page: Page, request: HttpRequest, *_: Any) -> None:
    tag(request, *names.of_served(page, request.path))


hooks.register("before_serve_page", tag_served_page, order=-1000)  # before those that answer in place of the page
