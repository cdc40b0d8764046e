"""What the server remembers of visitors who are gone."""

from collections import OrderedDict
from threading import Lock
from types import SimpleNamespace
from typing import Any

from brainmri.demo.upload_retention import forget_sessions


def gradio(*sessions: str, busy: tuple[str, ...] = ()) -> tuple[Any, Any]:
    """What Gradio holds of these sessions, and of those in which something waits."""
    every = [*sessions, *busy]
    states = SimpleNamespace(
        session_data=OrderedDict.fromkeys(every), time_last_used=dict.fromkeys(every, 1.0), lock=Lock()
    )
    queue = SimpleNamespace(
        event_ids_to_events={name: SimpleNamespace(session_hash=name) for name in busy},
        pending_messages_per_session=dict.fromkeys(every),
        pending_event_ids_session=dict.fromkeys(every),
    )
    return SimpleNamespace(_queue=queue), states


def test_a_session_is_forgotten_once_it_was_not_used_for_so_long() -> None:
    demo, states = gradio("gone", "back", busy=("waiting",))
    idle = forget_sessions(demo, states, {}, 10, now=0)
    states.time_last_used["back"] = 2.0
    idle = forget_sessions(demo, states, idle, 10, now=9)
    assert len(states.session_data) == 3
    idle = forget_sessions(demo, states, idle, 10, now=10)
    assert set(states.session_data) == set(states.time_last_used) == {"back", "waiting"}
    assert set(demo._queue.pending_messages_per_session) == {"back", "waiting"}
    assert set(demo._queue.pending_event_ids_session) == {"back", "waiting"}
    idle = forget_sessions(demo, states, idle, 10, now=100)
    assert set(states.session_data) == {"waiting"}
    demo._queue.event_ids_to_events.clear()
    forget_sessions(demo, states, forget_sessions(demo, states, idle, 10, now=101), 10, now=200)
    assert not states.session_data
    assert not demo._queue.pending_messages_per_session


def test_answers_that_nobody_came_for_are_forgotten_with_their_session() -> None:
    demo, states = gradio("evicted")
    states.session_data.clear()  # Gradio's own limit
    states.time_last_used.clear()
    forget_sessions(demo, states, forget_sessions(demo, states, {}, 10, now=0), 10, now=10)
    assert not demo._queue.pending_messages_per_session
