"""Databases on this machine for development and tests."""

from dev.databases.mariadb import MariaDB
from dev.databases.mysql import MySQL
from dev.databases.server import Server

__all__ = ["MariaDB", "MySQL", "Server"]
