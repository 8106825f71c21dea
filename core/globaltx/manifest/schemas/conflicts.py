"""The parts of Branch that tell of rows in conflict, and take what people decide about them.

A decision is appended and never changed: the rules below refuse everything else. That ``by`` is who
sends the request is what no schema can see; the chart's ValidatingAdmissionPolicy compares it.
"""

from __future__ import annotations

from typing import Any

from globaltx.manifest.schemas.fields import (
    Schema,
    choice,
    fields,
    moment,
    rule,
    several,
    text,
    whole,
)
from globaltx.transaction.conflict import (
    COLUMNS_SHOWN_MAX,
    KEY_LENGTH_MAX,
    PERSON_LENGTH_MAX,
    PROBLEM_LENGTH_MAX,
    RESOLUTIONS_MAX,
    RETRIES_MAX,
    ROW_ID_LENGTH_MAX,
    ROWS_SHOWN_MAX,
    TABLE_LENGTH_MAX,
    VALUE_LENGTH_MAX,
    WHY_LENGTH_MAX,
    Remedy,
)
from globaltx.transaction.states import ENDS, State

_NUMBER_MAX = 2**31
_BY_NUMBER = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["number"]}
_SETTLED_OR_NOT = ", ".join(repr(str(each)) for each in (State.CONFLICT, *sorted(ENDS)))


def resolutions() -> Schema:
    """``spec.resolutions``."""
    entry = fields(
        "A decision about rows in conflict; the last one that covers a row counts.",
        {
            "number": whole("The decision's number, above all earlier ones.", 1, _NUMBER_MAX),
            "action": choice(
                "Keep: the row stays what it is and its undo record is dropped. Restore: what it was before "
                "is put back, whatever stands there. Retry: it is compared again at once.",
                Remedy,
            ),
            "table": text(
                "The table whose rows are meant; all tables if left out.", TABLE_LENGTH_MAX, minLength=1
            ),
            "row": text(
                "The one row that is meant, by its name in status.conflicts.", ROW_ID_LENGTH_MAX, minLength=1
            ),
            "why": text("Why it was decided so, as a sentence.", WHY_LENGTH_MAX, minLength=1),
            "by": text(
                "Who decided: the user name of the request that appends it.", PERSON_LENGTH_MAX, minLength=1
            ),
            "at": moment("When it was decided, by the clock of who decided."),
        },
        required=["number", "action", "why", "by", "at"],
        **{
            "x-kubernetes-validations": [
                rule("self == oldSelf", "a decision is never changed; append another one"),
                rule("!has(self.row) || has(self.table)", "row goes with table"),
            ]
        },
    )
    return several(
        "What people have decided about rows in conflict. Decisions are appended, never changed or removed.",
        entry,
        RESOLUTIONS_MAX,
        **_BY_NUMBER,
        **{"x-kubernetes-validations": _appended()},
    )


def _appended() -> list[dict[str, str]]:
    return [
        rule(
            "oldSelf.all(o, self.exists(n, n.number == o.number))",
            "a decision is never removed; append another one",
        ),
        rule(
            "self.all(n, oldSelf.exists(o, o.number == n.number) || oldSelf.all(o, o.number < n.number))",
            "the number of a new decision must be above all earlier ones",
        ),
        rule(
            f"self.filter(n, n.action == 'Retry').size() <= {RETRIES_MAX}",
            f"at most {RETRIES_MAX} decisions of a branch may be Retry, so that there is room for others",
        ),
    ]


def resolutions_in_spec() -> list[dict[str, str]]:
    """Rules of ``spec``."""
    stays = rule(
        "!has(oldSelf.resolutions) || has(self.resolutions)",
        "a decision is never removed; append another one",
    )
    without_rows = rule(
        "!has(self.calls) && !has(self.conducted) || !has(self.resolutions) || "
        "self.resolutions.all(r, r.action != 'Restore' && !has(r.table))",
        "a branch that works by calls has no rows to restore: decide Keep or Retry, about all of it",
    )
    return [stays, without_rows]


def only_in_conflict() -> list[dict[str, str]]:
    """Rules of the whole object, the only place that sees the state."""
    state = "(has(self.status) && has(self.status.state) ? self.status.state : 'Active')"
    count = "(has({0}.spec.resolutions) ? size({0}.spec.resolutions) : 0)"
    return [
        rule(
            f"!has(self.spec.resolutions) || {state} in [{_SETTLED_OR_NOT}]",
            f"'this branch is ' + {state} + ', not in Conflict: there is nothing to resolve'",
            computed=True,
        ),
        rule(
            f"{count.format('self')} == {count.format('oldSelf')} || {state} == '{State.CONFLICT}'",
            f"'this branch is ' + {state} + ', not in Conflict: there is nothing to resolve'",
            computed=True,
        ),
    ]


def conflict_status() -> dict[str, Any]:
    """The fields of ``status`` that tell of a conflict."""
    return {
        "conflictRows": whole("How many rows are in conflict.", 0, _NUMBER_MAX),
        "conflicts": several("The first of the rows in conflict.", _row(), ROWS_SHOWN_MAX),
        "resolutions": several(
            "What has become of the decisions in spec.resolutions.",
            fields(
                "What has become of one decision.",
                {
                    "number": whole("The decision's number.", 1, _NUMBER_MAX),
                    "rows": whole("How many rows have gone by it.", 0, _NUMBER_MAX),
                    "carriedOutAt": moment("When that last changed."),
                },
                required=["number"],
            ),
            RESOLUTIONS_MAX,
            **_BY_NUMBER,
        ),
    }


def _row() -> Schema:
    shown = "numbers as they are, text quoted, NULL, (no row), (masked)."
    return fields(
        "A row that was changed by somebody else and was left alone, or could not be restored.",
        {
            "row": text("The row's name, for a decision about it alone.", ROW_ID_LENGTH_MAX),
            "table": text("The table.", TABLE_LENGTH_MAX),
            "key": text("The row's primary key, such as id=7.", KEY_LENGTH_MAX),
            "problem": text("Why it was left alone.", PROBLEM_LENGTH_MAX),
            "columns": several(
                "The columns in which before, after and current differ.",
                fields(
                    "One column.",
                    {
                        "name": text("The column.", 64),
                        "before": text(f"Before the transaction: {shown}", VALUE_LENGTH_MAX),
                        "after": text(f"As the transaction left it: {shown}", VALUE_LENGTH_MAX),
                        "current": text(f"When it was last looked at: {shown}", VALUE_LENGTH_MAX),
                    },
                    required=["name"],
                ),
                COLUMNS_SHOWN_MAX,
            ),
        },
        required=["row", "table", "key"],
    )
