"""Pages that Django renders and does not store. Their headers say whether a cache may store them, and for how
long. nginx reads these headers: see pagecache_store in demo/nginx.conf.in.

No page reads the session: Django would add "Vary: Cookie" to it, and nginx would not store it."""

import secrets
import time

from django.shortcuts import render
from django.views.decorators.cache import cache_control
from django.views.decorators.vary import vary_on_headers

SLOW_SECONDS = 1


@cache_control(max_age=60)
def overview(request):
    return render(request, "by_nginx/overview.html")


@cache_control(max_age=60)
def slow(request):
    """Stored, so that only one visitor in a minute waits for it."""
    time.sleep(SLOW_SECONDS)
    return render(request, "by_nginx/slow.html", {"seconds": SLOW_SECONDS})


@cache_control(max_age=1)
def short(request):
    """Fresh for a second. nginx keeps it for longer, in case that Django fails."""
    return render(request, "by_nginx/short.html", {"number": secrets.token_hex(4)})


@cache_control(max_age=60)
@vary_on_headers("Accept-Language")
def language(request):
    """Stored once for each Accept-Language."""
    accepted = request.META.get("HTTP_ACCEPT_LANGUAGE", "")
    context = {"accepted": accepted, "is_german": accepted.startswith("de")}
    return render(request, "by_nginx/language.html", context)


@cache_control(max_age=60)
def cookie(request):
    """Not stored: the cookie belongs to one visitor."""
    number = secrets.token_hex(4)
    response = render(request, "by_nginx/cookie.html", {"number": number})
    response.set_cookie("number", number)
    return response


@cache_control(private=True, max_age=60)
def private(request):
    """Not stored by nginx. The visitor's own browser may store it."""
    return render(request, "by_nginx/private.html", {"number": secrets.token_hex(4)})
