"""How a reservation stands that was tried by gRPC: who diagnoses asks by GET, the application by gRPC.

A diagnosis comes through the API server, whose proxy to pods speaks HTTP/1.1, and knows nothing of the
application's messages. So the method is called with an empty message, which is one of every type, and the
branch in its metadata; of the answer field 1 is read, a text, as ``google.protobuf.StringValue`` has it.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING

from multidict import CIMultiDict

from globaltx.coordinator.matching import covers, names
from globaltx.coordinator.policy import Route
from globaltx.modes.tcc import GRPC_OK
from globaltx.modes.tcd import STATE
from globaltx.transaction.calls import is_grpc
from globaltx_sidecar.http.answers import Response
from globaltx_sidecar.http.filter import path_of
from globaltx_sidecar.http.headers import BRANCH_HEADER, OPERATION_HEADER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from globaltx.coordinator.policy import Tcd
    from globaltx_sidecar.http.headers import Headers
    from globaltx_sidecar.http.upstream import Upstream
    from globaltx_sidecar.http2.calling import Answer

METHOD = "GET"
"""By which a state is asked for."""
_CARRIED = ("content-type", BRANCH_HEADER, OPERATION_HEADER)


def asked_for(routes: Iterable[Route], method: str, target: str, headers: Headers) -> Tcd | None:
    """The rules of the reservation whose state is to be asked for by gRPC; None for all other requests.

    Only what a route names as ``state`` is: a GET reaches no other method.
    """
    if method != METHOD or headers.get(OPERATION_HEADER) != STATE:
        return None
    if not is_grpc(headers.get("content-type", "")):
        return None
    path = path_of(target)
    return next((each.tcd for each in routes if each.tcd and covers(_state(each.tcd), path)), None)


def _state(tcd: Tcd) -> Route:
    path = tcd.reservation.state
    return Route(STATE, path_template=path) if names(path) else Route(STATE, path=path)


async def ask(upstream: Upstream, tcd: Tcd, target: str, headers: Headers) -> Response:
    """Ask the application.

    Raises:
        UpstreamError: there is no answer within the time of a call.
    """
    from globaltx_sidecar.http2.metadata import NOTHING  # noqa: PLC0415  only where there is gRPC

    carried = CIMultiDict((name, headers[name]) for name in _CARRIED if name in headers)
    seconds = tcd.timeout.total_seconds()
    return _told(await upstream.call_grpc(target, carried, NOTHING, seconds))


def _told(answer: Answer) -> Response:
    if answer.status != GRPC_OK:
        return _response(HTTPStatus.BAD_GATEWAY, {"grpcStatus": answer.status, "message": answer.said})
    state = _text(answer.message)
    if state is None:
        said = "it is no message whose field 1 is a text"
        return _response(HTTPStatus.BAD_GATEWAY, {"grpcStatus": answer.status, "message": said})
    return _response(HTTPStatus.OK, {"state": state})


def _text(message: bytes) -> str | None:
    """The text in field 1 of a message; None if there is none."""
    from globaltx.stores.etcd import protobuf  # noqa: PLC0415  as above

    try:
        return protobuf.read(message).piece(1).decode() or None
    except (protobuf.MessageError, UnicodeDecodeError):
        return None


def _response(status: HTTPStatus, told: dict[str, str | int]) -> Response:
    headers = CIMultiDict({"Content-Type": "application/json; charset=utf-8"})
    return Response(status, status.phrase, (json.dumps(told) + "\n").encode(), headers)
