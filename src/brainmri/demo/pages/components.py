"""What the pages share: the theme, headings, text files of the package, and parts that take files."""

from __future__ import annotations

from abc import ABCMeta
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from gradio.data_classes import FileData, ListFiles
from gradio.themes.utils import colors, sizes
from gradio_client.utils import is_http_url_like

from brainmri.demo.server.files import fetched
from brainmri.io.limits import UploadError

# name: (light, dark); the pages' own colours, as CSS variables --brainmri-NAME.
PALETTE = {
    "text": ("#1b2530", "#e8eef4"),
    "quiet": ("#4a5a6a", "#a9b7c4"),
    "page": ("#f4f7f9", "#10161c"),
    "panel": ("#ffffff", "#18212a"),
    "raised": ("#e9f0f4", "#22303c"),  # table heads, code
    "line": ("#c6d2db", "#3a4956"),
    "link": ("#0b5c7a", "#7cc7e8"),
    "button": ("#0b5c7a", "#1f7ea3"),
    "button-hover": ("#084861", "#196b8c"),
    "focus": ("#b54708", "#ffb454"),
    "alarm": ("#8c1d18", "#ffb4ab"),
    "alarm-page": ("#fdecea", "#3a1715"),
    "notice": ("#5c4200", "#ffd98a"),
    "notice-page": ("#fff4d6", "#332708"),
    "bar": ("#0b6e94", "#4aa9d1"),
    "floor": ("#76838f", "#8b99a6"),
}
DESCRIPTION = (
    "Classes of brain MRI slices with calibrated confidence, baselines, intervals and leak audits. Research only."
)
HEAD = f'<meta name="description" content="{DESCRIPTION}">\n<meta name="color-scheme" content="light dark">'


def theme() -> gr.themes.Base:
    """The demo's theme."""
    made = gr.themes.Base(
        primary_hue=colors.sky,
        secondary_hue=colors.sky,
        neutral_hue=colors.slate,
        radius_size=sizes.radius_md,
        font=("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"),
        font_mono=("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"),
    )
    made.name = "brainmri"
    return made.set(
        **_both("text", "body_text_color", "block_title_text_color", "block_label_text_color", "table_text_color"),
        **_both("text", "accordion_text_color", "button_secondary_text_color", "button_cancel_text_color"),
        **_both("text", "checkbox_label_text_color", "button_secondary_text_color_hover"),
        **_both("quiet", "body_text_color_subdued", "block_info_text_color", "input_placeholder_color"),
        **_both("page", "body_background_fill", "background_fill_secondary"),
        **_both("panel", "background_fill_primary", "block_background_fill", "panel_background_fill"),
        **_both("panel", "input_background_fill", "input_background_fill_focus", "table_odd_background_fill"),
        **_both("panel", "block_label_background_fill", "table_even_background_fill", "checkbox_background_color"),
        **_both("raised", "button_secondary_background_fill", "button_cancel_background_fill"),
        **_both("raised", "checkbox_label_background_fill", "code_background_fill", "stat_background_fill"),
        **_both("raised", "checkbox_label_background_fill_hover", "input_background_fill_hover", "table_row_focus"),
        **_both("line", "border_color_primary", "block_border_color", "input_border_color", "table_border_color"),
        **_both("line", "button_secondary_background_fill_hover", "button_cancel_background_fill_hover"),
        **_both("floor", "checkbox_border_color"),
        **_both("link", "link_text_color", "link_text_color_hover", "link_text_color_active"),
        **_both("link", "link_text_color_visited", "border_color_accent", "input_border_color_focus"),
        **_both("button", "button_primary_background_fill", "slider_color", "checkbox_background_color_selected"),
        **_both("button", "checkbox_label_background_fill_selected", "checkbox_border_color_selected"),
        **_both("button-hover", "button_primary_background_fill_hover"),
        **_both("bar", "loader_color"),
        **_both("alarm", "error_text_color", "error_icon_color", "error_border_color"),
        **_both("alarm-page", "error_background_fill"),
        color_accent="var(--brainmri-bar)",  # has no dark twin of its own
        button_primary_text_color="#ffffff",
        button_primary_text_color_hover="#ffffff",
        checkbox_label_text_color_selected="#ffffff",
        checkbox_label_text_color_selected_dark="#ffffff",
        button_primary_border_color="transparent",
        block_border_width="1px",
        block_shadow="none",
        block_title_text_weight="600",
        prose_header_text_weight="650",
        button_transition="none",
    )


def css() -> str:
    """The rules of all pages, with the colours of `PALETTE` before them."""
    variables = [
        "\n".join(f"  --brainmri-{name}: {both[mode]};" for name, both in PALETTE.items()) for mode in range(2)
    ]
    rules = "\n".join(file_text(name) for name in ("pages.css", "answer.css"))
    return f":root {{\n{variables[0]}\n}}\n.dark {{\n{variables[1]}\n}}\n{rules}"


def _both(colour: str, *properties: str) -> dict[str, str]:
    """The properties of a theme that have a colour of `PALETTE`, in light and dark."""
    light, dark = PALETTE[colour]
    return dict.fromkeys(properties, light) | {f"{name}_dark": dark for name in properties}


def heading(title: str, sentence: str) -> str:
    """HTML: the heading of a page (h2; the demo's title is the h1) and a sentence beneath it."""
    return f'<div class="brainmri"><h2>{escape(title)}</h2><p>{escape(sentence)}</p></div>'


def paragraph(sentence: str) -> str:
    """HTML: a sentence by itself."""
    return f'<div class="brainmri"><p>{escape(sentence)}</p></div>'


def file_text(name: str) -> str:
    """The text of a file of this package."""
    return resources.files("brainmri").joinpath("demo/static", name).read_text(encoding="utf-8")


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


class ImageUpload(gr.Image, metaclass=_WithoutStub):
    """`gr.Image` for an image that is pasted or taken, which goes on to `Files` as it is: nothing decodes it here."""

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
