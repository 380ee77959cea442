"""What `manage.py check` says of the page cache. What nginx could never find or would misread is no matter of
this file: `conf.py` lets Django not start with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.urls import get_resolver

from pagecache import conf
from pagecache.key import KeyPattern

HEADERS: dict[str, dict[str, str | None]] = {
    "django.middleware.security.SecurityMiddleware": {
        "X-Content-Type-Options": "SECURE_CONTENT_TYPE_NOSNIFF",
        "Referrer-Policy": "SECURE_REFERRER_POLICY",
        "Cross-Origin-Opener-Policy": "SECURE_CROSS_ORIGIN_OPENER_POLICY",
        "Strict-Transport-Security": "SECURE_HSTS_SECONDS",
    },
    "django.middleware.clickjacking.XFrameOptionsMiddleware": {"X-Frame-Options": None},
    "django.middleware.csp.ContentSecurityPolicyMiddleware": {
        "Content-Security-Policy": "SECURE_CSP",
        "Content-Security-Policy-Report-Only": "SECURE_CSP_REPORT_ONLY",
    },
    "csp.middleware.CSPMiddleware": {
        "Content-Security-Policy": "CONTENT_SECURITY_POLICY",
        "Content-Security-Policy-Report-Only": "CONTENT_SECURITY_POLICY_REPORT_ONLY",
    },
    "django.middleware.locale.LocaleMiddleware": {"Content-Language": None, "Vary": None},
    "django.contrib.sessions.middleware.SessionMiddleware": {"Vary": None},
    "django.middleware.http.ConditionalGetMiddleware": {"ETag": None},
    "django.middleware.cache.UpdateCacheMiddleware": {"Cache-Control": None, "Expires": None},
}
"""The headers that middlewares add to a page, each with the setting without which it is not added."""


def register_all() -> None:
    register(headers_that_are_lost)
    register(Tags.security, deploy=True)(host_in_key)


def headers_that_are_lost(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """With PAGECACHE_FORMAT = "body", a hit has none of the headers that Django gave the page."""
    if conf.stores_heads():
        return []
    names = ", ".join(dict.fromkeys(_headers_of_middlewares()))
    lost = f"{names}, and every header that views and other middlewares set" if names else "those that views set"
    return [
        Warning(
            f'PAGECACHE_FORMAT = "body" stores pages without their headers: hits lack {lost}.',
            hint='Use "head", or repeat them with add_header in nginx\'s location.',
            id="pagecache.W001",
        )
    ]


def _headers_of_middlewares() -> Iterator[str]:
    for middleware in settings.MIDDLEWARE:
        for header, setting in HEADERS.get(middleware, {}).items():
            if setting is None or getattr(settings, setting, None):
                yield header


def host_in_key(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Without `$host` in the key, a visitor of one of a site's names is served the page of another name, with
    its links."""
    names = {name.lower().removesuffix(".") for name in settings.ALLOWED_HOSTS}
    if len(names) < 2 and not any(name.startswith(("*", ".")) for name in names):
        return []
    return [
        Error(
            f'The key "{pattern}" has no $host, and ALLOWED_HOSTS allows more than one name: pages would be served '
            "under another name than they were made for.",
            hint='Use "$scheme://$host$uri$pagecache_args" in PAGECACHE_KEY and in nginx\'s pagecache_key, '
            "or allow one name alone.",
            id="pagecache.E001",
        )
        for pattern in _key_patterns_of_all_views()
        if not pattern.has_host
    ]


def _key_patterns_of_all_views() -> Iterator[KeyPattern]:
    if getattr(settings, "ROOT_URLCONF", None):
        get_resolver().url_patterns  # loads the views
    return conf.key_patterns()
