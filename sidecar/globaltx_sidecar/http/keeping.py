"""What is kept of a request that makes a branch, and the calls that its branch asks for; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from globaltx.coordinator.matching import VARIABLE, is_dots, variables
from globaltx.coordinator.policy import Saga
from globaltx.coordinator.reasons import Reason
from globaltx.manifest.schemas.branches import HEADER_LENGTH_MAX, HEADERS_MAX, QUERY_LENGTH_MAX
from globaltx.manifest.schemas.egress import PATH_LENGTH_MAX
from globaltx.transaction.calls import BODY_BYTES_MAX, Calls, Request, Step
from globaltx.values import replace
from globaltx_sidecar.http.headers import KEY_HEADER
from globaltx_sidecar.http.upstream import UpstreamError

if TYPE_CHECKING:
    from globaltx.coordinator.policy import Route
    from globaltx.coordinator.policy import Tries as Rules
    from globaltx.transaction.calls import Reservation
    from globaltx_sidecar.http.headers import Headers

_SAFE = "!$&'()*+,;=:@%"
"""What a segment of a path may hold as it is written: https://www.rfc-editor.org/rfc/rfc3986#section-3.3."""

CODING_HEADER = "content-encoding"


class NotLetThroughError(UpstreamError):
    """The request did not reach the application."""

    def __init__(self, status: int, reason: Reason, message: str) -> None:
        super().__init__(status, message)
        self.reason = reason


def calls_of(
    rules: Rules, route: Route, path: str, request: Request, by: str, *, traced: bool = False
) -> Calls:
    """What a try's branch asks for at its end, by the rules of now; ``path`` is the try's as it is written.

    Raises:
        NotLetThroughError: a path would be longer than can be kept, or lead elsewhere than the policy says.
    """
    found = variables(route, path) if route.path_template else {}
    _check(found)
    reservation = rules.reservation
    return Calls(
        on_commit=filled(rules.confirm, found),
        on_rollback=filled(rules.cancel, found),
        request=request,
        timeout=rules.timeout,
        success_statuses=rules.success_statuses,
        refusals_max=rules.refusals_max,
        guarded=rules.guarded,
        by=by,
        traced=traced,
        step=Step(route.name, rules.order, rules.depends_on) if isinstance(rules, Saga) else None,
        reservation=reservation and _held(reservation, found, grpc=request.grpc),
    )


def _held(reservation: Reservation, found: dict[str, str], *, grpc: bool) -> Reservation:
    return replace(reservation.told_by(grpc=grpc), state=filled(reservation.state, found))


def _check(found: dict[str, str]) -> None:
    """Refuse what an application may read as a step up or as none: a call would go to another path."""
    for name, value in found.items():
        if is_dots(unquote(value)):
            message = (
                f"the path's variable {name} is {value!r}, which would lead the calls at its end elsewhere"
            )
            raise NotLetThroughError(400, Reason.REQUEST_NOT_SUPPORTED, message)


def filled(path: str, found: dict[str, str]) -> str:
    """Put what a template's variables stand for into another path, as it was written.

    Written otherwise it could be read as another one: to some servers a name ends at ``;`` and not at
    ``%3B``, and what is no UTF-8 cannot be decoded and written again.

    Raises:
        NotLetThroughError: it would be longer than can be kept.
    """
    made = VARIABLE.sub(lambda name: quote(found[name[1]], safe=_SAFE, errors="surrogateescape"), path)
    if len(made) > PATH_LENGTH_MAX:
        raise too_large()
    return made


def kept(method: str, target: str, headers: Headers, body: bytes, names: tuple[str, ...]) -> Request:
    """What is kept of a try; of its headers those of these names, and that without which no body can be read.

    Raises:
        NotLetThroughError: it is more than can be kept, or cannot be written down.
    """
    query = target.partition("?")[2].partition("#")[0]
    found: tuple[tuple[str, str], ...] = ()
    if headers:
        every = dict.fromkeys((*names, CODING_HEADER))
        found = tuple((name, value) for name in every for value in headers.getall(name, ()))
    large = (
        len(body) > BODY_BYTES_MAX
        or len(query) > QUERY_LENGTH_MAX
        or len(found) > HEADERS_MAX
        or any(len(value) > HEADER_LENGTH_MAX for _, value in found)
    )
    if large:
        raise too_large()
    if not query.isascii() or not all(value.isascii() for _, value in found):
        message = "the query and the headers that are kept for the calls must be ASCII"
        raise NotLetThroughError(400, Reason.REQUEST_NOT_SUPPORTED, message)
    return Request(method, query, found, body)


def key_of(headers: Headers) -> str:
    """What tells a try's repeats from others; empty: there are none.

    Raises:
        NotLetThroughError: it does not say which; a repeat would not be known for one.
    """
    values = headers.getall(KEY_HEADER, ())
    if not values:
        return ""
    if len(values) > 1 or not values[0] or not values[0].isascii():
        message = f"{KEY_HEADER} must be there once, and be ASCII"
        raise NotLetThroughError(400, Reason.REQUEST_NOT_SUPPORTED, message)
    return values[0]


def too_large() -> NotLetThroughError:
    """The refusal of a try that cannot be kept."""
    message = (
        f"a request is kept for the calls at its end, so its body must have at most {BODY_BYTES_MAX} bytes, "
        f"its query {QUERY_LENGTH_MAX} characters, the path of each call {PATH_LENGTH_MAX}, and of headers "
        f"{HEADERS_MAX} are kept, {HEADER_LENGTH_MAX} characters each"
    )
    return NotLetThroughError(413, Reason.REQUEST_TOO_LARGE, message)
