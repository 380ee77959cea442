"""A Django site of one file with its own memcached: what the tests store pages of, and into."""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import time

import django
from django.conf import settings
from django.http import HttpResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.template import engines
from django.template.response import TemplateResponse
from django.urls import path, re_path
from django.utils.safestring import mark_safe
from django.views.decorators.cache import never_cache

READY_SECONDS = 10


def start_memcached() -> str:
    """Starts memcached on a free port, to be ended with the tests, and returns its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["memcached", "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-m", "64"]
    if os.geteuid() == 0:
        command += ["-u", "nobody"]
    process = subprocess.Popen(command)
    atexit.register(process.wait)
    atexit.register(process.terminate)
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return f"127.0.0.1:{port}"
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


MEMCACHED = start_memcached()

settings.configure(
    ALLOWED_HOSTS=["*"],
    CACHES={
        "default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
        "pages": {
            "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
            "LOCATION": MEMCACHED,
            "KEY_FUNCTION": "pagecache.key.raw_key",
        },
    },
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=["pagecache"],
    MIDDLEWARE=[
        "pagecache.middleware.PageCacheMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
    ],
    PAGECACHE_KEY="/test-$uri$is_args$args",
    ROOT_URLCONF="tests.site",
    SECRET_KEY="of the tests",
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
)
django.setup()

from pagecache.middleware import page_cache  # noqa: E402  (needs the settings)


def page(request, *_):
    return HttpResponse(f"page {request.get_full_path()}")


def template(request):
    return TemplateResponse(request, engines["django"].from_string("a {{ what }}"), {"what": "template"})


def with_header(request, name, value):
    return HttpResponse("a page", headers={name: value})


def with_cookie(request):
    response = HttpResponse("a page")
    response.set_cookie("a", "b")
    return response


def with_session(request):
    request.session["seen"] = True
    return HttpResponse("a page")


urlpatterns = [
    path("safe-string/", lambda request: HttpResponse(mark_safe("größe"))),
    path("template/", template),
    path("large/", lambda request: HttpResponse("x" * 2_000_000)),
    path("empty/", lambda request: HttpResponse()),
    path("header/<name>/<path:value>", with_header),
    path("cookie/", with_cookie),
    path("csrf/", lambda request: HttpResponse(get_token(request))),
    path("session/", with_session),
    path("look-at-session/", lambda request: HttpResponse(request.session.get("seen", "no"))),
    path("missing/", lambda request: HttpResponse("gone", status=404)),
    path("stream/", lambda request: StreamingHttpResponse([b"a page"])),
    path("never/", never_cache(page)),
    path("minute/", page_cache(timeout=60)(page)),
    path("decorated-template/", page_cache()(template)),
    path("decorated-csrf/", page_cache()(lambda request: HttpResponse(get_token(request)))),
    path("decorated-session/", page_cache()(with_session)),
    re_path("^(.*)$", page),
]
