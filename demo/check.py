"""Visits the running demo site like a browser, and prints for each request which server answered it, and
whether that was right:

    check.py http://127.0.0.1:8080
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import re
import sys
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import urlopen

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts" / "lib"))

import keep_alive  # noqa: E402

TIMEOUT_SECONDS = 20
SERVERS = 2
STORED_SECONDS = 5  # at most, until a page that was stored is found and counted
STORED_ITEMS = 5  # the slow page, also with an argument, the page in two languages, and the list of these two
VISITORS = 50  # at the same time
PAGES_MOST = 40  # the probability that one of two servers has none of them is 1 in 10^12
ARTICLE = "/artikel/größe-und-maß/"


def visit(url: str, stop_application: Callable[[], None] | None = None) -> int:
    """The exit status. At the end the application is stopped, if that is possible here."""
    origin = url.rstrip("/")
    report = Report()
    for visits in (pages, arguments, kept_connection, servers, comment, login, upload, big, by_nginx):
        visits(Browser(origin, report))
    if stop_application is not None:
        outage(Browser(origin, report), stop_application)
    return 1 if report.end() else 0


# The visits: each by a visitor of its own, without cookies at first.


def pages(visitor: Browser) -> None:
    for path in ("/", "/?page=2", ARTICLE, "/artikel/日本語/"):
        first = visitor.get(path, "MISS")
        again = visitor.get(path, "HIT")
        again.expect(again.body == first.body, "another body than Django's")
        again.expect(again.header("Content-Type") == first.header("Content-Type"), "another Content-Type")
    lower = visitor.get(quote(ARTICLE).lower(), "HIT")
    lower.expect("Größe und Maß" in lower.text, "not the article")
    head = visitor.request("HEAD", ARTICLE, "HIT")
    head.expect(head.header("Content-Length") == str(len(lower.body)), "not the page's Content-Length")
    for _ in range(2):
        visitor.get("/nowhere/", "MISS", status=404)


def arguments(visitor: Browser) -> None:
    """Queries that change the page, and one that does not."""
    second = visitor.get("/?page=2", "HIT")
    for path in ("/?page=1&page=2", "/?PAGE=2"):
        visitor.get(path, "MISS")
        again = visitor.get(path, "HIT")
        again.expect(f"Page {2 if 'page=2' in path else 1} of" in again.text, "another page of the list")
    advertised = visitor.get("/?utm_source=x&page=2", "HIT")
    advertised.expect(advertised.body == second.body, "not the second page of the list")


def kept_connection(visitor: Browser) -> None:
    site = urlsplit(visitor.origin)
    for step, fault in keep_alive.steps(site.hostname or "", site.port or 80, quote(ARTICLE)):
        visitor.report.step(f"one connection: {step}", fault)


def servers(visitor: Browser) -> None:
    """Each memcached has pages, and nginx looks each page up on the server on which Django stored it."""
    seen = set()
    for number in range(PAGES_MOST):
        visitor.get(f"/?page=1&n={number}", "MISS")
        again = visitor.get(f"/?page=1&n={number}", "HIT")
        seen.add(again.header("X-Cache-Server"))
        if len(seen) == SERVERS:
            return
    again.expect(False, f"all pages are on {', '.join(seen)}")


def comment(visitor: Browser) -> None:
    text = f"Größer als gedacht, um {time.time_ns()}"
    for path in ("/", ARTICLE):
        visitor.get(path, "HIT")
    elsewhere = Browser(other_name(visitor.origin), visitor.report)
    elsewhere.get(ARTICLE, "MISS")
    elsewhere.get(ARTICLE, "HIT")
    visitor.post_form(ARTICLE + "comment/", {"name": "Zoë", "text": text}, status=302)
    article = visitor.get(ARTICLE, "MISS")
    article.expect(text in article.text, "the comment is not there")
    article = visitor.get(ARTICLE, "HIT")
    article.expect(text in article.text, "the comment is not there")
    article = elsewhere.get(ARTICLE, "MISS")
    article.expect(text in article.text, "the comment is not there under the other name")
    articles = visitor.get("/", "MISS")
    articles.expect("1 comment<" in articles.text, "the comment is not counted")


def login(visitor: Browser) -> None:
    visitor.get("/", "HIT")
    wrong = visitor.post_form("/login/", {"username": "demo", "password": "wrong"}, status=200)
    wrong.expect("sessionid" not in visitor.cookies, "logged in with a wrong password")
    visitor.post_form("/login/", {"username": "demo", "password": "demo"}, status=302)
    greeted = visitor.get("/", "BYPASS")
    greeted.expect("Log out" in greeted.text, "not greeted as a visitor who is logged in")
    visitor.post_form("/logout/", {}, status=302, form_at="/", form_cache="BYPASS")
    anonymous = visitor.get("/", "HIT")
    anonymous.expect("Log out" not in anonymous.text, "another visitor's page")


def upload(visitor: Browser) -> None:
    content = bytes(range(256)) * 12000
    received = visitor.post_form("/upload/", {}, file=("numbers.bin", content), status=200)
    received.expect(f">{len(content)}<" in received.text, "not the whole file")
    received.expect(hashlib.sha256(content).hexdigest() in received.text, "not this file")


def big(visitor: Browser) -> None:
    first = visitor.get("/big/", "MISS")
    first.expect(len(first.body) > 300_000, "not big at all")
    again = visitor.get("/big/", "HIT")
    again.expect(again.body == first.body, "another body than Django's")
    part = visitor.request("GET", "/big/", "HIT", status=206, headers={"Range": "bytes=250000-250999"})
    part.expect(part.body == first.body[250000:251000], "not the bytes asked for")


def by_nginx(visitor: Browser) -> None:
    """The pages that Django does not store: see demo/site/by_nginx."""
    slow = visitor.get("/by-nginx/slow/", "MISS", store=("stored",))
    slow.expect(slow.milliseconds > 1000, "not slow at all")
    again = visitor.get_stored("/by-nginx/slow/")
    again.expect(again.body == slow.body, "another body than Django's")
    again.expect(again.milliseconds < 1000, "as slow as from Django")
    again.expect(again.header("Age").isdigit(), "no Age")
    small = visitor.get_stored("/by-nginx/slow/", {"Accept-Encoding": "gzip"})
    small.expect(small.header("Content-Encoding") == "gzip", "not compressed")
    small.expect(small.is_gzip_of(slow.body), "another body than Django's")
    together(visitor)
    languages(visitor)
    personal(visitor, "/by-nginx/cookie/", "setcookie")
    personal(visitor, "/by-nginx/private/", "private")
    stored_by_nginx_alone(visitor)


def together(visitor: Browser) -> None:
    """Many visitors at once of a page that is not there yet: one render."""

    def visit(_: int) -> tuple[str, bytes]:
        with urlopen(f"{visitor.origin}/by-nginx/slow/?together=1", timeout=TIMEOUT_SECONDS) as response:
            return response.headers.get("X-Cache", ""), response.read()

    with ThreadPoolExecutor(VISITORS) as pool:
        answers = list(pool.map(visit, range(VISITORS)))
    renders = [cache for cache, _ in answers].count("MISS")
    pages = len({body for _, body in answers})
    fault = "" if renders == pages == 1 else f"{pages} different pages"
    visitor.report.step(f"{VISITORS} visitors at once: {renders} render", fault)


def outage(visitor: Browser, stop_application: Callable[[], None]) -> None:
    """Django is down: pages that were stored are served all the same, and no others."""
    short = visitor.get("/by-nginx/short/", "MISS", store=("stored",))
    visitor.get_stored("/by-nginx/slow/")
    stop_application()
    visitor.report.step("Django is stopped", "")
    visitor.get_stored("/by-nginx/slow/")
    stale = visitor.get_stored("/by-nginx/short/", cache="STALE")
    stale.expect(stale.body == short.body, "another body than Django's")
    visitor.get("/by-nginx/private/", "MISS", status=502)


def languages(visitor: Browser) -> None:
    """A page with Vary is stored once for each language."""
    path, german = "/by-nginx/language/", {"Accept-Language": "de"}
    for headers, word in ((german, "Guten Tag"), ({"Accept-Language": "en"}, "Hello")):
        first = visitor.request("GET", path, "MISS", headers=headers, store=("stored",))
        again = visitor.get_stored(path, headers)
        again.expect(again.body == first.body, "another body than Django's")
        again.expect(word in again.text, "another language")
    again = visitor.get_stored(path, german)
    again.expect("Guten Tag" in again.text, "another language")


def personal(visitor: Browser, path: str, why: str) -> None:
    """A page that is not stored: each visitor has a number of his own."""
    numbers = set()
    for _ in range(3):
        another = Browser(visitor.origin, visitor.report)
        # uncacheable: the same worker of nginx has had the page before, and remembers the reason
        answer = another.get(path, "MISS", store=(why, "uncacheable"))
        number = re.search("<b>(\\w+)</b>", answer.text)
        answer.expect(number is not None, "no number")
        if number is not None:
            answer.expect(number[1] not in numbers, "another visitor's number")
            answer.expect(another.cookies.get("number", number[1]) == number[1], "another visitor's cookie")
            numbers.add(number[1])
        answer.expect(why != "setcookie" or "number" in another.cookies, "no cookie")


def stored_by_nginx_alone(visitor: Browser) -> None:
    """Compares nginx's own counts: if Django stored a page too, nginx could not store it."""
    url = f"{visitor.origin}/pagecache-stats?format=prometheus"
    deadline = time.monotonic() + STORED_SECONDS
    stored = lost = 0
    while stored < STORED_ITEMS and time.monotonic() < deadline:
        with urlopen(url, timeout=TIMEOUT_SECONDS) as response:
            counts = response.read().decode()
        stored, lost = total(counts, "pagecache_stores_total"), total(counts, "pagecache_lost_stores_total")
    fault = "" if stored == STORED_ITEMS and lost == 0 else f"{lost} stored by another one first"
    visitor.report.step(f"nginx alone: {stored} items stored of {STORED_ITEMS}", fault)


