"""The language in which a declared saga's requests use the answers of earlier steps.

``{{ steps.NAME.body.POINTER }}`` is a value of the JSON that the step NAME was answered with: POINTER is
keys and indices set apart by dots. ``{{ steps.NAME.status }}`` is the answer's status, ``{{ xid }}`` the
transaction. There is nothing else: no code, no functions, no defaults.

What is put in can never become more than a value. The text of a body is JSON first, and templates are
found in its strings: one that is nothing but a template becomes the value itself, of whatever type; in
all others, in URLs and in headers only texts, numbers and booleans may stand. In a URL they are encoded.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from globaltx.transaction.declared import BODY_LENGTH_MAX, HEADER_LENGTH_MAX, URL_LENGTH_MAX, Exchange
from globaltx.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

_TEMPLATE = re.compile(r"\{\{(.*?)\}\}")
_WHOLE = re.compile(r"\{\{([^{}]*)\}\}")
_NAME = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_REFERENCE = re.compile(rf"steps\.(?P<step>{_NAME})\.(?:status|body(?P<path>(?:\.[A-Za-z0-9_-]+)*))")
_XID = "xid"
_FORM = "write {{ steps.NAME.body.KEY }}, {{ steps.NAME.status }} or {{ xid }}"
DEPTH_MAX = 32
"""How deep a body may be nested that a manifest holds."""
READ_DEPTH_MAX = 100
"""How deep JSON may be nested that is read at all: answers, most of which are kept as they come."""
_TOO_DEEP = f"it is nested deeper than {READ_DEPTH_MAX}"


class TemplateError(ValueError):
    """A template is malformed, or what it refers to is not there; the message says which and why."""


class MissingError(TemplateError):
    """A step that is referred to has left no result, or not this value."""


@dataclass(frozen=True, slots=True)
class Reference:
    """What a template refers to; ``step`` is empty for the xid, ``path`` None for the status."""

    text: str
    step: str = ""
    path: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Values:
    """What templates may refer to: the status and JSON text of each step's answer, where they are known."""

    xid: str
    answers: Mapping[str, tuple[int, str]]

    def of(self, reference: Reference) -> Any:
        """Look a reference up.

        Raises:
            MissingError: it is not there.
        """
        if not reference.step:
            return self.xid
        if reference.step not in self.answers:
            message = f"{{{{ {reference.text} }}}}: the step {reference.step!r} has left no answer"
            raise MissingError(message)
        status, body = self.answers[reference.step]
        return status if reference.path is None else _look_up(body, reference)


def _look_up(body: str, reference: Reference) -> Any:
    if not body:
        message = (
            f"{{{{ {reference.text} }}}}: of {reference.step!r} no answer is kept: no JSON, or too large"
        )
        raise MissingError(message)
    value = json.loads(body)
    for key in reference.path or ():
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        else:
            message = f"{{{{ {reference.text} }}}}: the answer of {reference.step!r} has no {key!r} there"
            raise MissingError(message)
    return value


def references(exchange: Exchange) -> tuple[Reference, ...]:
    """Everything that a request refers to.

    Raises:
        TemplateError: something in it is no template, or its body is not JSON.
    """
    return tuple(reference for text in _texts(exchange) for reference in _found(text))


def filled(exchange: Exchange, values: Values) -> Exchange:
    """Put the values in; what comes out holds no templates.

    Raises:
        TemplateError: a value is missing, is not of a kind that can stand there, or makes it too long.
    """
    return Exchange(
        url=_short("url", _filled(exchange.url, values, _in_url), URL_LENGTH_MAX),
        method=exchange.method,
        headers=tuple((name, _header(name, value, values)) for name, value in exchange.headers),
        body=_body(exchange.body, values),
    )


def _header(name: str, value: str, values: Values) -> str:
    made = _filled(value, values, str)
    if not made.isascii() or not made.isprintable():
        message = f"the header {name} would hold other than printable ASCII"
        raise TemplateError(message)
    return _short(f"header {name}", made, HEADER_LENGTH_MAX)


