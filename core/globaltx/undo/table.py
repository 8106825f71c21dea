"""The table ``globaltx_undo``: one row for each row that a global transaction has changed and not yet let go.

A row of it is an undo record and, by its primary key, the global lock. Keys compare byte by byte
(VARBINARY), whatever the collations of the schema. ``before_image`` NULL: the row was not there
before; ``after_image`` NULL: it is not there now. An image is a JSON object that holds each
column's value in an array of one (so that merging two objects never takes a NULL for "remove").

The rows of the table name '' are the fences, one for each xid: see ``globaltx.undo.locks``.
"""

from __future__ import annotations

from globaltx.undo.literal import identifier

UNDO_TABLE = "globaltx_undo"
ROW_KEY_LENGTH_MAX = 2048
"""Bytes; together with the table's name under InnoDB's 3,072 for a key."""


def create_undo_table(schema: str) -> str:
    """Write the CREATE TABLE IF NOT EXISTS of a schema's undo table."""
    return f"""CREATE TABLE IF NOT EXISTS {identifier(schema)}.{UNDO_TABLE} (
  table_name VARBINARY(256) NOT NULL,
  row_key VARBINARY({ROW_KEY_LENGTH_MAX}) NOT NULL,
  xid VARBINARY(128) NOT NULL,
  position INT UNSIGNED NOT NULL,
  before_image LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
  after_image LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
  owner TINYINT NOT NULL DEFAULT 1,
  created_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  PRIMARY KEY (table_name, row_key),
  KEY xid (xid),
  CONSTRAINT globaltx_undo_has_one_owner CHECK (owner = 1)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC"""


def violate_check(schema: str) -> str:
    """Write an INSERT that the undo table refuses, or it locks nothing: its CHECK is missing or not enforced.

    MySQL before 8.0.16 and MariaDB before 10.2 take a CHECK and ignore it.
    """
    return (
        f"INSERT INTO {identifier(schema)}.{UNDO_TABLE} (table_name,row_key,xid,position,owner)"
        " VALUES (X'',X'',X'',0,0)"
    )
