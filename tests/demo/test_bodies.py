"""Bodies as they come in, against an application that reads them: without a server, with small limits."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from brainmri.demo.server.body_limits import TOOLS, UPLOAD, BodyLimits, BoundedBodies

LIMITS = BodyLimits(upload=200, tool=120, other=100, held=150, patience=0.2, slowest=1000)
Sender = Callable[[], Any]


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Says how much it was sent; takes whatever keeps it from reading for a broken body, as web frameworks do."""
    try:
        text, status = str(len(await Request(scope, receive).body())), 200
    except Exception:
        text, status = "broken body", 400
    await PlainTextResponse(text, status)(scope, receive, send)


async def ask(bounded: BoundedBodies, *parts: bytes, path: str = "/a", pause: float = 0, **headers: str) -> str:
    """Status and text of the answer to a body in these parts."""
    left, sent = list(parts), []

    async def receive() -> Message:
        await asyncio.sleep(pause)
        if not left:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    async def send(message: Message) -> None:
        sent.append(message)

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    await bounded({"type": "http", "method": "POST", "path": path, "headers": raw}, receive, send)
    assert [one["type"] for one in sent].count("http.response.start") == 1
    assert not sent[-1].get("more_body", False)
    return f"{sent[0]['status']} {b''.join(one.get('body', b'') for one in sent).decode()}"


@pytest.mark.parametrize(
    ("parts", "options", "says"),
    [
        ([b"a" * 60, b"b" * 40], {}, "200 100"),
        ([b""], {}, "200 0"),
        ([b"a" * 60, b"b" * 41], {}, "413 The request is larger than"),
        ([b"a" * 101], {}, "413 The request is larger than"),
        ([b"a"], {"content_length": "101"}, "413 The request is larger than"),
        ([b"a" * 101], {"content_length": "5"}, "413 The request is larger than"),
        ([b"a" * 5], {"content_length": "-1"}, "200 5"),
        ([b"a" * 5], {"content_length": "9" * 30}, "200 5"),
        ([b"a" * 120], {"path": TOOLS + "/"}, "200 120"),
        ([b"a" * 121], {"path": TOOLS}, "413 The request is larger than"),
        ([b"a" * 200], {"path": UPLOAD}, "200 200"),
        ([b"a" * 201], {"path": UPLOAD + "/"}, "413 The request is larger than"),
    ],
)
def test_what_comes_is_counted(parts: list[bytes], options: dict[str, Any], says: str) -> None:
    assert asyncio.run(ask(BoundedBodies(echo, LIMITS), *parts, **options)).startswith(says)


def test_a_body_that_trickles_is_refused() -> None:
    bounded = BoundedBodies(echo, LIMITS)
    assert asyncio.run(ask(bounded, *[b"a"] * 50, pause=0.05)).startswith("408 The request came too slowly")
    assert asyncio.run(ask(bounded, b"a", b"b", pause=3)).startswith("408 The request came too slowly")
    assert asyncio.run(ask(bounded, *[b"a"] * 3, pause=0.02)) == "200 3"


def test_all_bodies_together_are_bounded_and_their_room_comes_back() -> None:
    bounded = BoundedBodies(echo, LIMITS)

    async def at_once() -> list[str]:
        return await asyncio.gather(*[ask(bounded, b"a" * 45, b"b" * 45, pause=0.05) for _ in range(3)])

    for _ in range(2):
        answers = asyncio.run(at_once())
        assert sorted({answer[:3] for answer in answers}) == ["200", "503"]
    assert asyncio.run(ask(bounded, b"a" * 100)) == "200 100"