def _body(text: str, values: Values) -> str:
    if not text:
        return ""
    made = json.dumps(_in_json(_parsed(text), values), separators=(",", ":"))
    return _short("body", made, BODY_LENGTH_MAX)


def _short(what: str, text: str, most: int) -> str:
    if len(text) > most:
        message = f"the {what} would be longer than {most} characters"
        raise TemplateError(message)
    return text


def read_json(text: str) -> Any:
    """Read JSON as its standard has it, without NaN and infinity.

    How deep Python itself can read differs from version to version, so that the limit is ours.

    Raises:
        ValueError: it is none, or nested deeper than `READ_DEPTH_MAX`.
    """
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error
    level = _inside([value])
    for _ in range(READ_DEPTH_MAX):
        level = [inner for each in level for inner in _inside(each)]
    if level:
        raise ValueError(_TOO_DEEP)
    return value


def _inside(value: Any) -> list[Any]:
    inner: Iterable[Any] = value.values() if isinstance(value, dict) else value
    return [each for each in inner if isinstance(each, (dict, list))]


def _parsed(text: str) -> Any:
    try:
        return read_json(text)
    except ValueError as error:
        message = f"the body is not JSON: {error}"
        raise TemplateError(message) from error


def _no_constant(text: str) -> None:
    message = f"{text} is no JSON"
    raise ValueError(message)


def _in_json(value: Any, values: Values, depth: int = 0) -> Any:
    _not_too_deep(depth)
    if isinstance(value, dict):
        return {key: _in_json(each, values, depth + 1) for key, each in value.items()}
    if isinstance(value, list):
        return [_in_json(each, values, depth + 1) for each in value]
    if not isinstance(value, str):
        return value
    whole = _WHOLE.fullmatch(value.strip())
    return values.of(_reference(whole[1])) if whole else _filled(value, values, str)


def _not_too_deep(depth: int) -> None:
    if depth > DEPTH_MAX:
        message = f"the body is nested deeper than {DEPTH_MAX}"
        raise TemplateError(message)


def _filled(text: str, values: Values, encode: Callable[[str], str]) -> str:
    _well_formed(text)

    def put(match: re.Match[str]) -> str:
        reference = _reference(match[1])
        return encode(_scalar(reference, values.of(reference)))

    return _TEMPLATE.sub(put, text)


def _scalar(reference: Reference, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, (str, int, float)):
        kind = "null" if value is None else type(value).__name__
        message = f"{{{{ {reference.text} }}}} is {kind}; only a text, a number or a boolean can stand there"
        raise TemplateError(message)
    return str(value)


def _in_url(value: str) -> str:
    """One segment of a path, or one value of a query: never empty, and never one that means another path."""
    if value in {"", ".", ".."} or any("\ud800" <= each <= "\udfff" for each in value):
        message = f"{value!r} cannot stand in a URL"
        raise TemplateError(message)
    return quote(value, safe="")


def _texts(exchange: Exchange) -> Iterator[str]:
    yield exchange.url
    yield from (value for _, value in exchange.headers)
    if exchange.body:
        yield from _strings(_parsed(exchange.body))


def _strings(value: Any, depth: int = 0) -> Iterator[str]:
    _not_too_deep(depth)
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, each in value.items():
            if "{{" in key:
                message = f"the key {key!r}: templates stand in values, not in keys"
                raise TemplateError(message)
            yield from _strings(each, depth + 1)
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each, depth + 1)


def _found(text: str) -> Iterator[Reference]:
    _well_formed(text)
    for match in _TEMPLATE.finditer(text):
        yield _reference(match[1])


def _well_formed(text: str) -> None:
    rest = _TEMPLATE.sub("", text)
    if "{{" in rest or "}}" in rest:
        message = f"{text[:100]!r} has {{{{ without }}}}, or the other way round"
        raise TemplateError(message)


def _reference(inner: str) -> Reference:
    text = inner.strip()
    if text == _XID:
        return Reference(text)
    match = _REFERENCE.fullmatch(text)
    if match is None:
        message = f"{{{{ {text[:100]} }}}} is no template; {_FORM}"
        raise TemplateError(message)
    path = match["path"]
    return Reference(text, match["step"], None if path is None else tuple(path.split(".")[1:]))
