"""`manage.py pagecache`: looks at stored pages, purges them, has them made, and checks that nginx finds them.

Exit status: 0 if all was well, 1 if not, 2 for a wrong command line.
"""

from __future__ import annotations

import http.client
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from pagecache import conf, enabled
from pagecache.address import PageAddress
from pagecache.check import Check
from pagecache.key import KeyPattern, NoKey
from pagecache.purges import by
from pagecache.purges.batch import Outcome
from pagecache.servers import NotMemcached, find, servers_of
from pagecache.visit import visit

ACTIONS = {
    "key": "says the key of each page",
    "get": "says of each page whether it is stored, and as what",
    "purge": "purges pages: of URLs, whose URLs begin so, with tags, or all",
    "warm": "asks the site for pages, one after another, so that it stores them",
    "check": "says whether nginx and Django have the same keys on the same memcached, and if not, why",
}

FAILURES = {
    "key": "no key",
    "get": "not stored",
    "purge": "not purged",
    "warm": "no page",
    "check": "not served as it is stored",
}
"""What is said of URLs where it went wrong."""


class Command(BaseCommand):
    help = "Looks at the pages that nginx serves from memcached."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        for action, text in ACTIONS.items():
            of_action = actions.add_parser(action, help=text, description=text)
            of_action.add_argument(
                "urls", nargs="*" if action == "purge" else "+", metavar="URL", help='a path or a whole URL; "-" reads them from stdin, one a line'
            )
            of_action.add_argument("--host", help="the Host of the request, if it is not the URL's")
            of_action.add_argument(
                "--cookie", action="append", default=[], metavar="NAME=VALUE", help="of a key with $cookie_NAME"
            )
            if action != "warm":
                of_action.add_argument(
                    "--key", metavar="PATTERN", help="the pagecache_key of another location than PAGECACHE_KEY's"
                )
            if action == "purge":
                of_action.add_argument(
                    "--prefix", action="append", default=[], metavar="URL", help="all pages whose URLs begin so"
                )
                of_action.add_argument(
                    "--tag", action="append", default=[], metavar="TAG", help="all pages with this tag"
                )
                of_action.add_argument("--all", action="store_true", help="all pages")
                of_action.add_argument("--hard", action="store_true", help="serve them no more, not even as stale")
            if action == "get":
                of_action.add_argument("--body", action="store_true", help="write the stored value, and nothing else")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self.pattern: KeyPattern = conf.key_pattern(options.get("key"))
        except ImproperlyConfigured as error:
            raise CommandError(str(error), returncode=2) from None
        if options["action"] in ("purge", "check") and enabled.tests_run():
            raise CommandError("tests are running: no page is stored or purged, see PAGECACHE_ENABLED", returncode=1)
        self.host: str | None = options["host"]
        self.cookies = dict(cookie.partition("=")[::2] for cookie in options["cookie"])
        self.body: bool = options.get("body", False)
        action = options["action"]
        self.hard: bool = options.get("hard", False)
        results = [self._result(action, url) for url in _urls(options["urls"])]
        if action == "purge":
            results += self._purge_many(options["prefix"], options["tag"], options["all"])
            if not results:
                raise CommandError("nothing to purge: give URLs, --prefix, --tag or --all", returncode=2)
        if not all(results):
            raise CommandError(f"{results.count(False)} of {len(results)}: {FAILURES[action]}", returncode=1)

    def _result(self, action: str, url: str) -> bool:
        try:
            return bool(getattr(self, "_" + action)(url))
        except (ValueError, OSError, NotMemcached) as error:  # no URL, such as http://[; or no answer
            return self._failed(url, error)

    # Each action takes a URL, and returns whether all was well.

    def _key(self, url: str) -> bool:
        key = self._key_of(url)
        if key is not None:
            self.stdout.write(key)
        return key is not None

    def _get(self, url: str) -> bool:
        key = self._key_of(url)
        if key is None:
            return False
        try:
            items = find(servers_of(conf.cache_alias()), key)
        except (OSError, NotMemcached) as error:
            return self._failed(url, error)
        if self.body:
            self.stdout.flush()
            for item in items[:1]:
                sys.stdout.buffer.write(item.value)
            sys.stdout.flush()
            return bool(items)
        for item in items:
            left = "" if item.seconds_left is None else f", {item.seconds_left} s left"
            self.stdout.write(f'"{key}" on {item.server}: {len(item.value)} bytes, flags {item.flags}{left}')
        if not items:
            self.stdout.write(f'"{key}" is not stored')
        return bool(items)

    def _purge(self, url: str) -> bool:
        key = self._key_of(url)
        if key is None:
            return False
        outcome = by.invalidate(url, key=self.pattern.text, host=self.host, cookies=self.cookies, hard=self.hard)
        is_deleted = self.hard or not conf.is_filled_by_nginx()
        # The cache's client does not say that it has left a server alone.
        left = find(servers_of(conf.cache_alias()), key) if outcome and is_deleted else []
        if left:
            self.stderr.write(f'"{key}" is still on {left[0].server}: the client has not deleted it')
            return False
        return self._is_purged(f'"{key}"', outcome)

    def _purge_many(self, prefixes: list[str], tags: list[str], all_pages: bool) -> list[bool]:
        where: dict[str, Any] = {"key": self.pattern.text, "host": self.host, "cookies": self.cookies}
        results = []
        for prefix in prefixes:
            try:
                outcome = by.invalidate_prefix(prefix, hard=self.hard, **where)
            except ValueError as error:  # NoKey, or no URL
                results.append(self._failed(prefix, error))
            else:
                results.append(self._is_purged(f'"{prefix}" and all below', outcome))
        results += [self._is_purged(f'the tag "{tag}"', by.invalidate_tags(tag, hard=self.hard)) for tag in tags]
        return [*results, self._is_purged("all", by.invalidate_all(hard=self.hard))] if all_pages else results

    def _is_purged(self, pages: str, outcome: Outcome) -> bool:
        for server, error in outcome.not_reached.items():
            self.stderr.write(f"{pages}: not purged on {server}: {error}")
        if outcome:
            self.stdout.write(f"{pages}: purged")
        return bool(outcome)

    def _warm(self, url: str) -> bool:
        if not self._is_of_site(url):
            return False
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        try:
            answer = visit(url, self.host, cookies)
        except (OSError, http.client.HTTPException) as error:
            return self._failed(url, error)
        line = f"{answer.cache or '-':6} {answer.status} {answer.milliseconds:7.1f} ms  {url}"
        self.stdout.write(line)
        self.stdout.flush()
        return answer.status < 400

    def _check(self, url: str) -> bool:
        if not self._is_of_site(url):
            return False
        if not servers_of(conf.cache_alias()):
            raise CommandError(f'CACHES["{conf.cache_alias()}"] has no LOCATION', returncode=1)
        is_right = True
        for finding in Check(url, self.pattern, self.host, self.cookies).findings():
            self.stdout.write(f"{'ok' if finding.is_right else 'WRONG':5}  {finding.word}: {finding.text}")
            is_right = is_right and finding.is_right
        return is_right

    def _key_of(self, url: str) -> str | None:
        try:
            return self.pattern.key(PageAddress.of_url(url, self.host, None, self.cookies))
        except NoKey as error:
            self._failed(url, error)
            return None

    def _failed(self, url: str, error: Exception) -> bool:
        text = str(error) if isinstance(error, NoKey) else f"{type(error).__name__}: {error}"
        self.stderr.write(f"{url}: {text}")
        return False

    def _is_of_site(self, url: str) -> bool:
        is_url = url.startswith(("http://", "https://"))
        if not is_url:
            self.stderr.write(f"{url} is no URL of a site, such as http://127.0.0.1:8080/")
        return is_url


def _urls(arguments: list[str]) -> Iterator[str]:
    for argument in arguments:
        if argument == "-":
            yield from (line.strip() for line in sys.stdin if line.strip())
        else:
            yield argument