def total(counts: str, metric: str) -> int:
    """The sum of a metric over all servers."""
    lines = (line for line in counts.splitlines() if line.startswith(metric + "{"))
    return sum(int(line.rpartition(" ")[2]) for line in lines)


def other_name(origin: str) -> str:
    """The site allows two names, with pages of their own."""
    names = ("127.0.0.1", "localhost")
    return origin.replace(*(names if names[0] in origin else names[::-1]))


class Browser:
    """One visitor: keeps cookies, and names the site as the origin of its forms."""

    def __init__(self, origin: str, report: Report) -> None:
        self.origin = origin
        self.report = report
        self.cookies: dict[str, str] = {}

    def get(self, path: str, cache: str, status: int = 200, store: tuple[str, ...] = ()) -> Answer:
        return self.request("GET", path, cache, status, store=store)

    def get_stored(self, path: str, headers: dict[str, str] | None = None, cache: str = "HIT") -> Answer:
        """Gets a page that nginx has stored. Another worker may look it up before memcached has read it, and a page may
        not be stale yet."""
        deadline = time.monotonic() + STORED_SECONDS
        answer = self.exchange("GET", path, headers)
        while answer.cache != cache and time.monotonic() < deadline:
            answer = self.exchange("GET", path, headers)
        return self.reported(answer, cache, 200, ())

    def post_form(
        self,
        path: str,
        fields: dict[str, str],
        status: int,
        file: tuple[str, bytes] | None = None,
        form_at: str = "",
        form_cache: str = "MISS",
    ) -> Answer:
        """Fetches a form, fills it in, and sends it. `form_at`: the page with the form, if it is not
        `path`."""
        form = self.get(form_at or path, form_cache)
        token = re.search('name="csrfmiddlewaretoken" value="(\\w+)"', form.text)
        form.expect(token is not None, "no CSRF token in the form")
        fields = {**fields, "csrfmiddlewaretoken": token[1] if token else ""}
        if file is None:
            content_type, body = "application/x-www-form-urlencoded", urlencode(fields).encode()
        else:
            content_type, body = multipart(fields, file)
        headers = {"Content-Type": content_type, "Origin": self.origin}
        return self.request("POST", path, "BYPASS", status, headers, body)

    def request(
        self,
        method: str,
        path: str,
        cache: str,
        status: int = 200,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        store: tuple[str, ...] = (),
    ) -> Answer:
        """Sends a request, and checks the status, `X-Cache`, and, if any are given, that `Answer.store` is one of
        `store`."""
        return self.reported(self.exchange(method, path, headers, body), cache, status, store)

    def reported(self, answer: Answer, cache: str, status: int, store: tuple[str, ...]) -> Answer:
        self.report.begin(answer)
        answer.expect(answer.status == status, f"status {status} expected")
        answer.expect(answer.cache == cache, f"{cache} expected")
        answer.expect(not store or answer.store in store, f"{' or '.join(store)} expected")
        return answer

    def exchange(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        headers = dict(headers or {})
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = Answer(method, path)
        connection = http.client.HTTPConnection(urlsplit(self.origin).netloc, timeout=TIMEOUT_SECONDS)
        started = time.perf_counter()
        try:
            connection.request(method, quote(path, safe="/?=&%"), body, headers)
            response = connection.getresponse()
            answer.headers, answer.status, answer.body = response.headers, response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            answer.expect(False, f"{type(error).__name__}: {error}")
        finally:
            connection.close()
        answer.milliseconds = (time.perf_counter() - started) * 1000
        self.keep_cookies(answer)
        return answer

    def keep_cookies(self, answer: Answer) -> None:
        for header in answer.headers.get_all("Set-Cookie", []):
            for name, cookie in SimpleCookie(header).items():
                self.cookies[name] = cookie.value
                if cookie["max-age"] == "0" or not cookie.value:
                    del self.cookies[name]


def multipart(fields: dict[str, str], file: tuple[str, bytes]) -> tuple[str, bytes]:
    """The Content-Type and the body of a form with a file (RFC 7578)."""
    boundary = "a-line-that-no-part-has"
    part = f"--{boundary}\r\nContent-Disposition: form-data; name="
    body = "".join(f'{part}"{name}"\r\n\r\n{value}\r\n' for name, value in fields.items())
    body += f'{part}"file"; filename="{file[0]}"\r\nContent-Type: application/octet-stream\r\n\r\n'
    end = f"\r\n--{boundary}--\r\n"
    return f"multipart/form-data; boundary={boundary}", body.encode() + file[1] + end.encode()


@dataclass
class Answer:
    """An answer, and the errors in it."""

    method: str
    path: str
    status: int = 0
    body: bytes = b""
    milliseconds: float = 0.0

    def __post_init__(self) -> None:
        self.headers = http.client.HTTPMessage()
        self.wrong: list[str] = []

    def expect(self, right: bool, otherwise: str) -> None:
        if not right:
            self.wrong.append(otherwise)

    def header(self, name: str) -> str:
        return self.headers.get(name, "")

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")

    @property
    def cache(self) -> str:
        return self.header("X-Cache")

    @property
    def store(self) -> str:
        """What became of the response, where nginx stores: "stored", or why not."""
        is_stored = "; stored" in self.header("Cache-Status")
        return "stored" if is_stored else self.header("X-Cache-Store")

    def is_gzip_of(self, body: bytes) -> bool:
        try:
            return gzip.decompress(self.body) == body
        except (OSError, EOFError, zlib.error):
            return False

    def __str__(self) -> str:
        memcached = f"memcached {self.header('X-Cache-Server')}"
        by = memcached if self.cache in ("HIT", "STALE") else "Django" if 0 < self.status < 502 else "nobody"
        reason = f"{self.cache} {self.header('X-Cache-Reason')}".strip()
        reason += f", {self.store}" if self.store else ""
        verdict = "ok" if not self.wrong else "WRONG: " + "; ".join(self.wrong)
        request = f"{self.method} {self.path}"
        return f"{request:42} {by:25}  {reason:24}  {self.status}  {self.milliseconds:7.1f} ms  {verdict}"


class Report:
    """Prints a line for each answer, when the next one begins: until then there may be further errors."""

    def __init__(self) -> None:
        self.right = self.wrong = 0
        self.last: Answer | None = None

    def begin(self, answer: Answer | None) -> None:
        if self.last is not None:
            print(self.last, flush=True)
            if self.last.wrong:
                self.wrong += 1
            else:
                self.right += 1
        self.last = answer

    def step(self, text: str, fault: str) -> None:
        """Prints a line for a check of more than one answer."""
        self.begin(None)
        print(f"{text:95} {f'WRONG: {fault}' if fault else 'ok'}", flush=True)
        if fault:
            self.wrong += 1
        else:
            self.right += 1

    def end(self) -> int:
        """Prints the last line and the sum, and returns the number of wrong answers."""
        self.begin(None)
        print(f"{self.right} requests right, {self.wrong} wrong")
        return self.wrong


if __name__ == "__main__":
    sys.exit(visit(sys.argv[1]))
