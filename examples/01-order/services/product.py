"""The product service: takes pieces out of the inventory, in schema ``product``, in autocommit."""

from __future__ import annotations

import logging
import os
from typing import Any

import mysql.connector
from database import connected, hinted
from flask import Flask, jsonify, request
from serving import serve

PORT = int(os.environ.get("PORT", "3002"))
ALLOCATE = (
    "update /*+ XID('{xid}') */ product.inventory "
    "set available_qty = available_qty - ?, allocated_qty = allocated_qty + ? "
    "where product_sysno = ? and available_qty >= ?;"
)

app = Flask(__name__)
log = logging.getLogger("product")


class SoldOutError(Exception):
    """There are fewer pieces than were asked for."""


@app.get("/healthz")
def healthz() -> dict[str, bool]:
    return {"ok": True}


@app.post("/allocateInventory")
def allocate_inventory() -> tuple[Any, int]:
    try:
        _allocate(request.get_json()["req"], request.headers.get("xid", ""))
    except (KeyError, TypeError, ValueError) as error:
        return jsonify(success=False, message=f"bad request: {error!r}"), 400
    except SoldOutError as error:
        return jsonify(success=False, message=str(error)), 400
    except mysql.connector.Error as error:
        log.warning("refused by the database: %s", error)
        return jsonify(success=False, message=str(error)), 400
    return jsonify(success=True, message="success"), 200


def _allocate(requests: list[dict[str, Any]], xid: str) -> None:
    allocate = hinted(ALLOCATE, xid)
    with connected() as connection, connection.cursor(prepared=True) as cursor:
        for each in requests:
            product, quantity = int(each["product_sysno"]), int(each["qty"])
            cursor.execute(allocate, (quantity, quantity, product, quantity))
            if cursor.rowcount == 0:
                message = f"product {product} has fewer than {quantity} pieces"
                raise SoldOutError(message)


if __name__ == "__main__":
    serve(app, PORT)
