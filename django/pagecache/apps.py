"""Checks the settings once, when Django starts: a wrong one would otherwise be a silent 0 % of hits."""

from __future__ import annotations

from django.apps import AppConfig

from pagecache import conf, system_checks


class PagecacheConfig(AppConfig):
    name = "pagecache"
    verbose_name = "nginx page cache"

    def ready(self) -> None:
        conf.check()
        system_checks.register_all()
