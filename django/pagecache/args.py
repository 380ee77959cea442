"""Query arguments, as nginx-pagecache reads them (this repeats core/src/args.rs): whether a key contains each argument
that may change the page, and the query without the ignored arguments.

Arguments are separated by `&`. A name ends at the first `=` and is compared as it was sent, not decoded. An empty
argument, as in `a=1&&b=2`, has an empty name, which neither a key nor a list can contain.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

ALL = "all"


@dataclass(frozen=True)
class IgnoredArgs:
    """nginx's `pagecache_ignore_args`: names of arguments that do not change a page, `utm_*` for all names with that
    beginning, or `all` alone."""

    words: tuple[str, ...] = ()

    @classmethod
    def parse(cls, words: Iterable[str]) -> IgnoredArgs:
        """Raises ValueError, with the word that is not valid."""
        ignored = cls(tuple(words))
        for word in ignored.words:
            name = word.removesuffix("*")
            if not name or set("*&=") & set(name) or (word == ALL and len(ignored.words) > 1):
                raise ValueError(word)
        return ignored

    @property
    def is_all(self) -> bool:
        return self.words == (ALL,)

    def has_name(self, name: bytes) -> bool:
        return self.is_all or any(
            name.startswith(word[:-1].encode()) if word.endswith("*") else name == word.encode() for word in self.words
        )

    def has(self, argument: bytes) -> bool:
        """Is this argument ignored? One with a `;` is not: some applications begin another argument there, which may
        change the page."""
        return self.is_all or (self.has_name(_name(argument)) and b";" not in argument)

    def without(self, query: bytes) -> bytes:
        """`$pagecache_args`: the query with its question mark, without ignored arguments; empty if no argument
        remains."""
        kept = [argument for argument in _arguments(query) if not self.has(argument)]
        return b"?" + b"&".join(kept) if kept else b""

    def held(self, query: bytes, carried: Collection[str]) -> bytes:
        """The query without ignored arguments, except for those that a key contains by `$arg_NAME` for the names
        `carried`: for each NAME, the first argument with that name in any case."""
        names = {name.lower().encode(): name.encode() for name in carried}
        kept = []
        for argument in _arguments(query):
            name, equals, value = argument.partition(b"=")
            of_key = names.pop(name.lower(), None) if equals else None
            if not self.has(argument):
                kept.append(argument)
            elif of_key is not None and value:
                kept.append(of_key + b"=" + value)
        return b"&".join(kept)

    def leave(self, query: bytes, carried: Collection[str]) -> bool:
        """Does this query have an argument that may change the page, and that a key with `$arg_NAME` for the names
        `carried` does not contain? nginx uses the first argument whose name is NAME in any case, and an empty value if
        there is none; Django is case-sensitive, and uses the last."""
        names = {name.encode() for name in carried}
        all_names = [_name(argument).lower() for argument in _arguments(query)]
        for argument in _arguments(query):
            name = _name(argument)
            is_carried = name in names and argument[len(name) + 1 :] and all_names.count(name.lower()) == 1
            if not self.has(argument) and not is_carried:
                return True
        return False


def _arguments(query: bytes) -> list[bytes]:
    # An empty query has no argument, rather than an empty one.
    return query.split(b"&") if query else []


def _name(argument: bytes) -> bytes:
    return argument.partition(b"=")[0]
