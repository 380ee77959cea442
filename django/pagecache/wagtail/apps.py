"""The Django application: it connects the signals."""

from __future__ import annotations

from django.apps import AppConfig


class PagecacheWagtailConfig(AppConfig):
    name = "pagecache.wagtail"
    label = "pagecache_wagtail"
    verbose_name = "nginx page cache for Wagtail"

    def ready(self) -> None:
        from pagecache.wagtail import on_change  # it imports models

        on_change.connect()
