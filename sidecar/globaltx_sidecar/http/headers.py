"""The headers of a proxied message: which belong to one hop, and how an xid travels in them.

An xid comes in as ``globaltx-xid``, as ``x-dbpack-xid`` or ``xid`` (what applications written
for DBPack send), or as the entry ``globaltx-xid`` of W3C baggage
(https://www.w3.org/TR/baggage/), which instrumented applications pass on by themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import unquote

from multidict import CIMultiDict, CIMultiDictProxy, istr

from globaltx.modes.guard_row import Guarded, InvalidGuardError
from globaltx.transaction.xid import InvalidXidError, Xid
from globaltx_sidecar.http1 import names
from globaltx_sidecar.http1.heads import folded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from globaltx.modes.tcc import Operation
    from globaltx.transaction.model import BranchId
    from globaltx_sidecar.http1.requests import RequestHead

Headers: TypeAlias = "CIMultiDict[str] | CIMultiDictProxy[str]"

XID_HEADER = "globaltx-xid"
SEED_XID_HEADER = "x-dbpack-xid"
XID_HEADERS = (XID_HEADER, SEED_XID_HEADER, "xid")
BRANCH_HEADER = "globaltx-branch"
OPERATION_HEADER = "globaltx-operation"
ATTEMPT_HEADER = "globaltx-attempt"
GUARD_HEADER = "globaltx-guard"
"""What a statement hands on in its hint ``XidGuard``, to be guarded by a row in its database."""
BRANCH_HEADERS = (BRANCH_HEADER, OPERATION_HEADER, ATTEMPT_HEADER, GUARD_HEADER)
SAGA_HEADER = "globaltx-saga"
"""The xid of a declared saga: not an xid to take part in, because each step is complete in itself."""
STEP_HEADER = "globaltx-step"
FOUND_HEADER = "globaltx-found"
"""What a guard row has said of a step's call, in the answer that is given instead of the application's."""
KEY_HEADER = "idempotency-key"
BAGGAGE_HEADER = "baggage"
BAGGAGE_KEY = "globaltx-xid"
_MARKS = frozenset((*XID_HEADERS, *BRANCH_HEADERS, SAGA_HEADER, STEP_HEADER, BAGGAGE_HEADER))
"""What says which transaction a request is of, or what a request that no route names is to be asked for."""
OF_TRANSACTIONS = _MARKS | {KEY_HEADER}
"""What says which transaction a request is of, or what it is in there."""
_XID_ALONE = frozenset((XID_HEADER,))
_NOT_FROM_OUTSIDE = frozenset((XID_HEADER, SEED_XID_HEADER, GUARD_HEADER))

HOP_BY_HOP = tuple(map(istr, names.HOP_BY_HOP))  # its folded form is kept, so that a look-up need not make it


def end_to_end(headers: Headers) -> CIMultiDict[str]:
    """Copy the headers without those of this hop, also those that ``Connection`` names."""
    kept = headers.copy()
    for line in headers.getall("connection", ()):
        for name in line.split(","):
            if name.strip().lower() != "host":
                kept.popall(name.strip(), None)
    for name in HOP_BY_HOP:
        kept.popall(name, None)
    return kept


def with_trailers(headers: Headers) -> CIMultiDict[str]:
    """The same for a message whose trailers are passed on: it goes on saying which there will be."""
    kept = end_to_end(headers)
    if "Trailer" in headers:
        kept["Trailer"] = ", ".join(headers.getall("Trailer"))
    return kept


def find_xid(headers: Headers) -> Xid | None:
    """Find the xid that a request carries; None when it carries none.

    Raises:
        InvalidXidError: what is carried is no xid, or the headers name two different ones.
    """
    found = {Xid.parse(text) for text in _carried(headers)}
    if len(found) > 1:
        message = f"the request names more than one xid: {', '.join(map(str, sorted(found)))}"
        raise InvalidXidError(message)
    return found.pop() if found else None


def is_marked(head: RequestHead) -> bool:
    """Whether a request says anything about a transaction, but for the key that tells a try's repeats."""
    return not _MARKS.isdisjoint(head.names.folded)


