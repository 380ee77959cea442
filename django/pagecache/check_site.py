"""The part of `manage.py pagecache check` that requests pages from the running site: nginx, the application's server,
each middleware. Django renders a page, and stores it or has nginx store it, and nginx serves it; a visitor with personal pages must not get
it; and a hit must have the headers of a page from Django.
"""

from __future__ import annotations

import http.client
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.contrib.messages.storage.session import SessionStorage
from django.utils.module_loading import import_string

from pagecache import check_purges, conf, probe
from pagecache.address import PageAddress
from pagecache.finding import Finding
from pagecache.key import KeyPattern
from pagecache.visit import Answer, visit

MESSAGES = "django.contrib.messages.middleware.MessageMiddleware"

OF_ONE_ANSWER = {
    "accept-ranges",
    "age",
    "cache-status",
    "connection",
    "content-length",
    "date",
    "etag",
    "keep-alive",
    "server",
    "transfer-encoding",
    probe.HEADER.lower(),
}
"""Headers that may differ from those of the stored response."""


STORES_MOST = 5
STORE_SECONDS = 0.2
"""How often and after which time nginx is asked again for a page that it may be about to store."""


class SiteCheck:
    """`url` has no slash at its end; `pattern`, `host` and `cookies` are those of nginx's location."""

    def __init__(self, url: str, pattern: KeyPattern, host: str | None, cookies: dict[str, str]) -> None:
        self.url, self.pattern, self.host, self.cookies = url, pattern, host, cookies

    def findings(self) -> Iterator[Finding]:
        """The findings, up to and including the first problem. Raises NoKey."""
        first, second = (f"{self.url}/{probe.new_name()}" for _ in range(2))
        try:
            yield from self._of_site(first, second)
        except (OSError, http.client.HTTPException) as error:
            yield Finding("nginx", f"no answer to {first}: {type(error).__name__}: {error}")
        finally:
            for url in (first, second):
                with suppress(Exception):  # the item expires by itself
                    conf.cache().delete(self.pattern.key(PageAddress.of_url(url, self.host, None, self.cookies)))

    def _of_site(self, first: str, second: str) -> Iterator[Finding]:
        made = self._visit(first)
        said = made.headers.get(probe.HEADER)
        if said is None:
            yield Finding(
                "middleware",
                f"Django was to make a page at {first}, and the answer's status is {made.status}: there is no "
                "PageCacheMiddleware in MIDDLEWARE of what runs, or an older one, or another SECRET_KEY; or something "
                "before or behind it answers by itself",
            )
            return
        if said.partition(" ")[0] != probe.STORED:
            yield Finding("middleware", f"Django has made a page, and not stored it: {said}")
            return
        served = self._visit(first)
        for _ in range(STORES_MOST if conf.is_filled_by_nginx() else 0):
            if _is_hit(served, made):
                break
            time.sleep(STORE_SECONDS)
            made, served = served, self._visit(first)
        if not _is_hit(served, made) or served.body != made.body:
            reason = served.reason or served.cache or "it does not say why"
            yield Finding("middleware", f"{_stored()}, and nginx does not serve it: {reason}")
            return
        yield Finding("middleware", f"{_stored()}, and nginx has served it", is_right=True)
        for name, why in _cookies_that_matter():
            if _is_hit(self._visit(first, name), made):
                yield Finding("cookie", f'nginx serves stored pages to visitors with the cookie "{name}", {why}: {_bypass(name)}')
                return
            yield Finding("cookie", f'visitors with the cookie "{name}" get their pages from Django', is_right=True)
        of_headers = _of_headers(made, self._visit(second), served)
        yield of_headers
        if of_headers.is_right:
            yield check_purges.finding(self.pattern, lambda: _is_hit(self._visit(first), made))

    def _visit(self, url: str, cookie: str = "") -> Answer:
        cookies = {**self.cookies, **({cookie: "pagecache-check"} if cookie else {})}
        return visit(url, self.host, "; ".join(f"{name}={value}" for name, value in cookies.items()))


def _stored() -> str:
    if conf.is_filled_by_nginx():
        return "Django has made a page that nginx may store (pagecache_store, $pagecache_store_status)"
    return "Django has made and stored a page"


def _is_hit(answer: Answer, made: Answer) -> bool:
    # A page that Django has just rendered has this header; one that nginx has stored has that of another answer.
    return answer.headers.get(probe.HEADER) in (None, made.headers[probe.HEADER]) and answer.status == 200


def _cookies_that_matter() -> Iterator[tuple[str, str]]:
    """Cookies of visitors whose pages are personal, although the stored page does not show it; each with the
    reason."""
    shows_messages = MESSAGES in settings.MIDDLEWARE
    storage: Any = import_string(settings.MESSAGE_STORAGE) if shows_messages else object
    of_session = issubclass(storage, SessionStorage)
    if "cookie" in conf.ignored_vary() or of_session:
        why = "which is SESSION_COOKIE_NAME" + ("" if of_session else ", and PAGECACHE_IGNORE_VARY has Cookie")
        yield settings.SESSION_COOKIE_NAME, why
    if shows_messages and not of_session:
        yield getattr(storage, "cookie_name", "messages"), "whose messages (MESSAGE_STORAGE) they would not see"


def _bypass(name: str) -> str:
    if re.fullmatch(r"\w+", name, re.ASCII):
        return f"pagecache_bypass needs $cookie_{name}"
    return f'$cookie_ cannot name it, so pagecache_bypass needs a map of $http_cookie with "~(^|; *){re.escape(name)}=" 1'


def _of_headers(made: Answer, other: Answer, served: Answer) -> Finding:
    """`made` and `other` are two pages from Django: their differences belong to the single response."""
    lost, changed = [], []
    for name in dict.fromkeys(made.headers):
        values = made.headers.get_all(name)
        is_of_one = name.lower() in OF_ONE_ANSWER or name.lower().startswith("x-cache")
        if is_of_one or values != other.headers.get_all(name):
            continue
        of_hit = served.headers.get_all(name)
        if of_hit is None:
            lost.append(name)
        elif name.lower() == "vary" and _words(values) <= _words(of_hit):
            continue
        elif of_hit != values and name.lower() != "expires":
            changed.append(f'{name} is "{", ".join(of_hit)}" in a hit and "{", ".join(values or [])}" in a page from Django')
    if not lost and not changed:
        return Finding("headers", "a hit has those of a page from Django", is_right=True)
    texts = [*([f"hits lack {', '.join(lost)}"] if lost else []), *changed]
    return Finding("headers", "; ".join(texts) + ": see what stands before PageCacheMiddleware, and add_header of nginx")


def _words(values: list[str] | None) -> set[str]:
    return {word.strip().lower() for word in ",".join(values or []).split(",")}
