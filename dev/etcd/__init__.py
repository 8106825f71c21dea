"""An etcd on this machine for development and tests."""

from dev.etcd.member import Member
from dev.etcd.members import Etcd

__all__ = ["Etcd", "Member"]
