"""Our messages, beside those of a library that was made of etcd's own definitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aetcd.rpc import auth_pb2, kv_pb2, rpc_pb2

from globaltx.stores.etcd import messages, requests
from globaltx.stores.etcd.errors import CompactedError, DeniedError, EtcdUnavailableError, TokenRefusedError
from globaltx.stores.etcd.protobuf import MessageError
from globaltx.stores.etcd.requests import Form, KeyValue, Txn

if TYPE_CHECKING:
    from google.protobuf.message import Message

PREFIX, END = b"/globaltx/shop/", b"/globaltx/shop0"
RANGE = {"key": PREFIX, "range_end": END}
HEADER = rpc_pb2.ResponseHeader(cluster_id=2**63 + 5, member_id=7, revision=42, raft_term=3)


def op(**kind: Message) -> Message:
    return rpc_pb2.RequestOp(**kind)


def same(ours: bytes, theirs: Message) -> None:
    assert type(theirs).FromString(ours) == theirs


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (requests.put("a", "é"), op(request_put=rpc_pb2.PutRequest(key=b"a", value="é".encode()))),
        (requests.put("a", ""), op(request_put=rpc_pb2.PutRequest(key=b"a"))),
        (requests.put("a" * 300, ""), op(request_put=rpc_pb2.PutRequest(key=b"a" * 300))),
        (
            requests.put("a" * 200, "v" * 20000),
            op(request_put=rpc_pb2.PutRequest(key=b"a" * 200, value=b"v" * 20000)),
        ),
        (requests.get("a"), op(request_range=rpc_pb2.RangeRequest(key=b"a"))),
        (requests.get_all("/globaltx/shop/"), op(request_range=rpc_pb2.RangeRequest(**RANGE))),
        (requests.delete("a"), op(request_delete_range=rpc_pb2.DeleteRangeRequest(key=b"a"))),
        (
            requests.delete_all("/globaltx/shop/"),
            op(request_delete_range=rpc_pb2.DeleteRangeRequest(**RANGE)),
        ),
    ],
)
def test_operations(ours: bytes, theirs: Message) -> None:
    same(Txn(success=(ours, ours)).to_bytes(), rpc_pb2.TxnRequest(success=[theirs, theirs]))
    same(Txn(failure=(ours,)).to_bytes(), rpc_pb2.TxnRequest(failure=[theirs]))


COMPARE = rpc_pb2.Compare


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (requests.exists("k"), COMPARE(result=COMPARE.GREATER, target=COMPARE.CREATE, key=b"k")),
        (requests.revision_is("k", 300), COMPARE(target=COMPARE.MOD, key=b"k", mod_revision=300)),
        (requests.absent("k" * 300), COMPARE(target=COMPARE.CREATE, key=b"k" * 300)),
        (requests.absent("k"), COMPARE(result=COMPARE.EQUAL, target=COMPARE.CREATE, key=b"k")),
        (requests.value_is("k", None), COMPARE(result=COMPARE.EQUAL, target=COMPARE.CREATE, key=b"k")),
        (requests.value_is("k", "v"), COMPARE(target=COMPARE.VALUE, key=b"k", value=b"v")),
        (requests.value_is("k", ""), COMPARE(target=COMPARE.VALUE, key=b"k", value=b"")),
        (requests.value_below("k", "v"), COMPARE(result=COMPARE.LESS, target=3, key=b"k", value=b"v")),
        (requests.value_above("k", "v"), COMPARE(result=COMPARE.GREATER, target=3, key=b"k", value=b"v")),
    ],
)
def test_comparisons(ours: bytes, theirs: Message) -> None:
    same(Txn((ours, ours)).to_bytes(), rpc_pb2.TxnRequest(compare=[theirs, theirs]))


def test_transactions_within_transactions() -> None:
    inner = Txn((requests.absent("k"),), (requests.put("k", "v" * 300),), (requests.get("k"),))
    theirs = rpc_pb2.TxnRequest(
        compare=[COMPARE(target=COMPARE.CREATE, key=b"k")],
        success=[op(request_put=rpc_pb2.PutRequest(key=b"k", value=b"v" * 300))],
        failure=[op(request_range=rpc_pb2.RangeRequest(key=b"k"))],
    )
    same(inner.to_bytes(), theirs)
    outer = requests.all_of([inner, inner])
    same(outer.to_bytes(), rpc_pb2.TxnRequest(success=[op(request_txn=theirs)] * 2))
    assert requests.together([inner.to_bytes()] * 2) == outer.to_bytes()
    assert 300 < inner.weight < 330
    assert outer.weight > 600


@pytest.mark.parametrize("length", [1, 100, 300])
@pytest.mark.parametrize("value", ["", "é" * 9, "v" * 20000])
def test_a_form_is_a_transaction_with_other_keys(length: int, value: str) -> None:
    form = Form(there=(0,), absent=(1, 2), put=2)
    for name in "ab":
        keys = [f"{name}{each}" * length for each in range(4)]
        expected = Txn(
            (requests.exists(keys[0]), requests.absent(keys[1]), requests.absent(keys[2])),
            (requests.put(keys[2], value),),
            tuple(map(requests.get, keys)),
        )
        assert form.to_bytes(keys, value) == expected.to_bytes()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (
            messages.page("/globaltx/shop/x", "/globaltx/shop/", 10, 5),
            rpc_pb2.RangeRequest(key=PREFIX + b"x", range_end=END, limit=10, revision=5),
        ),
        (messages.count_none(), rpc_pb2.RangeRequest(key=b"\0", count_only=True)),
        (messages.compaction(7), rpc_pb2.CompactionRequest(revision=7)),
        (
            messages.watch("/globaltx/shop/", 2**40, deletes=False),
            rpc_pb2.WatchRequest(
                create_request=rpc_pb2.WatchCreateRequest(**RANGE, start_revision=2**40, filters=[1])
            ),
        ),
        (
            messages.watch("/globaltx/shop/", 1, deletes=True),
            rpc_pb2.WatchRequest(create_request=rpc_pb2.WatchCreateRequest(**RANGE, start_revision=1)),
        ),
        (messages.authenticate("n", "p"), rpc_pb2.AuthenticateRequest(name="n", password="p")),
        (messages.new_user("n", "p"), rpc_pb2.AuthUserAddRequest(name="n", password="p")),
        (messages.new_user("n", "p"), rpc_pb2.AuthUserChangePasswordRequest(name="n", password="p")),
        (messages.new_role("r"), rpc_pb2.AuthRoleAddRequest(name="r")),
        (messages.role_of_user("u", "r"), rpc_pb2.AuthUserGrantRoleRequest(user="u", role="r")),
        (
            messages.permission("r", "/globaltx/shop/"),
            rpc_pb2.AuthRoleGrantPermissionRequest(
                name="r", perm=auth_pb2.Permission(permType=auth_pb2.Permission.READWRITE, **RANGE)
            ),
        ),
    ],
)
def test_other_requests(ours: bytes, theirs: Message) -> None:
    same(ours, theirs)


def kv(key: bytes, value: bytes = b"", revision: int = 1) -> Message:
    return kv_pb2.KeyValue(
        key=key, value=value, create_revision=1, mod_revision=revision, version=3, lease=-5
    )


FOUND = rpc_pb2.RangeResponse(header=HEADER, kvs=[kv(b"a", b"1"), kv(b"b", b"\xff")], more=True, count=9)


def test_what_transactions_answer() -> None:
    inner = rpc_pb2.TxnResponse(succeeded=False, responses=[rpc_pb2.ResponseOp(response_range=FOUND)])
    told = rpc_pb2.TxnResponse(
        header=HEADER,
        succeeded=True,
        responses=[
            rpc_pb2.ResponseOp(response_txn=inner),
            rpc_pb2.ResponseOp(response_txn=rpc_pb2.TxnResponse(succeeded=True)),
        ],
    )
    answer = requests.answer_of(told.SerializeToString())
    first, second = answer.nested(2)
    assert (answer.succeeded, first.succeeded, second.succeeded) == (True, False, True)
    assert first.found(0) == [KeyValue("a", "1", 1), KeyValue("b", "\N{REPLACEMENT CHARACTER}", 1)]
    with pytest.raises(MessageError, match="too few"):
        second.found(0)
    with pytest.raises(MessageError, match="3 were asked for"):
        answer.nested(3)


def test_what_ranges_and_others_answer() -> None:
    page = messages.read_page(FOUND.SerializeToString())
    assert (page.revision, page.more, [each.key for each in page.found]) == (42, True, ["a", "b"])
    assert messages.read_page(rpc_pb2.RangeResponse(header=HEADER).SerializeToString()).found == []
    told = rpc_pb2.AuthenticateResponse(header=HEADER, token="t.1")
    assert messages.read_token(told.SerializeToString()) == "t.1"
    users = rpc_pb2.AuthUserListResponse(header=HEADER, users=["root", "x"])
    assert messages.read_users(users.SerializeToString()) == ["root", "x"]


def test_what_watches_tell() -> None:
    told = rpc_pb2.WatchResponse(
        header=HEADER,
        events=[
            kv_pb2.Event(type=kv_pb2.Event.PUT, kv=kv(b"a", b"1", 39)),
            kv_pb2.Event(type=kv_pb2.Event.DELETE, kv=kv(b"b", b"", 40)),
        ],
    )
    changes = messages.read_changes(told.SerializeToString())
    assert changes is not None
    assert (changes.revision, changes.behind) == (40, 2)
    assert [(each.key_value.key, each.deleted) for each in changes.changes] == [("a", False), ("b", True)]
    assert (
        messages.read_changes(rpc_pb2.WatchResponse(header=HEADER, created=True).SerializeToString()) is None
    )


@pytest.mark.parametrize(
    ("told", "error"),
    [
        ({"compact_revision": 5}, CompactedError),
        (
            {"cancel_reason": "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token"},
            TokenRefusedError,
        ),
        ({"cancel_reason": "etcdserver: permission denied"}, DeniedError),
        ({}, EtcdUnavailableError),
    ],
)
def test_how_watches_end(told: dict[str, int | str], error: type[Exception]) -> None:
    with pytest.raises(error):
        messages.read_changes(rpc_pb2.WatchResponse(header=HEADER, canceled=True, **told).SerializeToString())
