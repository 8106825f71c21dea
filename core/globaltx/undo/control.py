"""Statements that steer the local transaction or the connection, read by their first words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from globaltx.undo.forms import Control, Set, Setting, Source, Verb
from globaltx.undo.lexer import BLANK, Token, TokenKind, name_value, string_value
from globaltx.undo.refusal import INVALID_XID, RefusedError, refuse

if TYPE_CHECKING:
    from globaltx.undo.sqlmode import SqlMode

_SETTINGS = {
    "autocommit": Setting.AUTOCOMMIT,
    "character_set_client": Setting.CHARSET,
    "sql_mode": Setting.SQL_MODE,
}
_SCOPES = ("@@session.", "@@local.", "@@")
_QUOTES = str.maketrans("", "", "`'\"")
_SWITCH = {"1": "1", "0": "0", "ON": "1", "OFF": "0", "TRUE": "1", "FALSE": "0"}


def significant(source: Source) -> list[Token]:
    """Leave out spaces and comments."""
    return [token for token in source.tokens if token.kind not in BLANK]


def transaction_control(source: Source) -> Control | None:
    """Read BEGIN, COMMIT, ROLLBACK, SAVEPOINT, RELEASE and USE; None if it is none of them.

    Raises:
        RefusedError: ``BEGIN NOT ATOMIC``, which is a program.
    """
    tokens = significant(source)
    words = [token.word() for token in tokens]
    match words:
        case ["BEGIN", "NOT", *_]:
            refuse("a compound statement", "send its statements one by one")
        case ["BEGIN", *_] | ["START", "TRANSACTION", *_]:
            return Control(source, Verb.BEGIN)
        case ["COMMIT" | "ROLLBACK", *rest]:
            return _end(source, tokens, words[0], [word for word in rest if word != "WORK"])
        case ["SAVEPOINT", _]:
            return Control(source, Verb.SAVEPOINT, name_value(tokens[1]))
        case ["RELEASE", "SAVEPOINT", _]:
            return Control(source, Verb.RELEASE, name_value(tokens[2]))
        case ["USE", _]:
            return Control(source, Verb.USE, name_value(tokens[1]))
    return None


def _end(source: Source, tokens: list[Token], verb: str, words: list[str]) -> Control:
    if words[:1] == ["TO"]:
        return Control(source, Verb.ROLLBACK_TO, name_value(tokens[-1]))
    joined = " " + " ".join(words)
    return Control(
        source,
        Verb(verb),
        chain=" AND CHAIN" in joined,
        release=joined.endswith(" RELEASE") and " NO RELEASE" not in joined,
    )


def settings(source: Source, mode: SqlMode) -> Set:
    """Read a SET statement.

    Raises:
        RefusedError: ``SET STATEMENT ... FOR``, which runs another one, and ``SET PASSWORD`` and
            ``SET DEFAULT ROLE``, which commit.
    """
    tokens = significant(source)[1:]
    words = [token.word() for token in tokens]
    match words:
        case ["STATEMENT", *_]:
            refuse("SET STATEMENT ... FOR", "send the statement by itself")
        case ["PASSWORD", *_]:
            refuse("SET PASSWORD", "run it outside of a global transaction")
        case ["DEFAULT", "ROLE", *_]:
            refuse("SET DEFAULT ROLE", "run it outside of a global transaction")
    changes = [change for part in _split(tokens) if (change := _change(part, mode)) is not None]
    return Set(source, tuple(changes))


def _split(tokens: list[Token]) -> list[list[Token]]:
    parts: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        depth += (token.text == "(") - (token.text == ")")
        if token.text == "," and depth == 0:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _change(part: list[Token], mode: SqlMode) -> tuple[Setting, str | None] | None:
    match [token.word() for token in part[:3]]:
        case ["NAMES", *_]:
            return Setting.CHARSET, _charset(part[1:], mode)
        case ["CHARSET", *_]:
            return Setting.CHARSET, _charset(part[1:], mode)
        case ["CHARACTER", "SET", *_]:
            return Setting.CHARSET, _charset(part[2:], mode)
        case ["SESSION" | "LOCAL", *_]:
            part = part[1:]
    equals = next((index for index, token in enumerate(part) if token.text in {"=", ":="}), None)
    if equals != 1:
        return _qualified(part)
    setting = _setting(part[0])
    return None if setting is None else (setting, _value(setting, part[2:], mode))


def _qualified(part: list[Token]) -> tuple[Setting, str | None] | None:
    """``SET @@session . sql_mode = ...``, spread over several tokens: let the connection be asked."""
    named = {token.text.lower() for token in part}
    found = next((setting for name, setting in _SETTINGS.items() if name in named), None)
    return None if found is None else (found, None)


def _setting(token: Token) -> Setting | None:
    name = (name_value(token) if token.kind is TokenKind.QUOTED else token.text).lower()
    if is_xid_variable(token):
        return Setting.XID
    for scope in _SCOPES:
        if name.startswith(scope):
            name = name[len(scope) :]
            break
    return _SETTINGS.get(name.translate(_QUOTES))


def is_xid_variable(token: Token) -> bool:
    """Whether a token is the variable ``@globaltx_xid``, in any spelling."""
    return token.kind is TokenKind.VARIABLE and token.text.translate(_QUOTES).lower() == "@globaltx_xid"


def check_xid_variable(source: Source) -> None:
    """See that a statement that is no SET leaves the variable of the xid alone.

    Raises:
        RefusedError: it sets it, where only the server can follow.
    """
    tokens = significant(source)
    into = False
    for index, token in enumerate(tokens):
        following = tokens[index + 1] if index + 1 < len(tokens) else None
        into = into or token.word() == "INTO"
        if is_xid_variable(token) and (into or (following is not None and following.text == ":=")):
            raise RefusedError(
                INVALID_XID, "set it by SET @globaltx_xid = 'namespace.name', and no other way"
            )


def _charset(value: list[Token], mode: SqlMode) -> str | None:
    constant = _constant(value[:1], mode)
    return None if constant is None or constant.upper() == "DEFAULT" else constant.lower()


def _value(setting: Setting, value: list[Token], mode: SqlMode) -> str | None:
    constant = _constant(value, mode)
    if constant is None:
        return None
    if setting is Setting.AUTOCOMMIT:
        return _SWITCH.get(constant.upper())
    if setting is Setting.XID:
        return "" if value[0].word() == "NULL" else constant
    return None if value[0].word() == "DEFAULT" else constant


def _constant(value: list[Token], mode: SqlMode) -> str | None:
    if len(value) != 1:
        return None
    token = value[0]
    if token.kind is TokenKind.STRING:
        return string_value(token, mode)[0]
    return token.text if token.kind in {TokenKind.NAME, TokenKind.NUMBER} else None
