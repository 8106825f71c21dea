"""Which requests a route matches, and whether two routes can match the same one.

A path is compared by its segments. A whole path is a row of segments; a template is one in which
``{name}`` stands for any one segment that is not empty; a prefix is a row after which anything may
follow. An expression (`globaltx.coordinator.expressions`) has no segments and is compared as an automaton. So
it can be told exactly whether two of them have a request in common.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from globaltx.coordinator.automata import ANY, Automaton, but, literal, meet, perhaps, row, single, some
from globaltx.coordinator.expressions import compiled
from globaltx.values import dataclass

if TYPE_CHECKING:
    from globaltx.coordinator.policy import Route

_SLASH = "/"
_WRITTEN_SLASH = re.compile("/|%2[fF]")
_ODD = re.compile("//|/[.]|/%2|[;%]")
"""What a path has in it that can be written in a plainer way; most have nothing."""
VARIABLE = re.compile(r"\{([a-z][a-zA-Z0-9_]*)\}")


@dataclass(frozen=True, slots=True)
class _Pattern:
    """Segments, None for any; ``open`` when more may follow."""

    segments: tuple[str | None, ...]
    open: bool = False


def covers(route: Route, path: str) -> bool:
    """Whether a decoded path is one of the route's."""
    if route.path:
        return path == route.path
    if route.path_regex:
        return compiled(route.path_regex).matches(path)
    pattern, segments = _pattern(route), _segments(path)
    enough = (
        len(segments) >= len(pattern.segments) if pattern.open else len(segments) == len(pattern.segments)
    )
    return enough and all(map(_fits, pattern.segments, segments))


def overlap(one: Route, other: Route) -> bool:
    """Whether some request matches both routes."""
    if one.method != other.method:
        return False
    if one.path_regex or other.path_regex:
        return meet(_automaton(one), _automaton(other))
    a, b = sorted((_pattern(one), _pattern(other)), key=lambda pattern: len(pattern.segments))
    if len(a.segments) < len(b.segments) and not a.open:
        return False
    return all(map(_meet, a.segments, b.segments))


def is_dots(segment: str) -> bool:
    """Whether servers may take a segment, decoded, for none or a step up: ``.``, ``..``, also ``..;a=1``."""
    return segment.partition(";")[0] in {".", ".."}


def plain(path: str) -> str:
    """A path, as it is written in a request, without what many servers take no notice of.

    Those are empty segments (``//``), the segments ``.`` and ``..``, and parameters of segments (``;a=1``). A
    slash at the end stays.
    """
    if not _ODD.search(path):
        return path
    kept: list[str] = []
    name = ""
    for segment in _WRITTEN_SLASH.split(path)[1:]:
        name = segment.partition(";")[0]
        match unquote(name):
            case "" | ".":
                name = ""
            case "..":
                name = ""
                del kept[-1:]
            case _:
                kept.append(name)
    return _SLASH + _SLASH.join(kept) + (_SLASH if kept and not name else "")


def variables(route: Route, path: str) -> dict[str, str]:
    """What the variables of a route's template stand for in the path of a request, as it is written there."""
    if not covers(route, unquote(path)):
        path = plain(path)
    named = zip(_segments(route.path_template), _WRITTEN_SLASH.split(path)[1:], strict=False)
    return {name[1:-1]: value for name, value in named if VARIABLE.fullmatch(name)}


def names(text: str) -> list[str]:
    """The variables that a text has, in their order."""
    return VARIABLE.findall(text)


def shown(route: Route) -> str:
    """A route's requests, for people."""
    prefix = f"{route.path_prefix} (prefix)" if route.path_prefix else ""
    regex = f"{route.path_regex} (regex)" if route.path_regex else ""
    return f"{route.method} {route.path or route.path_template or prefix or regex}"


def matches_paths(regex: str) -> bool:
    """Whether an expression matches anything that a path can be."""
    return meet(compiled(regex), Automaton(row(literal(_SLASH), some(ANY, 0)), 2))


def _automaton(route: Route) -> Automaton:
    if route.path_regex:
        return compiled(route.path_regex)
    pattern = _pattern(route)
    parts = [
        row(literal(_SLASH), some(but(single(_SLASH)), 1) if each is None else literal(each))
        for each in pattern.segments
    ]
    if pattern.open:
        parts.append(perhaps(row(literal(_SLASH), some(ANY, 0))))
    return Automaton(row(*parts), len(shown(route)))


def _pattern(route: Route) -> _Pattern:
    if route.path_prefix:
        prefix = route.path_prefix.rstrip("/")
        return _Pattern(tuple(_segments(prefix)) if prefix else (), open=True)
    if route.path_template:
        found = _segments(route.path_template)
        return _Pattern(tuple(None if VARIABLE.fullmatch(each) else each for each in found))
    return _Pattern(tuple(_segments(route.path)))


def _segments(path: str) -> list[str]:
    return path.split("/")[1:]


def _fits(wanted: str | None, segment: str) -> bool:
    return bool(segment) if wanted is None else wanted == segment


def _meet(one: str | None, other: str | None) -> bool:
    if one is None or other is None:
        return one != "" and other != ""
    return one == other
