"""Undo records that are the global locks, and the fence.

The primary key of the undo table is the lock: the database itself finds that a row is another
transaction's (its CHECK fails), in the same statement and local transaction that writes the undo
record. Every local commit also writes the row ('', xid), the fence, and a rollback takes that
row for itself before it looks for undo records: whoever comes second waits for the first and
then sees it, so that no local commit can slip in behind a rollback.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from globaltx.transaction.xid import InvalidXidError, Xid
from globaltx.undo import keys, literal, values
from globaltx.undo.literal import Text, identifier
from globaltx.undo.refusal import refuse
from globaltx.undo.table import UNDO_TABLE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from globaltx.undo.plan import UndoRecord
    from globaltx.undo.shape import TableShape

LOCK_CONFLICT_ERRORS = frozenset({3819, 4025})
"""A CHECK was violated: 3819 on MySQL, 4025 on MariaDB."""
MISSING_TABLE_ERRORS = frozenset({1146, 1142, 1143})
"""No such table, or a right on it is missing."""
HOLDER_QUERY = b"SELECT @globaltx_holder, @globaltx_holder := NULL"
"""After a lock conflict: one row whose first column tells who holds the lock (see `holder`)."""
_WITH_CHECKS = "/*M!100201 SET STATEMENT check_constraint_checks=1 FOR */ "
"""For MariaDB, where a session can switch CHECKs off; to MySQL it is a comment."""
INSERT_BYTES_MAX = values.IMAGE_BYTES_MAX
"""Under the 16 MiB that ``max_allowed_packet`` usually is."""

NOTHING_NOTED = f"SET {','.join(f'{each}=NULL' for each in values.NOTED)}".encode()
NOTED_QUERY = f"SELECT {','.join(values.NOTED)}".encode()
"""What a noting image has found, as one row; NULLs if that is nothing."""
_NOTED = f"CONVERT({values.NOTED[1]} USING utf8mb4)"
_NOTED_IS_KEPT = f"IFNULL(LEFT({_NOTED},1)='{{' AND LENGTH({_NOTED})<={INSERT_BYTES_MAX // 2},0)"
"""Whether a noted image may be taken unseen: what is larger may be too large to be put back."""
_ROLLBACK_MARK = "!"
_SINGLE_DELETES_MAX = 100
_REFUSED_AS_TOO_LARGE = f"LENGTH(@globaltx_holder:='{values.TOO_LARGE}')=0"
"""0, which violates the CHECK, with the reason in the holder's place."""
_ASKING_MARK = "?"
"""Stands before the xid in rows that only ask; no local transaction commits them."""
_COLUMNS = "table_name,row_key,xid,position,before_image,after_image,owner"
_UNREADABLE = "'unreadable'"
"""Stands for two images that could not be merged: together they are too large."""
_SPOILT = " OR ".join(
    f"{image}<=>{_UNREADABLE} OR LENGTH({image})>{values.IMAGE_BYTES_MAX}"
    for image in ("before_image", "after_image")
)
"""Whether merging has made an image that could not be compared with a row."""
_MERGED_BEFORE = (
    "IF(before_image IS NULL,NULL,IF(VALUES(before_image) IS NULL,before_image,"
    f"IFNULL(JSON_MERGE_PATCH(VALUES(before_image),before_image),{_UNREADABLE})))"
)
_MERGED_AFTER = (
    "IF(VALUES(after_image) IS NULL OR after_image IS NULL,VALUES(after_image),"
    f"IFNULL(JSON_MERGE_PATCH(after_image,VALUES(after_image)),{_UNREADABLE}))"
)
_MERGED_POSITION = "IF(VALUES(after_image) IS NULL,VALUES(position),position)"


def undo_insert(
    schema: str,
    xid: Xid,
    records: Sequence[UndoRecord],
    committed: Collection[Xid] = (),
    *,
    whole: bool = False,
    ahead: bool = False,
) -> bytes:
    """Write the one INSERT that a local commit starts with: all undo records and the fence.

    The fence comes last: of rows that were written before one in conflict, and taken back, MySQL keeps
    locks on the gaps, where others' rows may have to go while this one waits, and every fence goes into the
    same one. ``whole`` takes nothing back: records in conflict are left as they are and the others written;
    `stop_at_conflict` must follow.

    A row that the same xid has changed before keeps its first before image and gets its last
    after image. ``committed`` are transactions that held a lock and whose outcome is Commit:
    theirs are taken over. The text is ASCII and holds no ``;`` (append ``; COMMIT``).

    ``ahead``: whatever is in the way, this INSERT only fails, and another one will say why.

    Raises:
        RefusedError: the records do not fit into one packet.
    """
    name = _hex(str(xid))
    fence = f"(X'',{name},{name},0,NULL,NULL,1)"
    thinned = {record.shape.name for record in records if record.vanishing or not record.after}
    rows = [_row(record, position, name, thinned) for position, record in enumerate(records, 1)]
    text = (
        f"{_WITH_CHECKS}INSERT INTO {identifier(schema)}.{UNDO_TABLE} ({_COLUMNS})"
        f" VALUES {','.join([*rows, fence])}"
        f" ON DUPLICATE KEY UPDATE {_AHEAD if ahead else _on_duplicate(committed, whole=whole)}"
    )
    if len(text) > INSERT_BYTES_MAX:
        refuse(f"a local transaction whose undo records take {len(text)} bytes", "change fewer rows in one")
    return text.encode("utf-8", "surrogateescape")


