"""Parts of a page that take files: what they hand over is a file's place, and the name to show."""

from __future__ import annotations

from abc import ABCMeta
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from gradio.data_classes import FileData, ListFiles
from gradio_client.utils import is_http_url_like

from brainmri.demo.server.fetching import fetched
from brainmri.demo.uploads.limits import UploadError


class Uploaded(NamedTuple):
    """path: on this server, under a neutral name. name: what the visitor calls it; it is never used on disk."""

    path: Path
    name: str


class _WithoutStub(type(gr.File)):  # type: ignore[misc]
    """The metaclass of Gradio's components writes a .pyi file beside each class; of these two nobody needs one."""

    def __new__(cls, name: str, bases: tuple[type, ...], attributes: dict[str, Any]) -> Any:
        return ABCMeta.__new__(cls, name, bases, attributes)


class Files(gr.File, metaclass=_WithoutStub):
    """`gr.File`, whose functions get an `Uploaded`, or a list of them, in the place of paths."""

    is_template = True  # shown as gr.File is

    def preprocess(self, payload: ListFiles | FileData | None) -> Any:
        if payload is None:
            return None
        given = payload.root if isinstance(payload, ListFiles) else [payload]
        found = [Uploaded(Path(one.path), Path(one.orig_name or one.path).name) for one in given]
        if self.file_count != "single":
            return found
        return found[0] if found else None

    async def async_move_resource_to_block_cache(self, url_or_file_path: str | Path | None) -> str | None:
        return await _in_cache(super(), url_or_file_path, self.GRADIO_CACHE)


class Picture(gr.Image, metaclass=_WithoutStub):
    """`gr.Image` for a picture that is pasted or taken, which goes on to `Files` as it is: nothing decodes it here."""

    is_template = True

    def preprocess(self, payload: Any) -> None:
        return None

    async def async_move_resource_to_block_cache(self, url_or_file_path: str | Path | None) -> str | None:
        return await _in_cache(super(), url_or_file_path, self.GRADIO_CACHE)


async def _in_cache(component: Any, place: str | Path | None, cache: str) -> str | None:
    if place is None or not is_http_url_like(str(place)):
        moved: str | None = await component.async_move_resource_to_block_cache(place)
        return moved
    try:
        return str(await fetched(str(place), Path(cache)))
    except UploadError as error:
        raise gr.Error(str(error), print_exception=False) from None
