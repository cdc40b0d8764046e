"""About names the loaded models with their own figures, and how to cite and call."""

from pathlib import Path
from types import SimpleNamespace

import yaml

from brainmri.demo.pages.about import about_page, bibtex, retention
from brainmri.wording import RESEARCH_ONLY, with_interval
from tests.conftest import MakeRun
from tests.demo.pages.conftest import Loaded

ROOT = Path(__file__).parents[3]


def test_figures_are_those_of_the_loaded_models(make_run: MakeRun, loaded: Loaded) -> None:
    models = [loaded(make_run("one")), loaded(make_run("leaks", data__leaky=True, data__origin="figshare-cheng"))]
    page = about_page(models, 600)
    for model in models:
        assert with_interval(model.result.test.accuracy, model.result.test.accuracy_ci95) in page
        assert model.name in page
    assert "leaky" in page
    assert page.count(RESEARCH_ONLY) == 1  # said once, plainly
    assert "doi:10.1371/journal.pone.0140381" in page  # of the recorded origin


def test_a_model_of_the_hub_has_its_card_linked() -> None:
    model = SimpleNamespace(name="theirs", place="OWNER/NAME@v1", classes=["<i>"], result=None, uncertainty=None)
    page = about_page([model], 600)
    assert 'href="https://huggingface.co/OWNER/NAME/tree/v1"' in page
    assert "<i>" not in page
    assert "no result.json" in page


def test_the_address_is_left_to_the_browser() -> None:
    page = about_page([], 600)
    assert page.count('class="here"') == 2
    assert "/leaderboard" in page
    assert "gradio_api/mcp/" in page


def test_the_citation_is_that_of_the_file() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    text = bibtex(citation)
    assert citation["title"] in text
    assert citation["version"] in text
    assert text.startswith("@software{") and text.endswith("}")
    assert text.count("{") == text.count("}")


def test_a_visitor_is_told_for_how_long_an_upload_stays_and_how_to_send_none() -> None:
    assert "are deleted after 10 min;" in about_page([], 600)
    assert "is deleted after 45 s;" in retention(45, None)
    assert "`brainmri demo --static` writes a page" in retention(45, None)
    assert "[The demo that runs in your browser](https://example.org/a) sends nothing." in retention(
        600, "https://example.org/a"
    )