def xid_of(head: RequestHead) -> Xid | None:
    """The same, of a head that need not be taken apart for it."""
    said = _MARKS & head.names.folded
    if not said:
        return None
    text = head.only(XID_HEADER) if said == _XID_ALONE else None
    return Xid.parse(text) if text else find_xid(head.headers)


def xid_headers(xid: Xid) -> tuple[tuple[str, str], ...]:
    """The headers that applications look for, where nothing else is in them."""
    text = str(xid)
    return (XID_HEADER, text), (SEED_XID_HEADER, text), (BAGGAGE_HEADER, f"{BAGGAGE_KEY}={text}")


def carry_xid(headers: CIMultiDict[str], xid: Xid) -> None:
    """Put the xid into every header that applications look for; other baggage stays."""
    headers[XID_HEADER] = headers[SEED_XID_HEADER] = str(xid)
    kept = [member for member in _members(headers) if _key(member) != BAGGAGE_KEY]
    headers[BAGGAGE_HEADER] = ",".join([*kept, f"{BAGGAGE_KEY}={xid}"])


def branch_headers(branch: BranchId, operation: Operation, attempt: int) -> tuple[tuple[str, str], ...]:
    """The headers that say which branch a call is of, what is asked, and for how many times it was asked."""
    return (
        (BRANCH_HEADER, branch.name),
        (OPERATION_HEADER, operation),
        (ATTEMPT_HEADER, str(attempt)),
        (GUARD_HEADER, str(Guarded.of(branch, operation))),
    )


def carry_branch(headers: CIMultiDict[str], branch: BranchId, operation: Operation, attempt: int) -> None:
    """Say so in the headers of a call."""
    for name, value in branch_headers(branch, operation, attempt):
        headers[name] = value


def step_of(headers: CIMultiDict[str], namespace: str) -> Guarded | None:
    """The step of a declared saga that a request calls, if its application may guard it.

    A guard of another namespace is taken out: nobody here may look when that saga has ended, so that its rows
    would be forgotten too soon.
    """
    if SAGA_HEADER not in headers or GUARD_HEADER not in headers:
        return None
    try:
        call = Guarded.parse(headers[GUARD_HEADER])
    except InvalidGuardError:
        return None
    if call.xid.namespace == namespace:
        return call
    headers.popall(GUARD_HEADER)
    return None


def drop_xid(headers: CIMultiDict[str]) -> None:
    """Take an xid out of every header that can carry one; other baggage stays.

    ``xid`` is a common word: what is no xid is something of the application's own.
    """
    headers.popall(XID_HEADER, None)
    headers.popall(SEED_XID_HEADER, None)
    if any(map(_is_xid, headers.getall("xid", ()))):
        headers.popall("xid")
    if BAGGAGE_HEADER in headers:
        kept = [member for member in _members(headers) if _key(member) != BAGGAGE_KEY]
        headers.popall(BAGGAGE_HEADER)
        if kept:
            headers[BAGGAGE_HEADER] = ",".join(kept)


def drop_outside(headers: CIMultiDict[str]) -> None:
    """Take out all by which somebody from outside could have a part in a transaction, also a guarded call.

    Many applications cannot tell ``-`` from ``_`` in a name, so it is none the better for an ``_``.
    """
    for name in {*headers}:
        if folded(name) in _NOT_FROM_OUTSIDE:
            headers.popall(name, None)
    drop_xid(headers)


def _is_xid(text: str) -> bool:
    try:
        Xid.parse(text.strip())
    except InvalidXidError:
        return False
    return True


def _carried(headers: Headers) -> Iterator[str]:
    for name in XID_HEADERS:
        yield from (value.strip() for value in headers.getall(name, ()) if value.strip())
    for member in _members(headers):
        if _key(member) == BAGGAGE_KEY:
            yield unquote(member.partition("=")[2].partition(";")[0].strip())


def _members(headers: Headers) -> list[str]:
    lines = headers.getall(BAGGAGE_HEADER, ())
    return [member.strip() for line in lines for member in line.split(",") if member.strip()]


def _key(member: str) -> str:
    return member.partition("=")[0].strip()