def _row(record: UndoRecord, position: int, xid: str, thinned: Collection[str]) -> str:
    """Write one row; of the ``thinned`` tables a row may rightly be gone by the commit."""
    shape = record.shape
    found = f"FROM {_table(shape)} WHERE {keys.condition(shape, record.key)}"
    before = _before(record)
    after = f"(SELECT {values.image_of(shape, record.after)} {found})" if record.after else "NULL"
    owner = "1" if record.certain or record.shape.name in thinned else f"(SELECT COUNT(*) {found})"
    owner = _NOTED_IS_KEPT if record.noted else owner
    if record.after and values.may_be_too_large(record.after):
        owner = f"IF(after_image='{values.TOO_LARGE}',{_REFUSED_AS_TOO_LARGE},{owner})"
    return f"({_hex(shape.name)},{record.row_key},{xid},{position},{before},{after},{owner})"


def _before(record: UndoRecord) -> str:
    if record.noted:
        return _NOTED
    return "NULL" if record.before is None else _image_literal(record.before)


def stop_at_conflict(schema: str) -> bytes:
    """Write the statement that fails as `undo_insert` does if the one before it has met a conflict."""
    return f"{_WITH_CHECKS}{stop_if(schema, '@globaltx_holder IS NOT NULL')}".encode()


def stop_if(schema: str, condition: str) -> str:
    """Write the statement that violates the CHECK where a condition holds, so that a train stops there."""
    return (
        f"INSERT INTO {identifier(schema)}.{UNDO_TABLE} ({_COLUMNS})"
        f" SELECT X'',X'',X'',0,NULL,NULL,0 FROM DUAL WHERE {condition}"
    )


def _on_duplicate(committed: Collection[Xid], *, whole: bool) -> str:
    return _ON_DUPLICATE[whole] if not committed else _taking_over(committed, whole=whole)


def _taking_over(committed: Collection[Xid], *, whole: bool, refused: str = "") -> str:
    """The names of the columns stand for what is there; each is assigned after its last use.

    The holder is noted where nothing tells the server beforehand that the condition is false: MySQL
    would not evaluate ``(@globaltx_holder:=xid) IS NULL``, because the column is NOT NULL.
    ``refused`` is what else the owner of a record in conflict is to be.
    """
    refused = refused or _noting_holder("xid", whole=whole)
    theirs = ",".join(_hex(str(each)) for each in sorted(committed))
    ours = f"(xid=VALUES(xid) OR xid IN ({theirs}))" if theirs else "xid=VALUES(xid)"
    merged = {"position": _MERGED_POSITION, "before_image": _MERGED_BEFORE, "after_image": _MERGED_AFTER}
    if theirs:
        merged = {name: f"IF(xid=VALUES(xid),{sql},VALUES({name}))" for name, sql in merged.items()}
        merged["xid"] = "VALUES(xid)"
    if whole:
        merged = {name: f"IF({ours},{sql},{name})" for name, sql in merged.items()}
    new = merged.pop("xid", None)
    owner = f"IF({ours},IF({_SPOILT},{_REFUSED_AS_TOO_LARGE},VALUES(owner)),{refused})"
    assignments = {**merged, "owner": owner} | ({"xid": new} if new else {})
    return ",".join(f"{name}={sql}" for name, sql in assignments.items())


def _noting_holder(theirs: str, *, whole: bool) -> str:
    """Note who holds the record; 0, which violates the CHECK, or 1 where that is done later."""
    noted = f"LENGTH(@globaltx_holder:={theirs})"
    return f"{noted}>0" if whole else f"{noted}=0"


_AHEAD = _taking_over((), whole=False, refused="0")
_ON_DUPLICATE = {whole: _taking_over((), whole=whole) for whole in (False, True)}


