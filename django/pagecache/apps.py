"""The Django application: the name of the package, and its system checks, which report mistakes that would otherwise
only show as a hit rate of 0 %."""

from __future__ import annotations

from django.apps import AppConfig

from pagecache import system_checks


class PagecacheConfig(AppConfig):
    name = "pagecache"
    verbose_name = "nginx page cache"

    def ready(self) -> None:
        system_checks.register_all()
