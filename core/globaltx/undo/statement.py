"""What a statement of the application is, as far as AT must know.

`analyse` names it; `bind` and `text` write it again, with nothing changed but parameters in
place of question marks and quotes around a schema that is named by a keyword
(``order.so_master``, which DBPack's users write and the server itself would refuse).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from globaltx.undo import control, lexer
from globaltx.undo.cursor import Cursor
from globaltx.undo.forms import (
    Change,
    Control,
    Delete,
    Insert,
    Joined,
    Other,
    Select,
    Set,
    Setting,
    Source,
    Statement,
    Table,
    Update,
    Verb,
)
from globaltx.undo.refusal import STATEMENT_NOT_UNDOABLE, RefusedError, refuse
from globaltx.undo.remembered import Analyses
from globaltx.undo.sqlmode import SqlMode, UnreadableTextError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from globaltx.undo.literal import Value

__all__ = [
    "Change",
    "Control",
    "Delete",
    "Insert",
    "Joined",
    "Other",
    "Select",
    "Set",
    "Setting",
    "Statement",
    "Table",
    "Update",
    "Verb",
    "analyse",
    "bind",
    "split",
    "text",
]

_DEFAULT = SqlMode()
_SETS_MORE = (["DEFAULT"], ["PASSWORD"], ["STATEMENT"])
"""What these set is no variable: it ends the local transaction, or is another statement."""
_HARMLESS = frozenset({"EXPLAIN", "SHOW", "DESCRIBE", "DESC", "HELP", "VALUES", "KILL"})
_LOCKING = ("FOR UPDATE", "FOR SHARE", "LOCK IN SHARE MODE")
_CHANGES = frozenset({"INSERT", "UPDATE", "DELETE", "REPLACE", "CALL", "LOAD", "TRUNCATE"})
_VERBS = frozenset({"INSERT", "UPDATE", "DELETE", "REPLACE"})
_STAYS = _VERBS | frozenset(
    {"SELECT", "WITH", "TABLE", "VALUES", "SHOW", "EXPLAIN", "DESCRIBE", "DESC", "HELP"}
    | {"DO", "USE", "SAVEPOINT", "RELEASE"}
)
"""What leaves the local transaction open."""
_WAYS_OUT = {
    "TRUNCATE": "use DELETE",
    "CALL": "send the procedure's statements from the application",
    "LOAD": "use INSERT",
    "DO": "use SELECT",
    "EXPLAIN": "leave ANALYZE out",
    "EXECUTE": "use the prepared statements of the protocol",
    "WITH": "write the statement without a common table expression",
    "XA": "a global transaction needs no XA of the application's own",
    "LOCK": "use SELECT ... FOR UPDATE",
}


def analyse(sql: bytes, mode: SqlMode = _DEFAULT) -> Statement:
    """Say what a statement is (the xid hint already taken out).

    Raises:
        RefusedError: it may change rows in a way that cannot be undone, or it cannot be read.
            Nothing has run yet.
    """
    found = _remembered.of(sql, mode)
    if isinstance(found, RefusedError):
        raise RefusedError(found.reason, found.sentence)
    return found


def read(sql: bytes, mode: SqlMode) -> Statement | RefusedError:
    """Do the same, with a refusal given back, and remember nothing."""
    try:
        return _statement(_source(sql, mode), mode)
    except RefusedError as refused:
        return refused.with_traceback(None)


_remembered = Analyses(read)


def _source(sql: bytes, mode: SqlMode) -> Source:
    try:
        tokens = lexer.tokens(mode.decode(sql), mode)
    except (lexer.UnclosedError, UnreadableTextError) as error:
        raise RefusedError(STATEMENT_NOT_UNDOABLE, f"the statement cannot be read: {error}") from error
    while tokens and (tokens[-1].kind in lexer.BLANK or tokens[-1].text == ";"):
        tokens.pop()
    for token in tokens:
        if token.text == ";":
            refuse("several statements in one text", "send them one by one")
        if token.kind is lexer.TokenKind.EXECUTABLE:
            refuse("a comment that the server executes", "write it as SQL")
    return Source(tuple(tokens))


def _statement(source: Source, mode: SqlMode) -> Statement:
    words = [token.word() for token in source.tokens if token.kind not in lexer.BLANK]
    verb = words[0] if words else ""
    steering = control.transaction_control(source)
    if steering is not None:
        return steering
    if verb == "WITH":
        verb = _behind_with(source)
    locks = any(locking in " ".join(words) for locking in _LOCKING)
    if mode.oracle and (verb in _VERBS or (locks and verb == "SELECT")):
        refuse(f"{verb} under sql_mode ORACLE", "leave ORACLE out of the session's sql_mode")
    if verb in _VERBS:
        # Only here, and only now: sqlglot takes 8 MiB, and most sidecars rest.
        from globaltx.undo import grammar  # noqa: PLC0415

        return grammar.change(source)
    if verb == "SET":
        return control.settings(source, mode)
    control.check_xid_variable(source)
    if verb == "SELECT" or _is_bare(source):
        return Select(source, for_update=locks)
    return _passed_on(source, verb, words)


def _behind_with(source: Source) -> str:
    """The verb behind the common table expressions."""
    cursor = Cursor(source.tokens)
    cursor.find_word(frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE"}))
    return cursor.word() if cursor.word() in {"SELECT", "UPDATE", "DELETE"} else "WITH"


def _is_bare(source: Source) -> bool:
    """Whether it is nothing, or a SELECT in parentheses."""
    return next((token.text for token in source.tokens if token.kind not in lexer.BLANK), "(") == "("


def _passed_on(source: Source, verb: str, words: list[str]) -> Other:
    """What changes no row. EXPLAIN runs nothing, unless told to ANALYZE."""
    if verb in _HARMLESS and not ("ANALYZE" in words and _CHANGES & set(words)):
        return Other(source)
    what = verb if verb.isalpha() else "the statement"
    return refuse(what, _WAYS_OUT.get(verb, "run it outside of a global transaction"))


def may_change(sql: bytes, mode: SqlMode) -> bool:
    """Whether a statement may be an INSERT, REPLACE, UPDATE or DELETE; what cannot be read may be."""
    try:
        tokens = lexer.tokens(mode.decode(sql), mode)
    except (lexer.UnclosedError, UnreadableTextError):
        return True
    words = [token.word() for token in tokens if token.kind not in lexer.BLANK]
    hidden = " ".join(token.text.upper() for token in tokens if token.kind is lexer.TokenKind.EXECUTABLE)
    if any(verb in hidden for verb in _VERBS):
        return True
    verb = next(filter(None, words), "")
    return verb in _VERBS or (verb == "WITH" and bool(_VERBS & set(words)))


def split(sql: bytes, mode: SqlMode) -> tuple[bytes, ...]:
    """Part several statements in one text; what cannot be read is given back as it is."""
    try:
        tokens = lexer.tokens(mode.decode(sql), mode)
    except (lexer.UnclosedError, UnreadableTextError):
        return (sql,)
    return tuple(mode.encode(each.render()) for each in _split(tokens)) or (sql,)


def _split(tokens: Iterable[lexer.Token]) -> list[Source]:
    parts: list[list[lexer.Token]] = [[]]
    for token in tokens:
        if token.text == ";":
            parts.append([])
        else:
            parts[-1].append(token)
    told = (part for part in parts if any(token.kind not in lexer.BLANK for token in part))
    return [Source(tuple(part)) for part in told]


def may_go_past_end(sql: bytes, mode: SqlMode) -> bool:
    """Whether a text may do anything behind the end of the local transaction; what cannot be read may."""
    try:
        parts = _split(lexer.tokens(mode.decode(sql), mode))
    except (lexer.UnclosedError, UnreadableTextError):
        return True
    return any(_may_end(each, mode) for each in parts[:-1])


def _may_end(source: Source, mode: SqlMode) -> bool:
    """Whether a statement may end the local transaction, or change how those behind it are read."""
    if any(token.kind is lexer.TokenKind.EXECUTABLE for token in source.tokens):
        return True
    match [word for token in control.significant(source) if (word := token.word())]:
        case ["ROLLBACK", "TO", *_] | ["ROLLBACK", "WORK", "TO", *_]:
            return False
        case ["SET", *words]:
            return words[:1] in _SETS_MORE or bool(control.settings(source, mode).changes)
        case [verb, *_]:
            return verb not in _STAYS
    return True


def text(statement: Statement, mode: SqlMode) -> bytes:
    """Write the statement, question marks as they are: what goes on to the server."""
    return mode.encode(statement.source.render())


def bind(statement: Statement, parameters: Sequence[Value], mode: SqlMode) -> bytes:
    """Write the statement with its parameters as literals: COM_STMT_EXECUTE as COM_QUERY.

    Raises:
        ValueError: another number of parameters than question marks.
    """
    if len(parameters) != statement.source.parameters:
        message = f"{statement.source.parameters} parameters are needed, {len(parameters)} were given"
        raise ValueError(message)
    return mode.encode(statement.source.render(parameters=parameters))