def probe(
    shape: TableShape, row_key: str, found: str, xid: Xid | None, committed: Collection[Xid] = ()
) -> str:
    """Write the INSERT that finds out whether rows are another transaction's; `withdraw` takes it back.

    ``row_key`` is the SQL of a row's key, ``found`` everything from FROM on. It fails as `undo_insert`
    does. ``xid`` None: whoever asks is no transaction, and every record is another's.
    """
    passing = ",".join(_hex(str(each)) for each in sorted({xid, *committed} - {None}, key=str)) or "NULL"
    theirs = f"{UNDO_TABLE}.xid"
    return (
        f"{_WITH_CHECKS}INSERT INTO {identifier(shape.schema)}.{UNDO_TABLE} ({_COLUMNS})"
        f" SELECT {_hex(shape.name)},{row_key},{_asking(xid)},0,NULL,NULL,1 {found} ON DUPLICATE KEY UPDATE"
        f" owner=IF({theirs} IN ({passing}),1,LENGTH(@globaltx_holder:={theirs})=0)"
    )


def probe_keys(
    schema: str, records: Sequence[UndoRecord], committed: Collection[Xid] = (), *, whole: bool = False
) -> bytes:
    """Write the INSERT that finds out whether changed rows are a global transaction's.

    It fails as `undo_insert` does, or lets `stop_at_conflict` fail; `withdraw_keys` takes it back.

    Raises:
        RefusedError: the keys do not fit into one packet.
    """
    passing = ",".join([_asking(None), *(_hex(str(each)) for each in sorted(committed))])
    rows = ",".join(
        f"({_hex(record.shape.name)},{record.row_key},{_asking(None)},0,NULL,NULL,1)" for record in records
    )
    text = (
        f"{_WITH_CHECKS}INSERT INTO {identifier(schema)}.{UNDO_TABLE} ({_COLUMNS}) VALUES {rows}"
        f" ON DUPLICATE KEY UPDATE owner=IF(xid IN ({passing}),1,{_noting_holder('xid', whole=whole)})"
    )
    if len(text) > INSERT_BYTES_MAX:
        refuse(f"a change of rows whose keys take {len(text)} bytes", "change fewer rows in one")
    return text.encode("utf-8", "surrogateescape")


def withdraw_keys(schema: str, records: Sequence[UndoRecord]) -> list[bytes]:
    """Write the DELETEs of what `probe_keys` has inserted; see `withdraw`."""
    tables: dict[str, list[str]] = {}
    for record in records:
        tables.setdefault(record.shape.name, []).append(record.row_key)
    texts = (
        text for table, row_keys in tables.items() for text in _withdrawals(schema, table, row_keys, None)
    )
    return [text.encode("utf-8", "surrogateescape") for text in texts]


def withdraw(shape: TableShape, row_keys: Sequence[bytes], xid: Xid | None) -> list[str]:
    """Write the DELETEs of what `probe` has inserted for rows of these keys.

    ROLLBACK TO SAVEPOINT would do, but MySQL leaves a lock on the gap where a row was rolled back. A
    single key is certain to lock one record; a long list may scan.
    """
    return _withdrawals(shape.schema, shape.name, [literal.sql(key) for key in row_keys], xid)


def _withdrawals(schema: str, table: str, row_keys: Sequence[str], xid: Xid | None) -> list[str]:
    step = 1 if len(row_keys) <= _SINGLE_DELETES_MAX else len(row_keys)
    return [
        f"DELETE FROM {identifier(schema)}.{UNDO_TABLE} WHERE table_name={_hex(table)}"
        f" AND row_key IN ({','.join(row_keys[first : first + step])})"
        f" AND xid={_asking(xid)}"
        for first in range(0, len(row_keys), step)
    ]


def _asking(xid: Xid | None) -> str:
    return _hex(f"{_ASKING_MARK}{xid or ''}")


def _image_literal(image: bytes) -> str:
    """A plain literal where no character of it can mean anything to any server, else hexadecimal."""
    return literal.plain(image) or literal.sql(Text(image))


def _hex(text: str) -> str:
    return literal.sql(text.encode())


def _table(shape: TableShape) -> str:
    return f"{identifier(shape.schema)}.{identifier(shape.name)}"


def holder(value: bytes | None) -> Xid | None:
    """Read the first column of `HOLDER_QUERY`: who holds the lock.

    The xid itself when it was rolled back meanwhile (its fence is taken). None: nobody, the CHECK
    failed because an inserted row could not be found again by its key.
    """
    if value is None:
        return None
    try:
        return Xid.parse(value.decode("ascii").removeprefix(_ROLLBACK_MARK))
    except (InvalidXidError, UnicodeDecodeError):
        return None


def take_fence(schema: str, xid: Xid) -> str:
    """Write the statement by which a rollback shuts out every later local commit of the xid.

    It waits for a local commit that is under way, and must be committed by itself. From then on it
    stands for as long as any fence, however old the transaction is.
    """
    return take_fences(schema, [xid])


