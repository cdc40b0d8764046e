"""Tables on a phone: each scrolls in its own box, which shows that it does, and none is cut off or squeezed."""

import json
import re
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from brainmri.reporting.run_report import write_figures, write_report

from ..conftest import MakeRun
from ..scripts import run_here
from .serving import Served
from .test_browser import PHONE, browser, upload  # noqa: F401 - a fixture

# Of each table that can be seen: its first words, and what is wrong with it.
FAULTS = """() => {
  const found = [], wide = window.innerWidth;
  for (const table of document.querySelectorAll('table')) {
    const seen = table.getBoundingClientRect();
    if (!seen.width) continue;
    const say = what => found.push(`${table.innerText.slice(0, 40)}: ${what}`);
    let box = table.parentElement;
    while (box && !['auto', 'scroll'].includes(getComputedStyle(box).overflowX)) box = box.parentElement;
    const edge = (box ?? table).getBoundingClientRect().right;
    if (edge > wide + 0.5) say(`goes on to ${edge} of ${wide} pixels`);
    if (box && box.classList.contains('scroll') && !getComputedStyle(box).backgroundAttachment.includes('local'))
      say('no shadow tells that it scrolls');
    for (const row of table.rows) if (row.getBoundingClientRect().height > 600) say('a row is squeezed to letters');
  }
  if (document.documentElement.scrollWidth > wide) found.push('the page is wider than the screen');
  return found;
}"""
LONG = "an_export_with_a_name_that_is_longer_than_a_screen_of_a_phone_is_wide"


@pytest.fixture
def phone(browser: Browser) -> Page:  # noqa: F811
    return browser.new_context(viewport=PHONE).new_page()  # type: ignore[arg-type]


def test_every_table_of_a_template_stands_in_a_box_that_scrolls() -> None:
    package = resources.files("brainmri")
    folders = [package / "reporting" / "templates", package / "demo" / "pages" / "templates"]
    templates = {file.name: file.read_text() for folder in folders for file in folder.iterdir()}
    box = re.compile(r'<div class="scroll[^>]*role="region" tabindex="0" aria-label="[^"]+"><table')
    tables = {name: (text.count("<table"), len(box.findall(text))) for name, text in templates.items()}
    tables.pop("answer.html.jinja")  # three narrow columns, which fit
    assert sum(count for count, _ in tables.values()) > 20
    assert {name: counts for name, counts in tables.items() if counts[0] != counts[1]} == {}


@pytest.mark.integration
def test_a_report_fits_a_phone(phone: Page, make_run: MakeRun) -> None:
    run = make_run(command=f"train.py --data_dir {LONG}", data__name=LONG)
    write_figures(run)
    phone.goto(write_report(run).as_uri())
    assert phone.evaluate(FAULTS) == []
    wide = phone.get_by_role("region", name="Figures by split")
    assert wide.evaluate("box => box.scrollWidth > box.clientWidth")  # so that the test sees one that scrolls


@pytest.mark.integration
def test_an_audit_fits_a_phone(phone: Page, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for label in ("glioma", "notumor"):
        (tmp_path / "set" / label).mkdir(parents=True)
        for k in range(6):
            image = Image.fromarray(draw.integers(0, 256, (32, 32), dtype=np.uint8))
            image.save(tmp_path / "set" / label / f"{LONG}_{k}.png")
        (tmp_path / "set" / label / f"{LONG}_broken.png").write_bytes(b"no image")
    done = run_here("audit.py", tmp_path / "set", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert len(json.loads((tmp_path / "out" / "audit.json").read_text())["rejected"]) == 2
    phone.goto((tmp_path / "out" / "audit.html").as_uri())
    assert phone.evaluate(FAULTS) == []


def test_the_demos_tables_fit_a_phone(phone: Page, demo: Served, slice_png: Path, tmp_path: Path) -> None:
    phone.goto(demo.url)
    expect(phone.get_by_role("tab", name="Classify")).to_be_visible(timeout=30_000)
    named = tmp_path / f"{LONG}.png"
    named.write_bytes(slice_png.read_bytes())
    upload(phone, slice_png, named)
    cell = phone.get_by_role("gridcell", name=named.name).first
    expect(cell).to_be_visible(timeout=20_000)
    assert phone.evaluate(FAULTS) == []
    assert cell.evaluate("cell => cell.getBoundingClientRect().width") < 250  # room for the next column
    phone.get_by_role("tab", name="Compare").click()
    panel = phone.get_by_role("tabpanel").filter(visible=True)
    expect(panel.get_by_role("heading", name="Confusion matrix")).to_be_visible(timeout=20_000)
    assert phone.evaluate(FAULTS) == []
