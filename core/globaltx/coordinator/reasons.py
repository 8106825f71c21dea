"""Every wait, refusal and end by name.

A reason is an interface: the same word stands in conditions, Events, logs, metric labels,
SQL error messages and the diagnosis, and has one sentence that says what it means and, where
somebody must act, what to do.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """The words; `SENTENCES` holds their meaning."""

    ACTIVE = "Active"
    COMMITTING = "Committing"
    ROLLING_BACK = "RollingBack"
    COMMITTED = "Committed"
    ROLLED_BACK = "RolledBack"
    CONFLICT = "Conflict"
    REQUEST_SUCCEEDED = "RequestSucceeded"
    REQUEST_FAILED = "RequestFailed"
    REQUEST_ABORTED = "RequestAborted"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    DELETION_REQUESTED = "DeletionRequested"
    DECIDED_BY_PERSON = "DecidedByPerson"
    DECIDED_BY_APPLICATION = "DecidedByApplication"
    ROW_CHANGED = "RowChanged"
    RESOLVED_BY_PERSON = "ResolvedByPerson"
    UNKNOWN_TRANSACTION = "UnknownTransaction"
    ALREADY_DECIDED = "AlreadyDecided"
    STORE_UNAVAILABLE = "StoreUnavailable"
    STATEMENT_NOT_UNDOABLE = "StatementNotUndoable"
    NO_PRIMARY_KEY = "NoPrimaryKey"
    LOCK_CONFLICT = "LockConflict"
    LOCAL_TRANSACTION_MIXED = "LocalTransactionMixed"
    INVALID_XID = "InvalidXid"
    DATASOURCE_UNAVAILABLE = "DatasourceUnavailable"
    UNDO_TABLE_MISSING = "UndoTableMissing"
    APPLICATION_UNAVAILABLE = "ApplicationUnavailable"
    OVERLOADED = "Overloaded"
    STORE_REFUSED = "StoreRefused"
    REQUEST_NOT_SUPPORTED = "RequestNotSupported"
    NO_POLICY = "NoPolicy"
    POLICY_INVALID = "PolicyInvalid"
    POLICY_CONFLICT = "PolicyConflict"
    APP_UNKNOWN = "AppUnknown"
    INVALID_ANNOTATION = "InvalidAnnotation"
    HOST_NETWORK = "HostNetwork"
    PORT_NOT_NAMED = "PortNotNamed"
    PORT_AMBIGUOUS = "PortAmbiguous"
    PORT_TAKEN = "PortTaken"
    ALIAS_TAKEN = "AliasTaken"
    POD_INVALID = "PodInvalid"
    NAME_TAKEN = "NameTaken"
    PLATFORM_UNSUPPORTED = "PlatformUnsupported"
    SIDECAR_MISSING = "SidecarMissing"
    OUTCOME_MISMATCH = "OutcomeMismatch"
    CALL_REFUSED = "CallRefused"
    CALL_FAILED = "CallFailed"
    REQUEST_REPEATED = "RequestRepeated"
    RESERVATION_EXPIRED = "ReservationExpired"
    TRY_REPEATED = "TryRepeated"
    REQUEST_TOO_LARGE = "RequestTooLarge"
    XID_REQUIRED = "XidRequired"
    XID_NOT_ALLOWED = "XidNotAllowed"
    SAGA_COMPLETED = "SagaCompleted"
    SAGA_FORWARD = "SagaForward"
    SAGA_INVALID = "SagaInvalid"
    STEP_FAILED = "StepFailed"
    STEP_UNKNOWN = "StepUnknown"
    TEMPLATE_FAILED = "TemplateFailed"
    DESTINATION_NOT_ALLOWED = "DestinationNotAllowed"
    NOTIFIED = "Notified"
    NOTIFICATION_PENDING = "NotificationPending"
    NOTIFICATION_FAILED = "NotificationFailed"
    NOTIFICATION_GIVEN_UP = "NotificationGivenUp"
    CALL_REPEATED = "CallRepeated"
    CALL_EMPTY = "CallEmpty"
    CALL_LATE = "CallLate"
    GUARD_MISPLACED = "GuardMisplaced"
    GUARD_TABLE_MISSING = "GuardTableMissing"
    READY = "Ready"
    SECRET_MISSING = "SecretMissing"  # noqa: S105  a word
    SECRET_INCOMPLETE = "SecretIncomplete"  # noqa: S105  a word


SENTENCES: dict[Reason, str] = {
    Reason.ACTIVE: "No outcome was taken yet; phase one is under way.",
    Reason.COMMITTING: "The outcome is Commit; branches are dropping their undo records, or confirming.",
    Reason.ROLLING_BACK: "The outcome is Rollback; branches undo what they did, cancel or compensate.",
    Reason.COMMITTED: "Every branch has committed.",
    Reason.ROLLED_BACK: "Every branch has been undone.",
    Reason.CONFLICT: "A branch could not follow the outcome; a person must decide.",
    Reason.REQUEST_SUCCEEDED: "The initiating request was answered with a status that means commit.",
    Reason.REQUEST_FAILED: "The initiating request was answered with a status that does not mean commit.",
    Reason.REQUEST_ABORTED: "The initiating request got no answer from the application.",
    Reason.DEADLINE_EXCEEDED: "No outcome was taken before the deadline, so it was rolled back.",
    Reason.DELETION_REQUESTED: "The GlobalTransaction was deleted while undecided, so it was rolled back.",
    Reason.DECIDED_BY_PERSON: "A person set the outcome.",
    Reason.DECIDED_BY_APPLICATION: "The application took the outcome at its sidecar's local API.",
    Reason.ROW_CHANGED: "A row was changed behind the transaction's back and was left alone.",
    Reason.RESOLVED_BY_PERSON: "A person has decided about rows in conflict; the branch says who and why.",
    Reason.UNKNOWN_TRANSACTION: "No store knows this xid: it never began, or it ended and was forgotten.",
    Reason.ALREADY_DECIDED: "The outcome of the transaction is taken; nothing more may join it.",
    Reason.STORE_UNAVAILABLE: "The store of transactions does not answer; retry the whole operation.",
    Reason.STATEMENT_NOT_UNDOABLE: "The statement cannot be undone automatically: refused before it ran.",
    Reason.NO_PRIMARY_KEY: "The table has no primary key, so its rows cannot be undone; add one.",
    Reason.LOCK_CONFLICT: "Another global transaction holds a row that this one changes; retry it all.",
    Reason.LOCAL_TRANSACTION_MIXED: "A local transaction belongs to one xid from its first write on.",
    Reason.INVALID_XID: "The text is not an xid.",
    Reason.DATASOURCE_UNAVAILABLE: "The database does not answer; it is tried again with growing delay.",
    Reason.UNDO_TABLE_MISSING: "The table globaltx_undo is missing or not writable; run `globaltx schema`.",
    Reason.NO_POLICY: "No TransactionPolicy of the namespace selects the pod; apply or widen one.",
    Reason.POLICY_INVALID: "A TransactionPolicy says something that cannot be followed; correct it.",
    Reason.POLICY_CONFLICT: "Two TransactionPolicies for the same pods contradict each other; change one.",
    Reason.APP_UNKNOWN: "The pod names no app; set the annotation globaltx.io/app.",
    Reason.INVALID_ANNOTATION: 'The annotation globaltx.io/inject is neither "true" nor "false".',
    Reason.HOST_NETWORK: "The pod uses the network of its node, where nothing can be captured.",
    Reason.PORT_NOT_NAMED: "No container has a port of the name that the policy captures; name it.",
    Reason.PORT_AMBIGUOUS: "Several containers have a port of the name that is to be captured; rename one.",
    Reason.PORT_TAKEN: "A container uses a port that the sidecar needs; move one of them.",
    Reason.ALIAS_TAKEN: "The pod already gives a datasource's alias another address; remove it.",
    Reason.POD_INVALID: "The manifest is not a pod that can be read; correct the field that is named.",
    Reason.NAME_TAKEN: "The pod has a container or volume of a name that the sidecar needs; rename it.",
    Reason.PLATFORM_UNSUPPORTED: "The pod runs on an operating system that the sidecar does not.",
    Reason.SIDECAR_MISSING: "The pod asked for a sidecar and has none; delete it so that it is created anew.",
    Reason.OUTCOME_MISMATCH: "A branch was told, or did, the opposite of its transaction's outcome.",
    Reason.CALL_REFUSED: "The application refuses a call of a branch again and again; see to its data.",
    Reason.CALL_FAILED: "A call of a branch is not done yet; it is tried again with growing delay.",
    Reason.REQUEST_REPEATED: "A request of this id has begun before; what became of it is told, if known.",
    Reason.RESERVATION_EXPIRED: "A confirm came after the reservation had run out; ask all with diagnose.",
    Reason.TRY_REPEATED: "The try was let through before, by another pod or with another request.",
    Reason.REQUEST_TOO_LARGE: "The request is larger than what can be kept for the calls at its end.",
    Reason.XID_REQUIRED: "The route takes part in global transactions only; send the xid along.",
    Reason.XID_NOT_ALLOWED: "The route takes no part in global transactions; leave the xid out.",
    Reason.SAGA_COMPLETED: "Every step of the declared saga is done, or its pivot is.",
    Reason.SAGA_FORWARD: "The declared saga only goes forward: Commit was taken before its first step.",
    Reason.SAGA_INVALID: "The declared saga cannot be carried out as it is written; apply a correct one.",
    Reason.STEP_FAILED: "A step of the declared saga has failed, so what was done is taken back.",
    Reason.STEP_UNKNOWN: "Nobody knows whether a step was done, and it has no compensation; find out.",
    Reason.TEMPLATE_FAILED: "A request of a step cannot be made from the answers of earlier ones.",
    Reason.DESTINATION_NOT_ALLOWED: "No saga.egress, or notify.egress, of the policy allows a URL; add it.",
    Reason.NOTIFIED: "Whoever wanted to be told the outcome has answered that it was.",
    Reason.NOTIFICATION_PENDING: "Somebody is still to be told the outcome; nothing waits for it.",
    Reason.NOTIFICATION_FAILED: "An attempt to tell the outcome was not answered with 2xx; there are more.",
    Reason.NOTIFICATION_GIVEN_UP: "Nobody answered with 2xx in all attempts to tell the outcome: not told.",
    Reason.CALL_REPEATED: "The guard row says that the call's work was done, so the call counts as answered.",
    Reason.CALL_EMPTY: "The guard row says that nothing can be taken back; the call counts as answered.",
    Reason.CALL_LATE: "The guard row says that the work was taken back before it came; it is not done.",
    Reason.GUARD_MISPLACED: "A guard stands where it is not exact; begin the local transaction with it.",
    Reason.GUARD_TABLE_MISSING: "The table globaltx_guard is missing or not writable; run `globaltx schema`.",
    Reason.READY: "Pods that ask for it are injected by this policy.",
    Reason.SECRET_MISSING: "The Secret that a datasource names does not exist; create it.",
    Reason.SECRET_INCOMPLETE: "The Secret that a datasource names lacks username or password; add them.",
    Reason.APPLICATION_UNAVAILABLE: "The application does not answer on its port; look at its container.",
    Reason.STORE_REFUSED: "The store refused the call for good; a right is missing or the object is invalid.",
    Reason.OVERLOADED: "The sidecar has as many requests under way as it can hold; retry, or add replicas.",
    Reason.REQUEST_NOT_SUPPORTED: "The request has a shape that the sidecar cannot pass on.",
}