def take_fences(schema: str, xids: Collection[Xid]) -> str:
    """Write the statement that does what `take_fence` does for several transactions."""
    rows = ",".join(
        f"(X'',{_hex(str(xid))},{_hex(f'{_ROLLBACK_MARK}{xid}')},0,NULL,NULL,1)" for xid in sorted(xids)
    )
    return (
        f"INSERT INTO {identifier(schema)}.{UNDO_TABLE} ({_COLUMNS}) VALUES {rows}"
        " ON DUPLICATE KEY UPDATE xid=VALUES(xid),created_at=CURRENT_TIMESTAMP(6)"
    )


def select_keys(schema: str, xids: Collection[Xid]) -> str:
    """Write the SELECT of table_name and row_key of all records of the transactions, fences too."""
    return f"SELECT table_name,row_key FROM {identifier(schema)}.{UNDO_TABLE} WHERE xid IN ({_xids(xids)})"


def select_records(schema: str, xid: Xid) -> str:
    """Write the SELECT of a transaction's undo records, newest first; it locks none of them.

    Columns: table_name, row_key, before_image, after_image, and when it was made, as a text.
    """
    return (
        "SELECT table_name,row_key,before_image,after_image,"
        f"CONCAT(UNIX_TIMESTAMP(created_at),'/',position) FROM {identifier(schema)}.{UNDO_TABLE}"
        f" WHERE xid={_hex(str(xid))} AND table_name<>X'' ORDER BY created_at DESC,position DESC"
    )


def lock_records(schema: str, xid: Xid) -> str:
    """Write the locking SELECT of table_name and row_key of a transaction's undo records."""
    return (
        f"SELECT table_name,row_key FROM {identifier(schema)}.{UNDO_TABLE}"
        f" WHERE xid={_hex(str(xid))} AND table_name<>X'' FOR UPDATE"
    )


def select_standing(schema: str, xids: Collection[Xid], rows_max: int) -> str:
    """Write the SELECT of the undo records of transactions whose fences are taken, newest first; no locks.

    Columns: table_name, row_key, before_image, after_image.
    """
    return (
        f"SELECT table_name,row_key,before_image,after_image FROM {identifier(schema)}.{UNDO_TABLE}"
        f" WHERE xid IN ({_xids(xids)}) AND table_name<>X''"
        f" ORDER BY created_at DESC,position DESC LIMIT {int(rows_max)}"
    )


def keys_by_table(records: Iterable[Sequence[Any]]) -> dict[bytes, list[bytes]]:
    """Give the keys of records, which begin with table and key, by table; sorted, as they are locked."""
    tables: dict[bytes, list[bytes]] = defaultdict(list)
    for table_name, row_key, *_ in records:
        tables[table_name].append(row_key)
    return {table_name: sorted(row_keys) for table_name, row_keys in tables.items()}


def delete_records(schema: str, table_name: bytes, row_keys: Iterable[bytes], xids: Collection[Xid]) -> str:
    """Write the DELETE of records of one table by their keys, as long as they are these transactions'.

    One table name and a list of keys: pairs in an IN would scan, and lock, the whole table.
    """
    listed = ",".join(literal.sql(key) for key in row_keys)
    return (
        f"DELETE FROM {identifier(schema)}.{UNDO_TABLE} WHERE table_name={literal.sql(table_name)}"
        f" AND row_key IN ({listed}) AND xid IN ({_xids(xids)})"
    )


def sweep_fences(schema: str, older_than_seconds: int, rows_max: int = 1000) -> str:
    """Write the DELETE of fences that rollbacks have left, once no local transaction of that age can live."""
    return (
        f"DELETE FROM {identifier(schema)}.{UNDO_TABLE} WHERE table_name=X'' AND xid LIKE '{_ROLLBACK_MARK}%'"
        f" AND {_older(older_than_seconds)} LIMIT {int(rows_max)}"
    )


def select_stale(schema: str, older_than_seconds: int, rows_max: int = 1000) -> str:
    """Write the SELECT of xids whose records are old: phase two has missed them, or has yet to come."""
    return (
        f"SELECT DISTINCT xid FROM {identifier(schema)}.{UNDO_TABLE} WHERE xid NOT LIKE '{_ROLLBACK_MARK}%'"
        f" AND {_older(older_than_seconds)} LIMIT {int(rows_max)}"
    )


def _older(seconds: int) -> str:
    return f"created_at < CURRENT_TIMESTAMP(6) - INTERVAL {int(seconds)} SECOND"


def _xids(xids: Collection[Xid]) -> str:
    return ",".join(_hex(str(xid)) for xid in sorted(xids))
