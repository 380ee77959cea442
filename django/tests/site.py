"""A Django site of one file with its own memcached: what the tests store pages of, and into."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import django
from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.template import engines
from django.template.response import TemplateResponse
from django.urls import path, re_path
from django.utils.cache import patch_cache_control, patch_vary_headers
from django.utils.functional import SimpleLazyObject
from django.utils.safestring import mark_safe
from django.views.decorators.cache import cache_page, never_cache
from django.views.decorators.vary import vary_on_cookie

from tests.processes import Memcached

MEMCACHED = Memcached().address


def cache_of(*servers, backend="PyMemcacheCache", **options):
    """One of CACHES, for pages."""
    return {
        "BACKEND": f"django.core.cache.backends.memcached.{backend}",
        "LOCATION": list(servers),
        "KEY_FUNCTION": "pagecache.key.raw_key",
        "OPTIONS": options,
    }


DUMMY = {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}

settings.configure(
    ALLOWED_HOSTS=["*"],
    CACHES={"default": DUMMY, "pages": cache_of(MEMCACHED)},
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
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


def query(request):
    """Each way to the query that a page may be made of."""
    scope = getattr(request, "scope", {})
    ways = [
        *(request.get_full_path(), request.get_full_path_info(), request.build_absolute_uri(), request.GET.urlencode()),
        *(request.META["QUERY_STRING"], request.META.get("REQUEST_URI", ""), request.META.get("RAW_URI", "")),
        *(scope.get("query_string", b"").decode(), (scope.get("raw_path") or b"").decode()),
    ]
    return HttpResponse("\n".join(ways))


def template(request):
    return TemplateResponse(request, engines["django"].from_string("a {{ what }}"), {"what": "template"})


def with_header(request, name, value):
    return HttpResponse("a page", headers={name: value})


def with_headers(request, one, value, other, other_value):
    return HttpResponse("a page", headers={one: value, other: other_value})


def with_status(request, status):
    return HttpResponse(f"status {status}", status=status)


def redirect(request, status):
    return HttpResponse(status=status, headers={"Location": request.GET["to"]})


def missing(request):
    raise Http404("no such page")


def with_cookie(request):
    response = HttpResponse("a page")
    response.set_cookie("a", "b")
    return response


def with_session(request):
    request.session["seen"] = True
    return HttpResponse("a page")


@vary_on_cookie
def price(request):
    return HttpResponse("in " + request.COOKIES.get("currency", "USD"))


async def asynchronous(request):
    return HttpResponse("an asynchronous page")


def with_message(request):
    messages.info(request, "you are ada")
    return HttpResponse("a page")


def messages_of(request):
    """The messages that wait, in a template's usual words."""
    template = "messages: {% if messages %}{% for message in messages %}{{ message }};{% endfor %}{% endif %}"
    return template_of(template, messages=messages.get_messages(request))


def with_shown_message(request):
    messages.error(request, "coupon ADA-1 is not valid")
    return messages_of(request)


def looped_messages(request):
    template = "messages: {% for message in messages %}{{ message }}{% endfor %}"
    return template_of(template, messages=messages.get_messages(request))


def counted_messages(request):
    return template_of("{{ messages|length }} wait", messages=messages.get_messages(request))


def template_of(text, **context):
    return HttpResponse(engines["django"].from_string(text).render(context))


OF_MESSAGES = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]


def with_nonce(request):
    return HttpResponse(f"<script nonce={request.csp_nonce}>")


def middleware(change_request=None, change_response=None):
    """A middleware of one change."""

    def with_next(get_response):
        def answer(request):
            if change_request:
                change_request(request)
            response = get_response(request)
            if change_response:
                change_response(response)
            return response

        return answer

    return with_next


def known_user(request):
    request.user = AUTHENTICATED


def broken_user(request):
    request.user = type("User", (), {"is_authenticated": property(lambda _: 1 / 0)})()


def lazy_user(request):
    request.user = SimpleLazyObject(lambda: AUTHENTICATED)


def looked_up_user(request):
    lazy_user(request)
    bool(request.user.is_authenticated)


AUTHENTICATED = SimpleNamespace(is_authenticated=True)

def put_back(request):
    request.META["QUERY_STRING"] = "utm_source=evil"


_numbers = itertools.count()


def unavailable(get_response):
    return lambda request: HttpResponse("later", status=503)


a_cookie = middleware(change_response=lambda response: response.set_cookie("a", "b"))
a_look_at_the_query = middleware(lambda request: request.GET)
a_query_put_back = middleware(put_back)
a_vary = middleware(change_response=lambda response: patch_vary_headers(response, ["Accept-Language"]))
a_lifetime = middleware(change_response=lambda response: patch_cache_control(response, max_age=30))
a_number = middleware(change_response=lambda response: response.headers.__setitem__("X-Number", str(next(_numbers))))
a_long_header = middleware(change_response=lambda response: response.headers.__setitem__("X-A", "a" * 65536))
a_broken_header = middleware(change_response=lambda response: response.headers._store.update(a=("a", "日")))
of_a_token = middleware(known_user)
of_a_broken_token = middleware(broken_user)
not_looked_up = middleware(lazy_user)
a_nonce = middleware(lambda request: setattr(request, "_csp_nonce", SimpleLazyObject(lambda: "abc")))
a_used_nonce = middleware(lambda request: setattr(request, "_csp_nonce", "abc"))
by_a_lazy_look = middleware(looked_up_user)
by_an_asynchronous_look = middleware(lambda request: setattr(request, "_acached_user", AUTHENTICATED))


urlpatterns = [
    path("safe-string/", lambda request: HttpResponse(mark_safe("größe"))),
    path("template/", template),
    path("query/", query),
    path("minute-of-query/", page_cache(timeout=60)(query)),
    path("search/", page_cache(key="/test-search-$uri?$arg_q")(query)),
    path("large/", lambda request: HttpResponse("x" * 2_000_000)),
    path("lines/", lambda request: HttpResponse("a line of the page\n" * 500)),
    path("empty/", lambda request: HttpResponse()),
    path("header/<name>/<path:value>", with_header),
    path("headers/<one>/<value>/<other>/<path:other_value>", with_headers),
    path("cached/", cache_page(100)(page)),
    path("status/<int:status>/", with_status),
    path("redirect/<int:status>/", redirect),
    path("missing/", missing),
    path("cookie/", with_cookie),
    path("csrf/", lambda request: HttpResponse(get_token(request))),
    path("session/", with_session),
    path("look-at-session/", lambda request: HttpResponse(request.session.get("seen", "no"))),
    path("stream/", lambda request: StreamingHttpResponse([b"a page"])),
    path("price/", price),
    path("never/", never_cache(page)),
    path("minute/", page_cache(timeout=60)(page)),
    path("other-key/", page_cache(key="/other-$request_uri")(page)),
    path("decorated-template/", page_cache()(template)),
    path("decorated-async/", page_cache()(asynchronous)),
    path("decorated-csrf/", page_cache()(lambda request: HttpResponse(get_token(request)))),
    path("decorated-message/", page_cache()(with_message)),
    path("message/", with_message),
    path("messages/", messages_of),
    path("shown-message/", with_shown_message),
    path("looped-messages/", looped_messages),
    path("counted-messages/", counted_messages),
    path("nonce/", with_nonce),
    path("decorated-session/", page_cache()(with_session)),
    re_path("^(.*)$", page),
]
