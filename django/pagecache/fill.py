"""PAGECACHE_FILL = "nginx": Django stores nothing. It says in headers which responses nginx may store, for how long, and
with which tags.

    CDN-Cache-Control: max-age=300
    Cache-Tag: blog.article:7,blog.article

The responses that Django would not store have `CDN-Cache-Control: no-store`.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.http import HttpRequest, HttpResponse

from pagecache import enabled, tags
from pagecache.freshness import control_of, said_age
from pagecache.store import quietly
from pagecache.verdict import Verdict, verdict

HEADER = "CDN-Cache-Control"
"""Read by nginx before Cache-Control, which remains for browsers (RFC 9213)."""

_KEPT = ("must-revalidate", "proxy-revalidate", "no-transform", "stale-while-revalidate", "stale-if-error")


def fill(
    request: HttpRequest,
    response: HttpResponse,
    timeout: int | None = None,
    key: str | None = None,
    wrong: str | None = None,
) -> str | None:
    """Sets the headers; the arguments are those of `store.store`. Returns the reason why nginx must not store the
    response, None if it may."""
    if enabled.tests_run():
        return enabled.why_not()
    reason = quietly("stored", request.path, lambda: _fill(request, response, timeout, key, wrong))
    if reason is not None:
        forbid(response)
    return reason


def forbid(response: HttpResponse) -> None:
    """nginx does not store the response."""
    if not enabled.tests_run():
        response[HEADER] = "no-store"


def _fill(
    request: HttpRequest, response: HttpResponse, timeout: int | None, key: str | None, wrong: str | None
) -> str | None:
    found = verdict(request, response, timeout, key, wrong)
    if found.reason is None:
        _permit(request, response, found)
    return found.reason


def _permit(request: HttpRequest, response: HttpResponse, found: Verdict) -> None:
    seconds = found.seconds + (said_age(response) or 0)  # nginx subtracts the age again
    response[HEADER] = ", ".join([f"max-age={seconds}", *_kept(response)])
    if response.has_header("X-Accel-Expires"):  # it comes before all others
        response["X-Accel-Expires"] = str(seconds)
    names = tags.tags_of(request, response)
    if names:
        response[tags.HEADER] = tags.header_of(names)
    if response.status_code != 304 and not response.has_header("Content-Length"):  # without it, nginx does not know where a body from uWSGI ends
        response["Content-Length"] = str(len(response.content))


def _kept(response: HttpResponse) -> Iterator[str]:
    """What else the response says to a shared cache: the new header replaces it."""
    said = control_of(response)
    for name in _KEPT:
        if name not in said:
            continue
        value = min(said[name], key=lambda text: int(text) if text.isdecimal() else 0)
        if not name.startswith("stale-"):
            yield name
        elif value.isdecimal():
            yield f"{name}={int(value)}"
    if "s-maxage" in said and "proxy-revalidate" not in said:  # which it implies (RFC 9111, section 5.2.2.10)
        yield "proxy-revalidate"
