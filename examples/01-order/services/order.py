"""The order service: one row in so_master and one in so_item for each item, in schema ``order``.

Both are written in one local transaction, whose COMMIT is this service's own.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
from typing import Any

import mysql.connector
from database import connected, hinted
from flask import Flask, jsonify, request
from serving import serve

PORT = int(os.environ.get("PORT", "3001"))
HOLD_SECONDS_MAX = 60
MASTER_COLUMNS = (
    "buyer_user_sysno",
    "seller_company_code",
    "receive_division_sysno",
    "receive_address",
    "receive_zip",
    "receive_contact",
    "receive_contact_phone",
    "stock_sysno",
    "payment_type",
    "so_amt",
    "status",
    "appid",
)
ITEM_COLUMNS = (
    "product_sysno",
    "product_name",
    "cost_price",
    "original_price",
    "deal_price",
    "quantity",
)
INSERT_MASTER = (
    "INSERT /*+ XID('{xid}') */ INTO order.so_master (sysno, so_id, order_date, "
    f"{', '.join(MASTER_COLUMNS)}) VALUES (?, ?, now(), {', '.join('?' * len(MASTER_COLUMNS))})"
)
INSERT_ITEM = (
    "INSERT /*+ XID('{xid}') */ INTO order.so_item (sysno, so_sysno, "
    f"{', '.join(ITEM_COLUMNS)}) VALUES (?, ?, {', '.join('?' * len(ITEM_COLUMNS))})"
)

app = Flask(__name__)
log = logging.getLogger("order")
released = threading.Event()
"""Set by ``POST /release``: answers that were kept back go out."""


@app.get("/healthz")
def healthz() -> dict[str, bool]:
    return {"ok": True}


@app.post("/createSo")
def create_so() -> tuple[Any, int]:
    """Write the orders; ``?hold=after-commit`` keeps the answer back behind the local commit."""
    try:
        _create(request.get_json()["req"], request.headers.get("xid", ""))
    except (KeyError, TypeError, ValueError) as error:
        return jsonify(success=False, message=f"bad request: {error!r}"), 400
    except mysql.connector.Error as error:
        log.warning("refused by the database: %s", error)
        return jsonify(success=False, message=str(error)), 400
    if request.args.get("hold") == "after-commit":
        released.wait(HOLD_SECONDS_MAX)
    return jsonify(success=True, message="success"), 200


@app.post("/release")
def release() -> dict[str, bool]:
    """Let the answers go that ``?hold=after-commit`` keeps back."""
    released.set()
    return {"success": True}


def _create(orders: list[dict[str, Any]], xid: str) -> None:
    insert_master, insert_item = hinted(INSERT_MASTER, xid), hinted(INSERT_ITEM, xid)
    with connected() as connection, connection.cursor(prepared=True) as cursor:
        connection.start_transaction()
        for order in orders:
            sysno = _next_id()
            cursor.execute(insert_master, (sysno, str(sysno), *(order[each] for each in MASTER_COLUMNS)))
            for item in order["so_items"]:
                row = (_next_id(), sysno, *(item[each] for each in ITEM_COLUMNS))
                cursor.execute(insert_item, row)
        connection.commit()


def _next_id() -> int:
    return secrets.randbits(63)


if __name__ == "__main__":
    serve(app, PORT)
