"""Text can be read in both modes, and the page asks nobody else for anything."""

import re

import pytest

from brainmri.demo.pages.components import HEAD, PALETTE, css, theme
from brainmri.demo.pages.plots import COLOURS

TEXT, GRAPHICS = 4.5, 3.0  # WCAG 2.2 AA
PAIRS = [  # of Gradio's theme: text on background
    ("body_text_color", "body_background_fill"),
    ("body_text_color", "block_background_fill"),
    ("body_text_color_subdued", "body_background_fill"),
    ("block_info_text_color", "block_background_fill"),
    ("block_label_text_color", "block_label_background_fill"),
    ("block_title_text_color", "block_background_fill"),
    ("body_text_color", "input_background_fill"),
    ("body_text_color", "input_background_fill_hover"),
    ("input_placeholder_color", "input_background_fill"),
    ("button_primary_text_color", "button_primary_background_fill"),
    ("button_primary_text_color", "button_primary_background_fill_hover"),
    ("button_secondary_text_color", "button_secondary_background_fill"),
    ("button_secondary_text_color", "button_secondary_background_fill_hover"),
    ("button_cancel_text_color", "button_cancel_background_fill"),
    ("checkbox_label_text_color", "checkbox_label_background_fill"),
    ("checkbox_label_text_color", "checkbox_label_background_fill_hover"),
    ("checkbox_label_text_color_selected", "checkbox_label_background_fill_selected"),
    ("table_text_color", "table_odd_background_fill"),
    ("table_text_color", "table_even_background_fill"),
    ("table_text_color", "table_row_focus"),
    ("link_text_color", "body_background_fill"),
    ("link_text_color_hover", "block_background_fill"),
    ("link_text_color_visited", "block_background_fill"),
    ("error_text_color", "error_background_fill"),
    ("body_text_color", "code_background_fill"),
    ("accordion_text_color", "block_background_fill"),
]
OWN = [  # of the palette: text on background
    *((text, page) for text in ("text", "quiet", "link") for page in ("page", "panel", "raised")),
    ("alarm", "alarm-page"),
    ("notice", "notice-page"),
]
SEEN = [("focus", "page"), ("focus", "panel"), ("bar", "panel"), ("floor", "panel"), ("button", "page")]


def luminance(colour: str) -> float:
    """Relative luminance of "#rrggbb", 0..1, as WCAG defines it."""
    colour = "#ffffff" if colour == "white" else colour
    assert re.fullmatch("#[0-9a-f]{6}", colour), colour
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def mixed(colour: str, page: str, share: float) -> str:
    pairs = [(int(colour[place : place + 2], 16), int(page[place : place + 2], 16)) for place in (1, 3, 5)]
    return "#" + "".join(f"{round(share * one + (1 - share) * other):02x}" for one, other in pairs)


def test_contrast_as_wcag_has_it() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("mode", ["", "_dark"])
def test_every_text_can_be_read(mode: str) -> None:
    made = theme()
    found = {
        pair: contrast(*(made._get_computed_value(name + mode) for name in pair))  # as Gradio writes it into its CSS
        for pair in PAIRS
    }
    place = 1 if mode else 0
    found |= {pair: contrast(*(PALETTE[name][place] for name in pair)) for pair in OWN}
    darkest = mixed(PALETTE["bar"][place], PALETTE["panel"][place], 0.5)  # of the confusion matrix
    found["text", "confusion matrix"] = contrast(PALETTE["text"][place], darkest)
    assert {pair: ratio for pair, ratio in found.items() if ratio < TEXT} == {}


@pytest.mark.parametrize("place", [0, 1])
def test_marks_and_focus_can_be_seen(place: int) -> None:
    found = {pair: contrast(*(PALETTE[name][place] for name in pair)) for pair in SEEN}
    found |= {(colour, "panel"): contrast(colour, PALETTE["panel"][place]) for colour in COLOURS}
    assert {pair: ratio for pair, ratio in found.items() if ratio < GRAPHICS} == {}


def test_nothing_is_asked_of_others() -> None:
    made = theme()
    assert made._stylesheets == []
    assert made._font_css == []
    assert "//" not in re.sub(r"/\*.*?\*/", "", css() + HEAD, flags=re.DOTALL)
    assert ":focus-visible" in css()


def test_gradio_may_split_the_rules_at_commas() -> None:
    """It puts its selector before each part of a list; one inside brackets would be torn apart."""
    selectors = re.findall(r"([^{}]+)\{", re.sub(r"/\*.*?\*/", "", css(), flags=re.DOTALL))
    assert [selector for selector in selectors if re.search(r"\([^)]*,", selector)] == []
