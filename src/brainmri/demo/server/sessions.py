"""What Gradio remembers of each visitor, forgotten when he is gone: else it grows with every visit.

A session holds a copy of every part of the page (0.12 to 0.17 MiB), the names of the files last shown, and answers that
nobody came for. Gradio keeps 10,000 of them, and of 2,000 the answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradio import routes

from brainmri.demo.server.faults import log_fault

if TYPE_CHECKING:
    from gradio import Blocks

SESSIONS = 256  # that are remembered at once; more visitors than may wait in the queue
OFTEN = 30.0  # seconds at most between two looks


def forgetting_sessions(demo: Blocks, seconds: float) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    """A lifespan of the server in which sessions are forgotten that were not used for about `seconds`."""

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        task = asyncio.create_task(_look(demo, app, seconds))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    return lifespan


async def _look(demo: Blocks, app: Any, seconds: float) -> None:
    idle: dict[str, tuple[Any, float]] = {}
    while True:
        await asyncio.sleep(min(OFTEN, seconds))
        try:
            idle = forget_sessions(demo, app.state_holder, idle, seconds, asyncio.get_running_loop().time())
            _forget_uploads(demo)
        except Exception as error:  # of Gradio's inside, and the next look may do
            log_fault(error)


def forget_sessions(
    demo: Blocks, states: Any, idle: dict[str, tuple[Any, float]], seconds: float, now: float
) -> dict[str, tuple[Any, float]]:
    """Forget the sessions in which nothing waits or runs, and that were not used for `seconds`.

    Args:
        states: Gradio's `StateHolder`. idle: what the last look gave.

    Returns:
        Of each idle session, when it was last used, as Gradio tells it, and since when it is idle.
    """
    queue = demo._queue
    busy = {event.session_hash for event in queue.event_ids_to_events.values()}
    known = set(states.session_data) | set(queue.pending_messages_per_session) | set(queue.pending_event_ids_session)
    found = {}
    for session in known - busy:
        used = states.time_last_used.get(session)
        before, since = idle.get(session, (used, now))
        if before != used:
            since = now
        if now - since < seconds:
            found[session] = (used, since)
            continue
        with states.lock:
            states.session_data.pop(session, None)
            states.time_last_used.pop(session, None)
        queue.pending_messages_per_session.pop(session, None)
        queue.pending_event_ids_session.pop(session, None)
    return found


def _forget_uploads(demo: Blocks) -> None:
    """Gradio's lists of files, of those that are deleted."""
    for files in demo.temp_file_sets:
        files.difference_update([file for file in list(files) if not Path(file).exists()])
    progress = routes.file_upload_statuses
    if not progress._statuses:  # no upload is under way
        progress._signals.clear()
