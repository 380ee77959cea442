"""The messages of `manage.py check` about the page cache. The site works in spite of each; errors are only raised with
`--deploy`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.conf.urls.i18n import is_language_prefix_patterns_used
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.urls import get_resolver

from pagecache import before, client, conf, problems
from pagecache.key import KeyPattern

LOCALE = "django.middleware.locale.LocaleMiddleware"

HEADERS: dict[str, dict[str, str | None]] = {
    before.SECURITY: {
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
    LOCALE: {"Content-Language": None, "Vary": None},
    before.CORS: {"Access-Control-Allow-Origin": None, "Vary": None},
    "django.contrib.sessions.middleware.SessionMiddleware": {"Vary": None},
    "django.middleware.http.ConditionalGetMiddleware": {"ETag": None},
    "django.middleware.cache.UpdateCacheMiddleware": {"Cache-Control": None, "Expires": None},
}
"""The headers that middlewares add to a page, each with the setting that enables it."""


def register_all() -> None:
    register(settings_that_are_wrong)
    register(cache_that_nginx_does_not_read)
    register(headers_that_are_lost)
    register(headers_from_before)
    register(pages_that_vary)
    register(Tags.security, deploy=True)(host_in_key)
    register(Tags.caches, deploy=True)(nothing_is_stored)


def settings_that_are_wrong(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    _load_views()
    wrong = [Warning(problem.text, hint=_NOTHING_IS_STORED, id=problem.id) for problem in problems.problems()]
    return [*wrong, *(Warning(problem.text, id=problem.id) for problem in problems.problems_of_views())]


_NOTHING_IS_STORED = "As long as this is so, no page is stored."


def nothing_is_stored(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    if conf.enabled() is False:
        return [Warning("PAGECACHE_ENABLED is False: no page is stored.", id="pagecache.W011")]
    ids = sorted({problem.id for problem in problems.problems()})
    if not ids:
        return []
    return [Error(f"No page is stored: see {', '.join(ids)}.", id="pagecache.E002")]


def cache_that_nginx_does_not_read(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """A cache other than memcached stores pages as well, but nginx never serves them."""
    alias = conf.cache_alias()
    if conf.enabled() is False or alias not in settings.CACHES:
        return []
    try:
        place = client.place_unknown_to_nginx(conf.cache())
    except Exception:  # reported as a problem of its own
        return []
    if place is None:
        return []
    return [
        Warning(
            f'CACHES["{alias}"] has the BACKEND "{settings.CACHES[alias]["BACKEND"]}", which keeps its items {place}: nginx '
            "reads memcached alone, and serves no page.",
            hint=f'Give CACHES["{alias}"] the PyMemcacheCache or PyLibMCCache of django.core.cache.backends.memcached as '
            "its BACKEND, and the servers that nginx asks as its LOCATION, or have PAGECACHE_CACHE name a cache that is so. "
            "Where no page is to be stored, as in development, set PAGECACHE_ENABLED = False.",
            id="pagecache.W014",
        )
    ]


def headers_from_before(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """With PAGECACHE_FILL = "django", a middleware before PageCacheMiddleware adds its headers to responses after they were stored."""
    found: list[CheckMessage] = []
    if conf.is_filled_by_nginx():  # which stores responses with all their headers
        return found
    for middleware in before.preceding():
        names = ", ".join(_headers_of(middleware))
        if names:
            hint = f'Put it behind "{conf.MIDDLEWARE}", or repeat them with add_header in nginx\'s location.'
            if middleware == before.CORS:
                hint = (
                    f'Put it behind "{conf.MIDDLEWARE}", set PAGECACHE_IGNORE_VARY = ["Origin"], and have nginx look up '
                    "nothing for other sites: pagecache_bypass $http_origin."
                )
            text = f'MIDDLEWARE has "{middleware}" before "{conf.MIDDLEWARE}": hits lack {names}.'
            found.append(Warning(text, hint=hint, id="pagecache.W010"))
    return found


def pages_that_vary(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Middlewares that prevent pages from being stored, which the site may not know."""
    if not conf.has_middleware():
        return []
    found: list[CheckMessage] = []
    behind = list(settings.MIDDLEWARE)[list(settings.MIDDLEWARE).index(conf.MIDDLEWARE) :]
    if LOCALE in behind and getattr(settings, "ROOT_URLCONF", None):
        has_prefixes, has_default_prefix = is_language_prefix_patterns_used(settings.ROOT_URLCONF)
        which = "No page" if not has_prefixes else "No page of the default language" if not has_default_prefix else None
        if which:
            text = (
                f'{which} is stored: by "{LOCALE}" a page whose URL has no language prefix is in the language that a '
                'browser asks for, and has "Vary: Accept-Language".'
            )
            hint = "Give each language URLs of its own, the default language, too: i18n_patterns(...) in ROOT_URLCONF."
            found.append(Warning(text, hint=hint, id="pagecache.W012"))
    if before.CORS in behind and "origin" not in conf.ignored_vary():
        text = f'No page is stored: "{before.CORS}" gives each one "Vary: origin".'
        hint = 'Set PAGECACHE_IGNORE_VARY = ["Origin"], and give nginx "pagecache_bypass $http_origin;".'
        found.append(Warning(text, hint=hint, id="pagecache.W013"))
    return found


def headers_that_are_lost(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """With PAGECACHE_FORMAT = "body", a hit has none of the headers that Django set on the page."""
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
        yield from _headers_of(middleware)


def _headers_of(middleware: str) -> Iterator[str]:
    for header, setting in HEADERS.get(middleware, {}).items():
        if setting is None or getattr(settings, setting, None):
            yield header


def host_in_key(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Without `$host` in the key, a visitor of one of a site's names gets the page of another name, with its links."""
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
    _load_views()
    try:
        yield from conf.key_patterns()
    except ImproperlyConfigured:  # reported as a problem of its own
        return


def _load_views() -> None:
    if getattr(settings, "ROOT_URLCONF", None):
        get_resolver().url_patterns
