"""What a visitor sends is bounded while it comes in: its size, its speed, and all that is in memory at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from brainmri.io.limits import LIMITS, megabytes

TOOLS = "/gradio_api/mcp"
UPLOAD = "/gradio_api/upload"  # written to disk as it comes; everything else is held in memory
AT_ONCE = 1.0  # seconds in which is read what lies there already, however late it is looked at
SLOW = "The request came too slowly. Send it again over a faster connection."
DRAIN_SECONDS = 5.0  # that are read on after a refusal, so that its text arrives


@dataclass(frozen=True)
class BodyLimits:
    """upload, tool, other: bytes of one request: with a file, to a tool, and any other. held: bytes of all requests
    together that are being read. patience: seconds that a body may take beside those that it needs at `slowest` bytes
    per second."""

    upload: int = LIMITS.archive_bytes + 2**20  # the parts' headers
    tool: int = 4 * 2**20  # which may be sent a file of 3 MB
    other: int = 2**20  # 1,000 files are described in less; what waits in the queue stays in memory until its turn
    held: int = 64 * 2**20
    patience: float = 30.0
    slowest: int = 32 * 2**10

    def of(self, path: str) -> int:
        """The bytes that a request to this path may have."""
        path = path.rstrip("/")
        return self.upload if path == UPLOAD else self.tool if path.startswith(TOOLS) else self.other


class RefusedBody(Exception):  # noqa: N818 - what happened to the request
    """Raised into whatever reads a body that is not read on."""

    def __init__(self, status: int, text: str):
        super().__init__(text)
        self.status, self.text = status, text


class BoundedBodies:
    """ASGI middleware: a body that is too large, too slow, or too much beside those of others ends with a sentence.

    A length that is declared is believed where it is too large; what really comes is counted, whatever was declared.
    """

    def __init__(self, app: ASGIApp, limits: BodyLimits | None = None):
        self.app = app
        self.limits = limits or BodyLimits()
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        most = self.limits.of(scope["path"])
        if _declared(Headers(scope=scope)) > most:
            await _refuse(_too_large(most), receive, send)
            return
        body = _Body(self, most, receive, in_memory=scope["path"].rstrip("/") != UPLOAD)
        started = False

        async def answer(message: Message) -> None:
            nonlocal started
            if body.refusal is None or started:  # else it is about a body that could not be read
                started = True
                await send(message)

        try:
            await self.app(scope, body.receive, answer)
        except Exception:
            if body.refusal is None or started:
                raise
        finally:
            self._held -= body.held
        if body.refusal is not None and not started:
            await _refuse(body.refusal, receive, send)

    def hold(self, size: int) -> bool:
        """Whether so many more bytes may be in memory; they count until their request is over."""
        self._held += size
        return self._held <= self.limits.held


class _Body:
    """The body of one request, as far as it came."""

    def __init__(self, bounds: BoundedBodies, most: int, receive: Receive, *, in_memory: bool):
        self.refusal: RefusedBody | None = None
        self.held = 0
        self._bounds, self._most, self._receive, self._in_memory = bounds, most, receive, in_memory
        self._received, self._begun, self._complete = 0, time.monotonic(), False

    async def receive(self) -> Message:
        if self._complete:
            return await self._receive()
        if self.refusal is not None:
            raise self.refusal
        try:
            message = await asyncio.wait_for(self._receive(), max(AT_ONCE, self._left()))
        except TimeoutError:
            self.refusal = RefusedBody(408, SLOW)
            raise self.refusal from None
        size = len(message.get("body", b""))
        self._received += size
        self._complete = message["type"] != "http.request" or not message.get("more_body", False)
        if self._received > self._most:
            self.refusal = _too_large(self._most)
        elif not self._complete and self._left() < 0:
            self.refusal = RefusedBody(408, SLOW)
        elif self._in_memory:
            self.held += size
            if not self._bounds.hold(size):
                self.refusal = RefusedBody(503, "Too much is being sent to the demo right now. Try again in a minute.")
        if self.refusal is not None:
            self._complete = False
            raise self.refusal
        return message

    def _left(self) -> float:
        """Seconds until more must have come."""
        limits = self._bounds.limits
        return self._begun + limits.patience + self._received / limits.slowest - time.monotonic()


def _declared(headers: Mapping[str, str]) -> int:
    """The length that a request says it has; 0 without one, or without sense."""
    length = headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() and len(length) < 19 else 0


def _too_large(most: int) -> RefusedBody:
    return RefusedBody(413, f"The request is larger than {megabytes(most)}. Send less at once.")


async def _refuse(refusal: RefusedBody, receive: Receive, send: Send) -> None:
    """Answer, then read on for a moment: who is still sending would not see the answer on a connection that is closed.

    What is read is dropped at once.
    """
    text = refusal.text.encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(text)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": text, "more_body": True})
    end, more = time.monotonic() + DRAIN_SECONDS, refusal.status != 408
    while more and (left := end - time.monotonic()) > 0:
        try:
            message = await asyncio.wait_for(receive(), left)
        except TimeoutError:
            break
        more = message["type"] == "http.request" and message.get("more_body", False)
    await send({"type": "http.response.body", "body": b"", "more_body": False})
