"""How long a page may be served: its freshness lifetime (RFC 9111, section 4.2) minus its current age. The settings
limit it.
"""

from __future__ import annotations

import time

from django.http.response import HttpResponseBase
from django.utils.http import parse_http_date_safe

from pagecache import conf


def lifetime(response: HttpResponseBase, timeout: int) -> int:
    """Seconds from now for which a page may be served, at most `timeout`; 0 or less: not at all. A header that cannot
    be parsed counts as 0 seconds."""
    said = _said_lifetime(response)
    age = age_of(response)
    if age is None or said == 0:
        return 0
    until = _said_end(response)
    if until is not None:  # this time accounts for the age already
        return min(timeout, until - int(time.time()))
    return min(timeout, (timeout if said is None else said) - age)


def age_of(response: HttpResponseBase) -> int | None:
    """Seconds since the page was rendered, or None if its Age cannot be parsed (RFC 9111, section 4.2.3)."""
    age = said_age(response)
    return age if age is None or response.has_header("Age") else max(age, _age_in_django_s_cache(response))


def said_age(response: HttpResponseBase) -> int | None:
    """The age by Date and Age, from which nginx computes it too; None if Age cannot be parsed."""
    made = parse_http_date_safe(response.get("Date", ""))
    apparent = 0 if made is None else max(0, int(time.time()) - made)
    said = response.get("Age", "0").strip()
    return max(apparent, int(said)) if said.isdecimal() else None


def _age_in_django_s_cache(response: HttpResponseBase) -> int:
    """Before Django 5.0, a page from `cache_page` has no Age: only its Expires shows the remaining time."""
    now = int(time.time())
    max_ages = directives(response.get("Cache-Control", "")).get("max-age", [])
    expires = parse_http_date_safe(response.get("Expires", ""))
    if expires is None or expires <= now:
        return 0
    return max([0, *(_seconds(said) - (expires - now) for said in max_ages)])


def _said_lifetime(response: HttpResponseBase) -> int | None:
    """The freshness lifetime from the page's own headers (RFC 9111, section 4.2.1): the smallest, if there are
    several. X-Accel-Expires, which is meant for nginx, takes precedence over all others."""
    if response.has_header("X-Accel-Expires"):
        return _seconds(response["X-Accel-Expires"].strip().removeprefix("@"))
    of_cache_control = control_of(response)
    said = of_cache_control.get("s-maxage") or of_cache_control.get("max-age")
    if said:
        return min(map(_seconds, said))
    if not response.has_header("Expires"):
        return None
    expires = parse_http_date_safe(response["Expires"])
    if expires is None:
        return 0
    made = parse_http_date_safe(response.get("Date", ""))
    return max(0, expires - (int(time.time()) if made is None else made))


def _said_end(response: HttpResponseBase) -> int | None:
    """The time until which the page may be served, in seconds since the epoch: `X-Accel-Expires: @1700000000`."""
    said = response.get("X-Accel-Expires", "").strip()
    return _seconds(said[1:]) if said.startswith("@") else None


def _seconds(said: str) -> int:
    return int(said) if said.isdecimal() else 0


def control_of(response: HttpResponseBase) -> dict[str, list[str]]:
    """The directives for this cache. With PAGECACHE_FILL = "nginx", those of CDN-Cache-Control replace those of
    Cache-Control, as in nginx (RFC 9213)."""
    targeted = response.get("CDN-Cache-Control", "") if conf.is_filled_by_nginx() else ""
    return directives(targeted) or directives(response.get("Cache-Control", ""))


def directives(cache_control: str) -> dict[str, list[str]]:
    """The directives of a Cache-Control in lower case, each with its values, "" for none. Some applications separate
    them with a `;`: a no-store after it is respected."""
    named: dict[str, list[str]] = {}
    for directive in listed(cache_control.replace(";", ",")):
        name, _, value = directive.partition("=")
        named.setdefault(name.strip(), []).append(value.strip(' "'))
    return named


def listed(header: str) -> list[str]:
    """The elements of a header that is a list, in lower case."""
    return [element.strip() for element in header.lower().split(",") if element.strip()]
