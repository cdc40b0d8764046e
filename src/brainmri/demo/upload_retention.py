"""How long anything of visitors is kept: their files on the disk, and what Gradio remembers of them."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from gradio import routes

from brainmri.demo.server.errors import log_fault

if TYPE_CHECKING:
    from gradio import Blocks

PREFIX = "brainmri-demo-"
LOCK = ".lock"
UPLOADS, WORK = (
    "uploads",
    "work",
)  # of Gradio, looked through for what is old; of what lasts as long as its answer takes
TRIES = 10  # at a folder; more than one is needed where two demos start in the same millisecond
OFTEN = 60  # seconds at most between two looks


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A new folder with `UPLOADS` and `WORK` in it, until the `with` ends; what killed processes left is deleted first.

    Raises:
        OSError: if no folder can be made.
    """
    delete_abandoned()
    folder, lock = _locked()
    try:
        for name in (UPLOADS, WORK):
            (folder / name).mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.release(force=True)


def delete_abandoned() -> None:
    """Delete the folders of demos that run no more. One of a demo that runs, or of another user, is left alone."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if folder.is_symlink() or not folder.is_dir():
            continue
        lock = FileLock(folder / LOCK)
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError):
            continue
        try:
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            lock.release(force=True)


def _locked() -> tuple[Path, FileLock]:
    for _ in range(TRIES):
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        lock = FileLock(folder / LOCK)
        try:
            lock.acquire()
        except FileNotFoundError:  # as below
            continue
        if (folder / LOCK).exists():  # else another demo that starts took it for abandoned, before it was locked
            return folder, lock
        lock.release(force=True)
    raise OSError("no folder for temporary files can be made: others delete it")


def forget_uploads(folder: Path, seconds: float) -> None:
    """Start a thread that deletes what comes into `folder` from now on, once it is older than `seconds`.

    Gradio's `delete_cache` deletes uploads, but neither the folders nor what it never put on its lists.
    """
    kept = set(folder.rglob("*"))

    def look() -> None:
        while True:
            time.sleep(min(OFTEN, seconds))
            delete_older(folder, seconds, kept)

    threading.Thread(target=look, name="forget uploads", daemon=True).start()


def delete_older(folder: Path, seconds: float, kept: set[Path]) -> None:
    """Delete the files below `folder` that are older than `seconds`, and then empty folders, but for `kept`."""
    limit = time.time() - seconds
    for path in sorted(folder.rglob("*"), reverse=True):  # what a folder holds comes before it
        try:
            if path in kept or path.lstat().st_ctime > limit:
                continue
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink()
        except OSError:  # gone already, or a folder that is not empty
            continue


SESSIONS = 256  # that are remembered at once; more visitors than may wait in the queue
LOOK_SECONDS = 30.0  # seconds at most between two looks


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
        await asyncio.sleep(min(LOOK_SECONDS, seconds))
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
