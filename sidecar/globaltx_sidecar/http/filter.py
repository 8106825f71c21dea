"""What a request means: it begins a transaction, takes part in one, or is just passed on.

Pure: the proxy asks, this answers.
"""

from __future__ import annotations

import re
from itertools import combinations
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import unquote

from globaltx.coordinator.matching import covers, overlap, plain, shown
from globaltx.coordinator.policy import Propagation
from globaltx.coordinator.reasons import SENTENCES, Reason
from globaltx.transaction.xid import InvalidXidError
from globaltx.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from globaltx.coordinator.policy import Route
    from globaltx.transaction.xid import Xid


@dataclass(frozen=True, slots=True)
class Begin:
    """The request begins a transaction, as its route says."""

    route: Route


@dataclass(frozen=True, slots=True)
class TakePart:
    """The request carries the xid of a transaction that was begun elsewhere.

    ``route`` is set where more is to be done than to pass the xid on.
    """

    xid: Xid
    route: Route | None = None


@dataclass(frozen=True, slots=True)
class Pass:
    """The request is no business of ours; ``bare`` when an xid in it must go no further."""

    bare: bool = False


@dataclass(frozen=True, slots=True)
class Refuse:
    """The client made a mistake; ``message`` says which and what to do."""

    reason: Reason
    message: str


_AUTHORITY = re.compile(r"^[^:/?#]*://[^/?#]*")
"""What stands before the path where a target names a host: a scheme, and who is asked."""

_FOUND_MAX, _REMEMBERED_LENGTH_MAX = 1024, 256
"""How many paths are remembered, and how long the target of one may be."""

Action: TypeAlias = Begin | TakePart | Pass | Refuse


class AmbiguousRoutesError(ValueError):
    """Two routes claim the same request."""


class Filter:
    """The routes of a sidecar, looked up in one step for whole paths.

    Raises:
        AmbiguousRoutesError: there are requests that two of the routes claim.
    """

    def __init__(self, routes: Iterable[Route] = (), *, edge: bool = False) -> None:
        self.routes = tuple(routes)
        self.edge = edge
        for one, other in combinations(self.routes, 2):
            if overlap(one, other):
                message = (
                    f"routes {one.name!r} and {other.name!r} both claim {shown(one)}: "
                    "make their paths or methods differ"
                )
                raise AmbiguousRoutesError(message)
        self._whole = {(route.method, route.path): route for route in self.routes if route.path}
        self._found: dict[tuple[str, str], Route | None] = {}
        """What was found for the paths that came, as they are written: the same ones come again and again."""
        self._methods = frozenset(route.method for route in self.routes)
        self._prefixes = tuple(route for route in self.routes if not route.path)

    def find(self, method: str, target: str) -> Route | None:
        """Find the route of a request by its method and request target (undecoded, query and all).

        A path that no route has as it is written is looked for once more in a plainer form: the application
        may read it so, and nothing gets round a route by ``//`` or ``/./``.
        """
        if method not in self._methods:
            return None
        asked = method, written_path(target)
        if asked in self._found:
            return self._found[asked]
        found = self._look(*asked)
        if len(target) <= _REMEMBERED_LENGTH_MAX:
            if len(self._found) >= _FOUND_MAX:
                self._found.clear()
            self._found[asked] = found
        return found

    def _look(self, method: str, written: str) -> Route | None:
        found = self._at(method, unquote(written))
        if found is None and (plainer := plain(written)) != written:
            return self._at(method, unquote(plainer))
        return found

    def _at(self, method: str, path: str) -> Route | None:
        whole = self._whole.get((method, path))
        if whole is not None:
            return whole
        return next((each for each in self._prefixes if each.method == method and covers(each, path)), None)

    def judge(self, method: str, target: str, carried: Callable[[], Xid | None]) -> Action:
        """Say what a request means; ``carried`` finds the xid in it, as `headers.find_xid` does.

        A broken xid is refused only where it matters: ``xid`` is a common word, and a request
        that no route claims may use it for something of its own.
        """
        route = self.find(method, target)
        if self.edge:
            return Pass(bare=True) if route is None else _judged(route, None)
        try:
            xid = carried()
        except InvalidXidError as error:
            return Pass() if route is None else Refuse(Reason.INVALID_XID, str(error))
        if route is not None:
            return _judged(route, xid)
        return Pass() if xid is None else TakePart(xid)


def _judged(route: Route, xid: Xid | None) -> Action:
    """What the route's propagation makes of an xid, or of none."""
    if xid is None:
        return _without_xid(route)
    match route.propagation:
        case Propagation.REQUIRES_NEW:
            return Begin(route)
        case Propagation.NOT_SUPPORTED:
            return Pass(bare=True)
        case Propagation.NEVER:
            said = f"{SENTENCES[Reason.XID_NOT_ALLOWED]} (route {route.name!r}, propagation Never)"
            return Refuse(Reason.XID_NOT_ALLOWED, said)
        case Propagation.MANDATORY:
            return TakePart(xid, route)
        case Propagation.REQUIRED | Propagation.SUPPORTS:
            return TakePart(xid, route if route.tries else None)


def _without_xid(route: Route) -> Action:
    match route.propagation:
        case Propagation.REQUIRED | Propagation.REQUIRES_NEW:
            return Begin(route)
        case Propagation.MANDATORY:
            said = f"{SENTENCES[Reason.XID_REQUIRED]} (route {route.name!r}, propagation Mandatory)"
            return Refuse(Reason.XID_REQUIRED, said)
        case Propagation.SUPPORTS | Propagation.NOT_SUPPORTED | Propagation.NEVER:
            return Pass()


def origin_form(target: str) -> str:
    """A request target as the path and query that it has: https://www.rfc-editor.org/rfc/rfc9112#section-3.2."""
    if target.startswith("/"):
        return target
    rest = _AUTHORITY.sub("", target)
    return rest if rest.startswith("/") else f"/{rest}"


def written_path(target: str) -> str:
    """The path of a request target, not decoded."""
    return origin_form(target).partition("?")[0].partition("#")[0]


def path_of(target: str) -> str:
    """The decoded path of a request target, as the application will see it.

    Decoded, because ``/v1/order/%63reate`` reaches the same handler as ``/v1/order/create`` and
    must not get round the transaction.
    """
    return unquote(written_path(target))
