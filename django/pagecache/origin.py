"""The scheme and the port that Django takes for those of the site and may write into a page's links, although a key
cannot contain them: `$host` has no port, and `$scheme` is http for every visitor if a balancer before nginx terminates
TLS.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest

from pagecache import conf
from pagecache.address import split_port


@dataclass(frozen=True)
class Trouble:
    reason: str
    """The reason why a page must not be stored, in a few words."""
    advice: str
    """The message for the log, which is written once, with its values."""
    values: tuple[str, ...] = ()


def trouble(request: HttpRequest) -> Trouble | None:
    """The reason why a page must not be served to everybody who requests its key; None if there is none. The request
    has an allowed Host."""
    return _of_port(request) or _of_scheme(request)


def _of_port(request: HttpRequest) -> Trouble | None:
    host = request.get_host()
    name, port = split_port(host)
    wanted = conf.port()
    if wanted is not None:
        if port == str(wanted):
            return None
        advice = "without the port %s of PAGECACHE_PORT. Where visitors use that one, nginx passes $http_host, not $host"
        return Trouble("a Host without PAGECACHE_PORT", f'its Host is "%s", {advice}', (host, str(wanted)))
    if port in ("", "443" if request.is_secure() else "80"):
        return None
    if port == str(request.META.get("SERVER_PORT", "")) and _is_loopback(name):
        return None
    advice = (
        "and a visitor may have made the port up, for it is not in the key. If visitors have it in the address of the "
        "site, set PAGECACHE_PORT to it; if not, have nginx pass $host"
    )
    return Trouble("a port of its Host header's own", f'its Host is "%s", {advice}', (host,))


def _is_loopback(name: str) -> bool:
    """True on a developer's machine: there the port of the server is that in the address."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _of_scheme(request: HttpRequest) -> Trouble | None:
    """nginx's `$scheme` does not help: it is http for a visitor without TLS, and for every visitor behind a
    balancer."""
    if settings.SECURE_PROXY_SSL_HEADER is None or request.is_secure():
        return None
    return Trouble(
        "a visitor without TLS, by SECURE_PROXY_SSL_HEADER",
        "it was asked for without TLS, and behind a balancer that ends TLS nginx's $scheme is http for those who have "
        "TLS, too. Have http redirected to https before it comes to pagecache_pass; if no balancer is before nginx, take "
        "SECURE_PROXY_SSL_HEADER out and have the application's server know the scheme",
    )
