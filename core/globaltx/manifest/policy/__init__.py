"""TransactionPolicy: what a resource says, what is wrong with it, and several that hold for one pod."""

from globaltx.manifest.policy.read import InvalidPolicyError, read_policy, secrets_of
from globaltx.manifest.policy.together import (
    Merged,
    PolicyConflictError,
    conflicts,
    may_meet,
    merge,
    read_for,
    selects,
)

__all__ = [
    "InvalidPolicyError",
    "Merged",
    "PolicyConflictError",
    "conflicts",
    "may_meet",
    "merge",
    "read_for",
    "read_policy",
    "secrets_of",
    "selects",
]
