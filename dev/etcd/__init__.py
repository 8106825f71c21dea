"""An etcd on this machine for development and tests."""

from dev.etcd.members import Etcd, Member

__all__ = ["Etcd", "Member"]
