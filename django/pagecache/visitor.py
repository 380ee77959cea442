"""The data of a single visitor in a page, as far as the request shows after rendering that it was used: a user, a
session, a CSRF token, messages, the nonce of a Content-Security-Policy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib.messages.storage.base import BaseStorage
from django.http import HttpRequest
from django.utils.functional import LazyObject, empty

from pagecache import conf

_READ_AND_ADDED = ("add", "__iter__", "__len__", "__contains__")
"""The methods of a message storage that record that messages were added or read."""


def refusal(request: HttpRequest) -> str | None:
    """The data of a single visitor that was used while the page was rendered, in a few words; None if none was."""
    if request.META.get("CSRF_COOKIE_NEEDS_UPDATE"):
        return "a CSRF token"
    if request.META.get("REMOTE_USER") or any(user.is_authenticated for user in _users(request)):
        return "a visitor who is logged in"
    if any(True for _ in _used(request, "csp_nonce", "_csp_nonce")):  # django-csp, and Django from 6.0
        return "a nonce"
    return _of_messages(getattr(request, "_messages", None)) or _of_session(getattr(request, "session", None))


def _users(request: HttpRequest) -> Iterator[Any]:
    for user in _used(request, "user", "_cached_user", "_acached_user"):  # of AuthenticationMiddleware
        if hasattr(user, "is_authenticated"):
            yield user


def _used(request: HttpRequest, *names: str) -> Iterator[Any]:
    """The attributes that were set or read. A lazy attribute that was not read is not evaluated: a user would cost a
    query to the database for each page, and a nonce would be created."""
    for name in names:
        value = request.__dict__.get(name)
        is_unused = isinstance(value, LazyObject) and value.__dict__.get("_wrapped", empty) is empty
        if value is not None and not is_unused:
            yield value


def _of_messages(storage: Any) -> str | None:
    """The page may show the messages of one visitor, or have added some that another visitor would not get. It does
    not matter where the storage keeps them: a cookie, a session, a database."""
    if storage is None:
        return None
    kind = type(storage)
    if not issubclass(kind, BaseStorage) or any(
        getattr(kind, name) is not getattr(BaseStorage, name) for name in _READ_AND_ADDED
    ):
        return "a message storage that does not say whether it was used"
    if storage.added_new or storage._queued_messages or getattr(storage, "_loaded_data", None):
        return "messages"
    # A site's own storage may empty its list when it stores: if its messages were read, some may have been shown.
    if storage.used and not kind.__module__.startswith("django."):
        return "messages"
    return None


def _of_session(session: Any) -> str | None:
    if session is None or not session.accessed:
        return None
    if session.modified:
        return "a changed session"
    if "cookie" not in conf.ignored_vary():
        return "a look at the session"
    return None
