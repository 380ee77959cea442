"""What Django asks of the package: its name, and its system checks, which say what would otherwise be a silent 0 % of
hits."""

from __future__ import annotations

from django.apps import AppConfig

from pagecache import system_checks


class PagecacheConfig(AppConfig):
    name = "pagecache"
    verbose_name = "nginx page cache"

    def ready(self) -> None:
        system_checks.register_all()
