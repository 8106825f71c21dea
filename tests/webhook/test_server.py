"""The server over TLS: to callers that are no API server, and while the API server is away."""

from __future__ import annotations

import asyncio
import io
import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from globaltx.manifest.injection import InjectionOptions
from globaltx.stores.kubernetes.access import Access
from globaltx.stores.kubernetes.client import KubernetesClient
from globaltx_operator.webhook import server
from globaltx_operator.webhook.certificate import Lifetimes, new_material
from globaltx_operator.webhook.keeper import load
from globaltx_operator.webhook.reviewer import Reviewer
from tests.webhook.conftest import pod
from tests.webhook.test_admission import review

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def ask(unused_port: int) -> AsyncIterator[Any]:
    """Post to a server whose API server does not exist."""
    material = new_material(["127.0.0.1"], Lifetimes(), datetime.now(UTC))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load(context, material)
    trusting = ssl.create_default_context(cadata=material.bundle)
    nowhere = Access("http://127.0.0.1:1", lambda: None, lambda: None)
    async with KubernetesClient(nowhere) as client, aiohttp.ClientSession() as session:
        app = server.application(Reviewer(client, InjectionOptions(image="i")))
        runner = await server.start(app, "127.0.0.1", unused_port, context)

        async def post(path: str, body: bytes) -> tuple[int, str]:
            url = f"https://127.0.0.1:{unused_port}{path}"
            async with session.post(url, data=io.BytesIO(body), ssl=trusting) as response:
                return response.status, await response.text()

        yield post
        await runner.cleanup()


async def test_what_is_no_review_is_answered_with_what_was_wrong(ask: Any) -> None:
    status, text = await ask("/inject", b"{}")
    assert status == 400
    assert "no AdmissionReview" in text


async def test_oversized_body_is_refused(ask: Any) -> None:
    status, _ = await ask("/inject", b" " * (server.REVIEW_BYTES_MAX + 1))
    assert status == 413


async def test_other_paths_are_not_there(ask: Any) -> None:
    assert (await ask("/", b""))[0] == 404


@pytest.mark.parametrize("path", ["/inject", "/validate"])
async def test_lost_api_server_is_a_refusal_that_says_so(ask: Any, path: str) -> None:
    status, text = await ask(path, review(object=pod()))
    assert status == 200
    assert '"code": 503' in text
    assert "could not be read" in text


async def test_server_lives_on_after_broken_tls(ask: Any, unused_port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", unused_port)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    await reader.read()
    writer.close()
    assert (await ask("/inject", b"{}"))[0] == 400
