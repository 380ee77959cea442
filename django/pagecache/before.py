"""The middlewares that are allowed before PageCacheMiddleware.

A middleware before it changes a response after it was stored, so hits lack the change. A middleware is not allowed
there if it adds data of one visitor that the page does not show, such as a cookie or another Vary: the page would be
stored as if it were for everybody. Nor is one whose change a page needs. A middleware is allowed if it only observes,
if it responds itself, or if its change concerns only the one response.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings

from pagecache import conf

GZIP = "django.middleware.gzip.GZipMiddleware"
SECURITY = "django.middleware.security.SecurityMiddleware"
CORS = "corsheaders.middleware.CorsMiddleware"

_OPENTELEMETRY = "opentelemetry.instrumentation.django.middleware."

ALLOWED = {
    _OPENTELEMETRY + "otel_middleware._DjangoMiddleware": "watches; a header of it names the trace of one answer",
    _OPENTELEMETRY + "sqlcommenter_middleware.SqlCommenter": "watches",
    "django_prometheus.middleware.PrometheusBeforeMiddleware": "watches",
    "whitenoise.middleware.WhiteNoiseMiddleware": "answers by itself, and leaves pages as they are",
    SECURITY: "redirects by itself; its headers are the same for everybody, and hits lack them",
    CORS: "answers a preflight by itself; its headers are for other sites' requests, and hits lack them",
    GZIP: "packs a page for one browser; what is stored is not packed by it",
}
"""Each with the reason."""


def preceding() -> list[str]:
    """The middlewares before PageCacheMiddleware."""
    names = list(settings.MIDDLEWARE)
    return names[: names.index(conf.MIDDLEWARE)] if conf.MIDDLEWARE in names else []


def not_allowed() -> Iterator[str]:
    own = conf.allowed_before()
    return (name for name in preceding() if name not in ALLOWED and name not in own)
