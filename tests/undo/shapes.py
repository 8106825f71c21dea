"""Tables that the golden texts speak of."""

from __future__ import annotations

from globaltx.undo.shape import Column, Reference, TableShape, UniqueKey


def _int(name: str, *, auto_increment: bool = False) -> Column:
    return Column(name, "int", "int(11)", auto_increment=auto_increment)


def _text(name: str, charset: str = "utf8mb4", length: int = 20) -> Column:
    return Column(name, "varchar", f"varchar({length})", charset=charset, collation=f"{charset}_general_ci")


STOCK = TableShape(
    schema="shop",
    name="stock",
    engine="InnoDB",
    columns=(
        _int("id", auto_increment=True),
        _int("amount"),
        _text("note"),
        Column("changed", "timestamp", "timestamp(3)", on_update_now=True),
        Column("doubled", "int", "int(11)", generated=True),
    ),
    primary_key=("id",),
)
PRICE = TableShape(
    schema="shop",
    name="price",
    engine="InnoDB",
    columns=(_text("code"), Column("since", "date", "date"), Column("value", "decimal", "decimal(10,2)")),
    primary_key=("code", "since"),
)
PARENT = TableShape(
    schema="shop",
    name="parent",
    engine="InnoDB",
    columns=(_int("id"), _int("place")),
    primary_key=("id",),
    references=(Reference("fk", "shop", "child", ("parent",), ("place",), "CASCADE", "CASCADE"),),
)
ODD = TableShape(
    schema="shop",
    name="odd",
    engine="InnoDB",
    columns=(_int("id"), Column("what", "mystery", "mystery(3)")),
    primary_key=("id",),
)
KEYLESS = TableShape(schema="shop", name="keyless", engine="InnoDB", columns=(_int("id"),), primary_key=())
SEAT = TableShape(
    schema="shop",
    name="seat",
    engine="InnoDB",
    columns=(
        _int("id", auto_increment=True),
        Column("place", "int", "int(11)", null_default=True),
        Column("room", "int", "int(11)", null_default=True),
        _text("mail"),
        _text("note"),
    ),
    primary_key=("id",),
    unique_keys=(UniqueKey("seat", ("place", "room")), UniqueKey("mail", ("mail",))),
)
PREFIXED = TableShape(
    schema="shop",
    name="prefixed",
    engine="InnoDB",
    columns=(_int("id"), _text("mail")),
    primary_key=("id",),
    unique_keys=(UniqueKey("beginning", ("mail",), whole=False),),
)
TABLES = {shape.name: shape for shape in (STOCK, PRICE, PARENT, ODD, KEYLESS, SEAT, PREFIXED)}
