"""The demo in a real browser: every page, uploads, errors, a phone, the dark, the keyboard.

With BRAINMRI_SCREENSHOTS=FOLDER the images of the README are written there.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from brainmri.demo.pages.plots import COSTS

from .chromium import chromium
from .serving import Served

pytestmark = pytest.mark.integration

TABS = ("Classify", "Compare", "Audit", "About")
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}
# Of Gradio's own parts, which this project cannot change; each is looked at again when gradio is.
OF_GRADIO = {"nested-interactive"}  # the button of gr.File that takes another file holds its input
LEVELS = """image => {
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = 64;
  const drawn = canvas.getContext('2d');
  drawn.drawImage(image, 0, 0, 64, 64);
  return Array.from(drawn.getImageData(0, 0, 64, 64).data).filter((_, place) => place % 4 == 0);
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = chromium()
    with sync_playwright() as playwright:
        options = ["--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
        started = playwright.chromium.launch(executable_path=program, args=[*options, "--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser, demo: Served) -> Iterator[Page]:
    context = browser.new_context(viewport=DESKTOP)
    opened = context.new_page()
    opened.goto(demo.url)
    expect(opened.get_by_role("tab", name="Classify")).to_be_visible(timeout=30_000)
    yield opened
    context.close()


def upload(page: Page, *files: Path) -> None:
    page.locator("#slices input[type=file]").set_input_files([str(file) for file in files])


def screenshot(page: Page, name: str) -> None:
    if folder := os.environ.get("BRAINMRI_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png")


def test_a_slice_is_answered_in_words_with_figures_a_map_and_its_opacity(page: Page, slice_png: Path) -> None:
    upload(page, slice_png)
    answer = page.locator("#answer")
    expect(answer.get_by_role("heading")).to_be_visible(timeout=20_000)
    expect(answer.locator("tbody")).to_contain_text("%")
    expect(answer.locator("tbody tr")).to_have_count(4)
    map_ = answer.locator("img.evidence")
    expect(map_).to_be_visible(timeout=20_000)
    assert answer.locator("img").first.get_attribute("alt")
    screenshot(page, "classify")
    before = map_.evaluate("image => getComputedStyle(image).opacity")
    page.locator("#opacity input[type=range]").evaluate(
        "slider => { slider.value = 1; slider.dispatchEvent(new Event('input', {bubbles: true})) }"
    )
    page.wait_for_function("() => getComputedStyle(document.querySelector('img.evidence')).opacity === '1'")
    assert float(before) == 0.5


def test_a_volume_has_planes_and_slices(page: Page, volume_nii: Path) -> None:
    upload(page, volume_nii)
    image = page.locator("#answer img").first
    expect(page.get_by_role("radio", name="coronal")).to_be_visible(timeout=20_000)
    axial = image.get_attribute("src")
    page.get_by_role("radio", name="coronal").check()
    page.wait_for_function("before => document.querySelector('#answer img').src !== before", arg=axial)
    coronal = image.get_attribute("src")
    number = page.locator("#slice-number input[type=number]")
    number.fill("3")
    number.press("Enter")
    page.wait_for_function("before => document.querySelector('#answer img').src !== before", arg=coronal)


def test_many_files_give_a_table_that_can_be_downloaded(page: Page, slice_png: Path, tmp_path: Path) -> None:
    archive = tmp_path / "many.zip"
    with ZipFile(archive, "w") as file:
        file.write(slice_png, "a/one.png")
        file.write(slice_png, "b/=two.png")
        file.writestr("notes.txt", "not an image")
    upload(page, archive)
    link = page.get_by_role("link", name="Download as CSV")
    expect(link).to_be_visible(timeout=20_000)
    with page.expect_download() as download:
        link.click()
    lines = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("file,model,answer")
    assert len(lines) == 4
    assert any("'=two.png" in line or "b/=two.png" in line for line in lines)


def test_an_error_says_what_to_do_and_the_page_goes_on(page: Page, slice_png: Path, tmp_path: Path) -> None:
    bad = tmp_path / "<img src=x onerror=alert(1)>.png"
    bad.write_bytes(b"<svg onload=alert(1)>")
    upload(page, bad)
    alert = page.locator("#answer [role=alert]")
    expect(alert).to_contain_text("Use an image", timeout=20_000)
    assert page.locator("#answer svg").count() == 0
    screenshot(page, "error")
    page.get_by_role("button", name="Start again").click()
    expect(page.locator("#answer")).to_contain_text("The answer will stand here", timeout=20_000)
    upload(page, slice_png)
    expect(page.locator("#answer").get_by_role("heading")).to_be_visible(timeout=20_000)


def test_a_zipped_data_set_is_looked_through_for_leaks(page: Page, slice_png: Path, tmp_path: Path) -> None:
    with ZipFile(tmp_path / "set.zip", "w") as file:
        for name in ("train/glioma/one.png", "test/glioma/same.png"):
            file.write(slice_png, name)
        file.writestr("train/notumor/broken.png", b"no image")
    page.get_by_role("tab", name="Audit").click()
    panel = page.get_by_role("tabpanel").filter(visible=True)
    panel.locator("input[type=file]").first.set_input_files(str(tmp_path / "set.zip"))
    expect(panel.get_by_role("row", name="set.zip")).to_be_visible(timeout=20_000)
    panel.get_by_role("button", name="Look for leaks").click()
    expect(panel).to_contain_text("1 of 1 images (100.0 %) of test stand in train too", timeout=60_000)
    expect(panel).to_contain_text("broken.png")


def test_systems_are_sorted_and_a_run_is_looked_at(page: Page) -> None:
    page.get_by_role("tab", name="Compare").click()
    panel = page.get_by_role("tabpanel").filter(visible=True)
    head = panel.get_by_role("columnheader", name="Parameters").first
    head.get_by_role("button").click()
    expect(head).to_have_attribute("aria-sort", re.compile("ascending|descending"))
    expect(panel.get_by_role("heading", name="Confusion matrix")).to_be_visible(timeout=20_000)


def test_a_folder_gives_a_row_for_each_of_its_files(page: Page, slice_png: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / "slices" / f"{name}.png").parent.mkdir(exist_ok=True)
        (tmp_path / "slices" / f"{name}.png").write_bytes(slice_png.read_bytes())
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose a folder").click()
    chooser.value.set_files(tmp_path / "slices")
    for name in ("one.png", "two.png"):
        expect(page.get_by_role("gridcell", name=name).first).to_be_visible(timeout=20_000)


def test_an_example_is_one_click_away(page: Page) -> None:
    page.locator("#examples").get_by_role("button", name="meningioma").click()
    expect(page.locator("#answer").get_by_role("heading")).to_be_visible(timeout=20_000)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", ["desktop", "phone"])
def test_every_page_fits_its_screen_and_is_accessible(browser: Browser, demo: Served, scheme: str, width: str) -> None:
    context = browser.new_context(viewport=PHONE if width == "phone" else DESKTOP, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    outside: list[str] = []
    page.on(
        "request",
        lambda request: (
            outside.append(request.url) if not request.url.startswith((demo.url, "data:", "blob:")) else None
        ),
    )
    page.goto(demo.url)
    for name in TABS:
        page.get_by_role("tab", name=name).click()
        expect(page.get_by_role("tabpanel").filter(visible=True).first).to_be_visible()
        if name == "Compare":  # whose plots are empty until their library is there
            expect(page.locator(".chart .vega-embed")).to_have_count(len(COSTS), timeout=20_000)
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), name
        screenshot(page, f"{name.lower()}-{width}-{scheme}")
        found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa"]}).response["violations"]
        serious = {
            f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found if one["impact"] in ("serious", "critical")
        }
        assert not {one for one in serious if one.partition(":")[0] not in OF_GRADIO}, name
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    light = np.mean([int(value) for value in background.strip("rgba()").split(",")[:3]])
    assert (light < 80) == (scheme == "dark")
    assert not problems
    assert not outside  # no third party learns of a visitor
    context.close()


def test_the_page_can_be_used_by_keyboard(page: Page) -> None:
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("document.activeElement.getAttribute('aria-label') || document.activeElement.innerText")
        )
    text = " | ".join(str(one) for one in reached)
    for control in ("Classify", "Choose a folder", "Start again"):
        assert control in text
    page.get_by_role("tab", name="Classify").focus()
    outline = page.evaluate("getComputedStyle(document.activeElement, ':focus-visible').outlineStyle")
    assert outline != "none"


def test_a_image_of_16_bits_is_not_saturated(page: Page, tmp_path: Path) -> None:
    ramp = np.linspace(0, 60000, 64 * 64).reshape(64, 64).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    upload(page, tmp_path / "ramp.png")
    image = page.locator("#answer img").first
    expect(image).to_be_visible(timeout=20_000)
    levels = image.evaluate(LEVELS)
    assert np.std(levels) > 50
