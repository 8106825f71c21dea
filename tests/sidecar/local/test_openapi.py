"""The local API as its document describes it: whatever that allows is taken, whatever else refused."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from schemathesis.generation import GenerationMode

from globaltx_sidecar.local import openapi
from tests.sidecar.local.scene import local_api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from schemathesis import Case

EXAMPLES = 60
OPERATIONS = [
    (method.upper(), path) for path, methods in openapi.document()["paths"].items() for method in methods
]
PLAIN = settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with local_api() as scene:
        yield scene.url


async def begun(url: str) -> str:
    schema = schemathesis.openapi.from_dict(openapi.document())
    case = schema["/v1/transactions"]["POST"].Case()
    answer = await asyncio.to_thread(case.call, base_url=url)
    xid: str = answer.json()["xid"]
    return xid


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
async def test_the_api_is_as_documented(url: str, method: str, path: str, mode: GenerationMode) -> None:
    """Statuses, types and shapes of answers; what is allowed is not refused, what is not allowed is."""
    xid = await begun(url)
    operation = schemathesis.openapi.from_dict(openapi.document())[path][method]
    tried = 0

    @PLAIN
    @given(operation.as_strategy(generation_mode=mode))
    def each(case: Case[Any]) -> None:
        nonlocal tried
        tried += 1
        assume(_told_apart(case.body))
        if mode is GenerationMode.POSITIVE and "xid" in (case.path_parameters or {}):
            case.path_parameters["xid"] = xid
        case.call_and_validate(base_url=url)

    await asyncio.to_thread(each)
    assert tried


def _told_apart(body: Any) -> bool:
    """JSON Schema has no word for names that are unique, which those who are told need to have."""
    wishes = body.get("notify") if isinstance(body, dict) else None
    names = (
        [each.get("name") for each in wishes or () if isinstance(each, dict)]
        if isinstance(wishes, list)
        else []
    )
    return all(name not in names[:index] for index, name in enumerate(names))
