"""The Django application behind nginx in the end-to-end tests.

Its file of requests proves which server answered: each request appends a line to the file named by E2E_REQUESTS
before its view runs. It knows nothing of nginx; its address and that of its memcached come from the environment:

    E2E_REQUESTS            the file that counts requests
    E2E_MEMCACHED           host:port or unix:/path
    E2E_STORES              set: the middleware stores every page in memcached
    PAGECACHE_KEY           nginx's pagecache_key
    PAGECACHE_IGNORE_ARGS   the arguments of nginx's pagecache_ignore_args
    PAGECACHE_FORMAT        the format in which pages are stored; bodies without a head if unset
    PAGECACHE_CONTENT_TYPE  nginx's default_type, and the Content-Type of the pages
"""

import hashlib
import itertools
import os
import time

import django
from django.conf import settings

CONTENT_TYPE = os.environ.get("PAGECACHE_CONTENT_TYPE", "text/html; charset=utf-8")
IGNORED_ARGS = os.environ["PAGECACHE_IGNORE_ARGS"].split()

MEMCACHED = {
    "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
    "LOCATION": os.environ["E2E_MEMCACHED"],
    "KEY_FUNCTION": "pagecache.key.raw_key",
}

settings.configure(
    ALLOWED_HOSTS=["*"],
    CACHES={"default": MEMCACHED, "pages": MEMCACHED},
    DATA_UPLOAD_MAX_MEMORY_SIZE=None,
    # fastcgi.conf passes a script name, which PHP needs; the paths remain those of the site.
    FORCE_SCRIPT_NAME="",
    INSTALLED_APPS=["pagecache"],
    MIDDLEWARE=[
        "pagecache.middleware.PageCacheMiddleware",
        # As in any new Django project; it adds the Content-Length, without which no connection is kept open.
        "django.middleware.common.CommonMiddleware",
        __name__ + ".count_requests",
    ],
    PAGECACHE_CONTENT_TYPE=CONTENT_TYPE,
    PAGECACHE_FORMAT=os.environ.get("PAGECACHE_FORMAT", "body"),
    PAGECACHE_IGNORE_ARGS="all" if IGNORED_ARGS == ["all"] else IGNORED_ARGS,
    PAGECACHE_KEY=os.environ["PAGECACHE_KEY"],
    PAGECACHE_ONLY_MARKED="E2E_STORES" not in os.environ,
    ROOT_URLCONF=__name__,
    SECRET_KEY="end-to-end tests only",
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
)
django.setup()

from django.core.cache import cache  # noqa: E402  (needs the settings)
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpResponse, QueryDict  # noqa: E402
from django.template import engines  # noqa: E402
from django.urls import path, re_path  # noqa: E402

from pagecache.middleware import page_cache  # noqa: E402

renders = itertools.count(1)


def count_requests(get_response):
    """Append one line per request: method, request URI, Content-Length, body length, SHA-256."""
    log = os.open(os.environ["E2E_REQUESTS"], os.O_WRONLY | os.O_APPEND)

    def middleware(request):
        meta, body = request.META, request.body
        fields = (
            request.method,
            meta["REQUEST_URI"],
            meta.get("CONTENT_LENGTH") or "-",
            str(len(body)),
            hashlib.sha256(body).hexdigest(),
        )
        # A single write in append mode: lines of several threads never mix.
        os.write(log, "\t".join(fields).encode("latin-1", "replace") + b"\n")
        response = get_response(request)
        response["X-Application"] = "django"
        return response

    return middleware


def page(request, **_):
    """The request that arrived, one `name=value` a line, and the number of this render."""
    meta, body = request.META, request.body
    fields = {
        "render": next(renders),
        "method": request.method,
        "path_info": request.path_info,
        "query_string": meta.get("QUERY_STRING", ""),
        "content_type": meta.get("CONTENT_TYPE", ""),
        "body_length": len(body),
        "body_sha256": hashlib.sha256(body).hexdigest(),
        # nginx's values of the lookup when it passed the request on.
        "seen_status": meta.get("SEEN_STATUS") or meta.get("HTTP_SEEN_STATUS", ""),
        "seen_reason": meta.get("SEEN_REASON") or meta.get("HTTP_SEEN_REASON", ""),
        "seen_key": meta.get("SEEN_KEY") or meta.get("HTTP_SEEN_KEY", ""),
    }
    text = "".join(f"{name}={value}\n" for name, value in fields.items())
    return HttpResponse(text, content_type=CONTENT_TYPE)


def safestring(request, name):
    """Store a rendered template with Django's own `cache.set`: a SafeString, so a pickle."""
    rendered = engines["django"].from_string("<p>{{ name }}</p>").render({"name": name})
    cache.set(request.path_info, rendered)
    return HttpResponse(rendered)


def slow(request, milliseconds):
    time.sleep(milliseconds / 1000)
    return HttpResponse(f"slept {milliseconds} ms")


def empty(request):
    return HttpResponse(b"", content_type=CONTENT_TYPE)


def big(request, length):
    return HttpResponse(b"0123456789abcdef" * (length // 16) + b"." * (length % 16))


def forward(request, target):
    """Leave the response to another location of nginx."""
    return HttpResponse(headers={"X-Accel-Redirect": "/" + target})


def redirect(request, target):
    return HttpResponse(status=302, headers={"Location": "/" + target})


def including(request, target):
    """Leave a part of the page to nginx's SSI."""
    return HttpResponse(f'before <!--# include virtual="/{target}" --> after')


def allow(request, verdict):
    """Answer nginx's auth_request: 204 or 403."""
    return HttpResponse(status=204 if verdict == "yes" else 403)


class Answer(HttpResponse):
    """These headers in this order, with names that may repeat, which Django's own response cannot have. Headers
    of its middleware follow them, unless they are among these."""

    said = ()

    def items(self):
        said = {name.lower() for name, _ in self.said}
        if "transfer-encoding" in said:
            said.add("content-length")
        return [*self.said, *(item for item in super().items() if item[0].lower() not in said)]


def answer(request, **_):
    """Answer as the query string says, with any bytes: status, reason, body, header=Name:value."""
    asked = QueryDict(request.META["QUERY_STRING"], encoding="latin-1")
    body = asked.get("body", "").encode("latin-1")
    response = Answer(body, status=int(asked["status"]), reason=asked.get("reason"))
    del response["Content-Type"]
    response.said = [tuple(header.split(":", 1)) for header in asked.getlist("header")]
    return response


urlpatterns = [
    path("stored/<path:name>", page_cache()(page)),
    path("safestring/<name>", safestring),
    path("slow/<int:milliseconds>", slow),
    path("empty", empty),
    path("big/<int:length>", big),
    path("forward/<path:target>", forward),
    path("redirect/<path:target>", redirect),
    path("including/<path:target>", including),
    path("allow/<verdict>", allow),
    path("answer/<path:name>", answer),
    re_path(r"", page),
]

application = get_wsgi_application()
