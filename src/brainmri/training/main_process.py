"""What one process does for all: its outcome, or its error, is that of every process."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from accelerate.utils import broadcast_object_list

if TYPE_CHECKING:
    from accelerate import PartialState

T = TypeVar("T")


def decided(state: PartialState, work: Callable[[], T]) -> T:
    """What `work` returns in the main process, in every process; each must call it.

    An error of a user's ends them all, and the main process alone tells of it.

    Raises:
        ValueError, OSError: what `work` raises, in the main process.
        SystemExit: in the others.
    """
    box: list[Any] = [None, None]
    error: Exception | None = None
    if state.is_main_process:
        try:
            box[0] = work()
        except (ValueError, OSError) as raised:
            error, box[1] = raised, str(raised)
    if state.num_processes > 1:
        broadcast_object_list(box)
    if error:
        raise error
    if box[1] is not None:
        raise SystemExit(2)
    answer: T = box[0]
    return answer


def first_in_main_process(state: PartialState, work: Callable[[], T]) -> T:
    """`work` in the main process, and then in the others, which find in the cache what it left there.

    Raises:
        as `decided`.
    """
    done: list[T] = []
    decided(state, lambda: done.append(work()))
    return done[0] if done else work()
