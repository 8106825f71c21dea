"""The service that clients call: one order is a call to the order and one to the product service.

It knows nothing of transactions but for one line: the xid that came in with the request
goes out with the calls.
"""

from __future__ import annotations

import http.client
import json
import logging
import os
import urllib.error
import urllib.request
from typing import Any

from flask import Flask, jsonify, request
from serving import serve

PORT = int(os.environ.get("PORT", "3000"))
CALL_SECONDS_MAX = 30
ORDER_URL = os.environ.get("ORDER_URL", "http://order-svc:3001")
PRODUCT_URL = os.environ.get("PRODUCT_URL", "http://product-svc:3002")
PRODUCT = 1
QUANTITY = 2
PRICE = 6799

app = Flask(__name__)
log = logging.getLogger("aggregation")

Answer = tuple[Any, int]


class CallError(Exception):
    """A service did not do what it was asked for."""


@app.get("/healthz")
def healthz() -> dict[str, bool]:
    return {"ok": True}


@app.post("/v1/order/create")
def create() -> Answer:
    """Order two pieces; ``?hold=after-commit`` lets the order service keep its answer back."""
    return _answer(fail=False)


@app.post("/v1/order/create2")
def create_and_fail() -> Answer:
    """Order two pieces and fail when both services have committed to their own databases."""
    return _answer(fail=True)


def _answer(*, fail: bool) -> Answer:
    xid = request.headers.get("x-dbpack-xid")
    if not xid:
        return _failed("the request carries no x-dbpack-xid: is this pod injected?")
    hold = "?hold=after-commit" if request.args.get("hold") == "after-commit" else ""
    try:
        _call(f"{ORDER_URL}/createSo{hold}", xid, [_order()])
        _call(f"{PRODUCT_URL}/allocateInventory", xid, [{"product_sysno": PRODUCT, "qty": QUANTITY}])
    except CallError as error:
        log.warning("%s: %s", xid, error)
        return _failed(str(error))
    if fail:
        return _failed("this request always fails, after both services have committed")
    return jsonify(success=True, message="success"), 200


def _failed(message: str) -> Answer:
    return jsonify(success=False, message=message), 400


def _call(url: str, xid: str, req: list[dict[str, Any]]) -> None:
    body = json.dumps({"req": req}).encode()
    headers = {"Content-Type": "application/json", "xid": xid}
    call = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310  our own addresses
    try:
        with urllib.request.urlopen(call, timeout=CALL_SECONDS_MAX):  # noqa: S310
            return
    except urllib.error.HTTPError as error:
        message = f"{url} answered {error.code}: {error.read(1000).decode(errors='replace').strip()}"
        raise CallError(message) from error
    except (OSError, http.client.HTTPException) as error:
        message = f"{url} did not answer: {error!r}"
        raise CallError(message) from error


def _order() -> dict[str, Any]:
    return {
        "buyer_user_sysno": 10001,
        "seller_company_code": "SC001",
        "receive_division_sysno": 110105,
        "receive_address": "1 Example Street",
        "receive_zip": "000001",
        "receive_contact": "Kim",
        "receive_contact_phone": "555 0100",
        "stock_sysno": 1,
        "payment_type": 1,
        "so_amt": PRICE * QUANTITY,
        "status": 10,
        "appid": "order-sample",
        "so_items": [
            {
                "product_sysno": PRODUCT,
                "product_name": "phone",
                "cost_price": PRICE,
                "original_price": PRICE,
                "deal_price": PRICE,
                "quantity": QUANTITY,
            }
        ],
    }


if __name__ == "__main__":
    serve(app, PORT)
