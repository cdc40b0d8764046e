"""The demo as Gradio serves it, with what this project asks beyond Gradio: bounds, discretion, errors as sentences."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import gradio as gr
import gradio.mcp
from starlette.middleware import Middleware

from brainmri.demo.server.body_limits import BoundedBodies
from brainmri.demo.server.errors import FAULT, NoFaultsOutside, log_discreetly, log_fault, plain
from brainmri.demo.server.files import NeutralNames
from brainmri.demo.server.tools import Tools
from brainmri.demo.upload_retention import SESSIONS, forgetting_sessions


class Demo(gr.Blocks):
    """`gr.Blocks` whose functions fail with sentences alone, for the page, for programs and for language models.

    Attributes:
        loading: while it is true, what is asked waits.
    """

    loading = False

    async def process_api(self, *arguments: Any, **named: Any) -> dict[str, Any]:
        """As `gr.Blocks`; every error is a `gr.Error` of plain text, of which nothing is printed.

        Raises:
            gr.Error: in the place of whatever was raised.
        """
        while self.loading:
            await asyncio.sleep(0.05)
        try:
            return await super().process_api(*arguments, **named)
        except gr.Error as error:
            raise gr.Error(plain(error.message), title=error.title, print_exception=False) from None
        except Exception as error:
            log_fault(error)
            raise gr.Error(FAULT, print_exception=False) from None


def launch(demo: Demo, keep: float, load: Callable[[], None], **options: Any) -> None:
    """`demo.launch(**options)`, behind the bounds, until the process is stopped.

    Args:
        keep: seconds until a session is forgotten that nobody uses.
        load: called once the page stands; its functions wait until it is done.

    Raises:
        ValueError: as of `load`.
    """
    setattr(gradio.mcp, "GradioMCPServer", Tools)  # noqa: B010 - a type, as mypy sees it; the class that Gradio makes its server of tools from
    middleware = [Middleware(NoFaultsOutside), Middleware(BoundedBodies), Middleware(NeutralNames)]
    lifespan: Callable[[Any], AbstractAsyncContextManager[None]] = forgetting_sessions(demo, keep)
    log_discreetly()
    demo.loading = True
    demo.launch(
        app_kwargs={"middleware": middleware, "lifespan": lifespan},
        state_session_capacity=SESSIONS,
        prevent_thread_lock=True,
        **options,
    )
    log_discreetly()  # of what the web server has set up itself
    load()
    demo.loading = False
    demo.block_thread()
