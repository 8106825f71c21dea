"""What templates may say, and that a value never becomes more than a value."""

from __future__ import annotations

import json
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from globaltx.modes.templates import MissingError, TemplateError, Values, filled, references
from globaltx.transaction.declared import Exchange

ANSWER = {"id": 7, "name": "Kim", "ok": True, "none": None, "list": [{"x": "first"}]}
VALUES = Values("shop.t1", {"flight": (201, json.dumps(ANSWER)), "hotel": (204, "")})
ID = "{{ steps.flight.body.id }}"


def body(template: str) -> object:
    return json.loads(filled(Exchange("http://x/", body=template), VALUES).body)


@pytest.mark.parametrize(
    ("template", "made"),
    [
        (f'{{"a": "{ID}"}}', {"a": 7}),
        (f'"no. {ID} of {{{{xid}}}}"', "no. 7 of shop.t1"),
        ('["{{ steps.flight.body.list.0.x }}"]', ["first"]),
        ('"{{steps.flight.body.list}}"', [{"x": "first"}]),
        ('"{{ steps.flight.body }}"', ANSWER),
        ('"{{ steps.flight.body.none }}"', None),
        ('"{{ steps.hotel.status }}"', 204),
        ('"ok is {{ steps.flight.body.ok }}"', "ok is true"),
        ("[1, null, true]", [1, None, True]),
    ],
)
def test_values_are_put_into_json_as_what_they_are(template: str, made: object) -> None:
    assert body(template) == made


@pytest.mark.parametrize(
    "template",
    [
        *(
            '"{{ steps.flight.body.id"',
            '"}}"',
            '"{{ }}"',
            '"{{ steps.flight }}"',
            '"{{ steps.flight.headers.x }}"',
        ),
        *('"{{ 1 + 1 }}"', '"{{ steps.FLIGHT.body }}"', '"{{ steps.flight.body..id }}"', '{"{{ xid }}": 1}'),
        *("not json", "NaN", "[" * 100 + "]" * 100),
    ],
)
def test_what_is_no_template_is_found_before_anything_runs(template: str) -> None:
    with pytest.raises(TemplateError):
        references(Exchange("http://x/", body=template))


@pytest.mark.parametrize(
    "template",
    [
        *(
            '"{{ steps.flight.body.nothing }}"',
            '"{{ steps.flight.body.list.1 }}"',
            '"{{ steps.hotel.body }}"',
        ),
        *('"{{ steps.other.status }}"', '"{{ steps.flight.body.id.more }}"'),
    ],
)
def test_what_is_not_there_is_told(template: str) -> None:
    with pytest.raises(MissingError):
        body(template)


@pytest.mark.parametrize("value", [None, [], {}, "..", ".", ""])
def test_what_cannot_stand_in_a_url_is_refused(value: object) -> None:
    values = Values("shop.t1", {"flight": (200, json.dumps({"id": value}))})
    with pytest.raises(TemplateError):
        filled(Exchange(f"http://x/{ID}/y"), values)


@given(st.text())
def test_a_text_stays_one_value_wherever_it_is_put(text: str) -> None:
    values = Values("shop.t1", {"flight": (200, json.dumps({"id": text}))})
    assert json.loads(filled(Exchange("http://x/", body=f'{{"a": "{ID}", "b": "<{ID}>"}}'), values).body) == {
        "a": text,
        "b": f"<{text}>",
    }
    try:
        made = filled(Exchange(f"http://x/{ID}/y?q={ID}"), values).url
    except TemplateError:
        return
    parts = urlsplit(made)
    assert (parts.netloc, parts.path.count("/"), unquote(parts.path)) == ("x", 2, f"/{text}/y")
    assert unquote(parts.query) == f"q={text}"


@given(st.text())
def test_a_header_never_becomes_two(text: str) -> None:
    values = Values("shop.t1", {"flight": (200, json.dumps({"id": text}))})
    try:
        ((_, value),) = filled(Exchange("http://x/", headers=(("x-a", ID),)), values).headers
    except TemplateError:
        return
    assert value == text
    assert value.isascii()
    assert value.isprintable()
