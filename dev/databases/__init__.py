"""Databases on this machine for development and tests."""

from dev.databases.mariadb import MariaDB

__all__ = ["MariaDB"]
