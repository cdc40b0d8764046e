"""What goes wrong inside of the demo: a sentence for the visitor, and in the log what it was and where, without a word
of the visitor's.

Messages of exceptions quote what was sent (names of files, paths, texts), and so do the libraries' own log messages.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)
OWN = Path(__file__).parents[2]  # the package
FAULT = "The demo could not do this: something in the request is not as it should be. Change it and try again."
CLOSED = "This demo does not offer that."
# Of Gradio, and needed by no part of this demo. They decode, run or keep on disk what a visitor sends.
CLOSED_ROUTES = tuple(
    f"/gradio_api/{name}"
    for name in ("component_server", "deep_link", "process_recording", "proxy=", "stream/", "undo-vibe", "vibe-")
)
# What HTML reads as its own; a page shows messages as HTML, and a program should not need to know that.
PLAIN = str.maketrans({"<": "‹", ">": "›", "&": "+"})


def plain(text: str) -> str:
    """A message that says the same to a page, which takes it for HTML, and to a program."""
    return text.translate(PLAIN)


class NoFaultsOutside:
    """ASGI middleware: an exception becomes an answer without details, and one line in the log."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def noted(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        if scope["type"] == "http" and scope["path"].startswith(CLOSED_ROUTES):
            await PlainTextResponse(CLOSED, status_code=404)(scope, receive, send)
            return
        try:
            await self.app(scope, receive, noted)
        except Exception as error:
            log_fault(error)
            if scope["type"] == "http" and not started:
                await PlainTextResponse(FAULT, status_code=500)(scope, receive, send)
            elif scope["type"] == "http":
                with suppress(Exception):  # where more was announced, or nobody is there
                    await send({"type": "http.response.body", "body": b"", "more_body": False})


def log_fault(error: BaseException) -> None:
    """Write into the log what an exception is and where it was raised, but not what it says."""
    logger.error("%s", told(error))


def told(error: BaseException) -> str:
    """The types of an exception and its causes, and the last place in this package's code, else in any."""
    types = " from ".join(type(one).__qualname__ for one in _causes(error))
    return f"{types} at {_place(error.__traceback__)}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    for _ in range(5):
        if seen is None:
            return
        yield seen
        seen = seen.__cause__


def _place(trace: TracebackType | None) -> str:
    frames = traceback.extract_tb(trace)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(OWN)]
    if not frames:
        return "an unknown place"
    frame = (own or frames)[-1]
    path = Path(frame.filename)
    shown = path.relative_to(OWN.parent) if own else Path(path.parent.name, path.name)
    return f"{shown.as_posix()}:{frame.lineno}"


class _Discreet(logging.Formatter):
    """The demo's own messages as they are; of other packages' only who warns and where, and no exception's words."""

    def format(self, record: logging.LogRecord) -> str:
        if record.name.partition(".")[0] == "brainmri" and not record.exc_info:
            return f"{record.levelname.lower()}: {record.getMessage()}"
        error = record.exc_info[1] if record.exc_info else None
        what = told(error) if error else f"at {record.module}:{record.lineno}"
        return f"{record.levelname.lower()}: {record.name} {what}"


def log_discreetly() -> None:
    """From now on, what this process logs and warns holds nothing that a visitor sent.

    Called when the models are open: what the libraries say of those may be read in full.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Discreet())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in list(logging.root.manager.loggerDict):  # handlers of their own would say it in full
        other = logging.getLogger(name)
        other.handlers.clear()
        other.propagate = True
    logging.captureWarnings(True)
    traceback.print_exc = _print_exc  # what Gradio prints beside the log


def _print_exc(*_: object, **__: object) -> None:
    """In the place of `traceback.print_exc`."""
    if error := sys.exception():
        log_fault(error)
