"""A connection to the service's own database."""

from __future__ import annotations

import os
from typing import Any

import mysql.connector


def connect() -> Any:
    """Open one; it commits when it is told to."""
    return mysql.connector.connect(
        host=os.environ["DATABASE_HOST"],
        port=int(os.environ["DATABASE_PORT"]),
        database=os.environ["DATABASE_NAME"],
        user=os.environ["DATABASE_USER"],
        password=os.environ["DATABASE_PASSWORD"],
        charset="utf8mb4",
        collation="utf8mb4_unicode_ci",  # MariaDB does not know the client's default
        connection_timeout=10,
    )
