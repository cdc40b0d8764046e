import base64
import json
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from brainmri.evaluation.inference import read_predictions
from brainmri.evaluation.run_warnings import warnings_of
from brainmri.reporting.model_card import write_card
from brainmri.reporting.run_report import write_figures, write_report
from brainmri.runs.folder import summary
from brainmri.schemas import read_result


class Page(HTMLParser):
    """Text, images and unclosed tags of a page."""

    def __init__(self, text):
        super().__init__()
        self.open, self.words, self.images = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.images.append(dict(attributes))
        elif tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def report(run):
    return write_report(run).read_text(encoding="utf-8")


def test_page_is_whole_and_needs_no_network(make_run):
    run = make_run()
    drawn = write_figures(run)
    text = report(run)
    page = Page(text)
    assert page.open == []
    assert len(page.images) == len(drawn) == 3
    for image in page.images:
        head, payload = image["src"].split(",")
        assert head == "data:image/png;base64"
        assert base64.b64decode(payload).startswith(b"\x89PNG")
        assert image["alt"]
    assert not re.search(r"(src|href)=.(https?:)?//|@import|<script|<link", text)
    assert 'name="viewport"' in text
    assert "prefers-color-scheme: dark" in text


def test_page_holds_the_figures_of_the_run(make_run):
    run = make_run()
    result = json.loads((run / "result.json").read_text())
    text = Page(report(run)).text
    low, high = result["test"]["accuracy_ci95"]
    assert f"{100 * result['test']['accuracy']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]" in text
    assert "240 images of 60 groups" in text
    assert "Nearest training image (64x64 pixels) 82.3 %" in text
    assert "99.24 % (Kaggle 7023; Testing (1,311 images), leaky)" in text
    assert "No group stands in more than one split" in text
    assert "not a medical device" in text
    assert "23,569,348 in all" in text
    glioma = result["test"]["per_class"]["glioma"]
    assert f"glioma {100 * glioma['precision']:.1f} % {100 * glioma['recall']:.1f} %" in text
    assert f"The temperature {result['calibration']['temperature']:.2f}" in text
    assert "No rule for refusing" in text
    assert 'class="warning"' not in report(run)


@pytest.mark.parametrize(
    ("changes", "headline", "sentence"),
    [
        ({"weights": "random"}, "Random weights", "No pretrained weights were used"),
        ({"data__simulated": True}, "Simulated images", "No figure on this page is a clinical one"),
        ({"data__leaky": True}, "Leaky split", "cannot rank models"),
        (
            {"training__schedule_fraction": 0.2, "training__epochs_run": 2},
            "Partial schedule",
            "Only 20 % of the recipe's schedule was run (2 of 10 epochs)",
        ),
        (
            {"training__schedule_fraction": 0.7222222222222222, "training__epochs_run": 7.222333333333334},
            "Partial schedule",
            "Only 72 % of the recipe's schedule was run (7.22 of 10 epochs)",
        ),
    ],
)
def test_what_must_be_known_first_stands_at_the_top_in_large_letters(make_run, changes, headline, sentence):
    text = report(make_run(**changes))
    top = text[: text.index("<h1>")]
    assert f'<div class="warning"><strong>{headline}</strong>' in top
    assert sentence in Page(text).text


def test_random_weights_are_no_warning_where_the_network_has_no_others(make_run):
    run = make_run(weights="random", arch="cnn_4x4")
    text = Page(report(run)).text
    assert 'class="warning"' not in report(run)
    assert "Weights at the start random, as meant: there are no pretrained weights for this network" in text
    text = Page(report(make_run("hub", weights="random", arch="hf:OWNER/NAME"))).text  # without asking the Hub
    assert "Random weights" in text


def test_what_did_not_change_is_said_so(make_run):
    def told(**changes):
        run = make_run(f"run{len(changes)}")
        uncertainty = json.loads((run / "uncertainty.json").read_text())
        uncertainty["calibration"] |= changes
        (run / "uncertainty.json").write_text(json.dumps(uncertainty))
        return Page(report(run)).text

    assert "The loss there (nats): unchanged at 0.747" in told(nll_before=0.74712, nll_after=0.74695)
    text = told(nll_before=0.747, nll_after=0.731, ece_before=0.05, ece_after=0.0501)
    assert "The loss there (nats): from 0.747 to 0.731. Calibration error on validation: unchanged at 0.050;" in text


def test_no_figure_has_more_digits_than_a_reader_can_use(make_run, reject_record):
    ugly = {f"training__{key}": 7.222333333333334 for key in ("epochs_run", "images_per_second", "time_to_converge_s")}
    run = make_run(ood=reject_record, training__schedule_fraction=0.7222333333333334, **ugly)
    uncertainty = json.loads((run / "uncertainty.json").read_text())
    (run / "uncertainty.json").write_text(json.dumps(uncertainty | {"ood": reject_record, "ood_reason": None}))
    found = re.compile(r"\d\.\d{5,}")
    assert not found.findall(Page(report(run)).text)
    card = write_card(run).read_text(encoding="utf-8")
    assert not found.findall(card[card.index("\n# ") :])  # the metadata above are for programs
    assert not found.findall(summary(read_result(run), run))


def test_page_says_what_is_refused_and_what_was_not_tried(make_run, reject_record):
    run = make_run(ood=reject_record)
    uncertainty = json.loads((run / "uncertainty.json").read_text())
    (run / "uncertainty.json").write_text(json.dumps(uncertainty | {"ood": reject_record, "ood_reason": None}))
    text = Page(report(run)).text
    assert "Of the test images 5.0 % [" in text
    assert "faces, grey gradio 100 84.0 % [75.3, 90.6] yes" in text
    assert "head CT gradio – – (pydicom is not installed) yes" in text
    assert "brain MRI: one head gradio 1 0.0 % [0.0, 97.5] an open question" in text
    assert text.index("Held back") < text.index("faces, grey") < text.index("kind of rule was chosen")
    assert text.index("kind of rule was chosen") < text.index("handwritten digits")
    rejected = reject_record["test"]["rejected_per_class"]
    first, share = next(iter(rejected.items()))
    assert f"Refused by class: {first} {100 * share:.1f} %" in text
    assert "None" not in text


def test_page_shows_coverage_by_class_and_the_sizes_of_the_sets(make_run):
    run = make_run()
    conformal = json.loads((run / "uncertainty.json").read_text())["conformal"]
    text = Page(report(run)).text
    for label, share in conformal["test_coverage_per_class"].items():
        assert f"{label} {100 * share:.1f} %" in text
    low, high = conformal["test_coverage_ci95"]
    assert f"{100 * conformal['test_coverage']:.1f} % [{100 * low:.1f}, {100 * high:.1f}] of the test images" in text
    assert "Test images " + " ".join(str(n) for n in conformal["test_set_sizes"].values()) in text


def test_nulls_are_dashes(make_run):
    run = make_run(
        test__auroc=None,
        test__accuracy_ci95=None,
        floors=None,
        published=None,
        training__best_epoch=None,
        training__images_per_second=None,
    )
    text = Page(report(run)).text
    assert "no interval: one group" in text
    assert "epoch – kept" in text
    assert "None" not in text
    assert "Published" not in text


def test_labels_from_folder_names_cannot_inject_html(make_run):
    text = report(make_run(classes=["<script>alert(1)</script>", "b&c"], data__name="<b>set"))
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "<b>set" not in text


def test_a_run_without_a_test_split_still_has_a_report(make_run):
    run = make_run(test=None, floors=None)
    assert [path.name for path in write_figures(run)] == ["curves.png"]
    assert "not measured: the run has no test split" in Page(report(run)).text


def test_predictions_keep_labels_as_text(make_run):
    run = make_run(classes=["1", "NA"])
    labels, probabilities = read_predictions(run / "predictions.csv", "test", ["1", "NA"])
    assert (len(labels), set(labels)) == (240, {0, 1})
    assert sum(probabilities[0]) == pytest.approx(1, abs=1e-8)
    with pytest.raises(ValueError, match=r"p_x.*unknown labels: \['NA'\]"):
        read_predictions(run / "predictions.csv", "test", ["1", "x"])


def test_unfinished_foreign_and_old_folders_are_refused(make_run, tmp_path):
    with pytest.raises(FileNotFoundError, match="did not finish"):
        read_result(tmp_path)
    with pytest.raises(ValueError, match="version 3 found, 2 expected"):
        read_result(make_run("a", schema_version=3))
    run = make_run("b")
    result = json.loads((run / "result.json").read_text())
    del result["floors"], result["data"]["leaky"]
    (run / "result.json").write_text(json.dumps(result))
    with pytest.raises(ValueError, match=r"result\.json: keys missing: data\.leaky, floors\. Make the run again"):
        read_result(run)


def test_figures_are_drawn_from_the_files_of_the_run(make_run):
    run = make_run()
    table = pd.read_csv(run / "predictions.csv")
    (table[table["split"] == "validation"]).to_csv(run / "predictions.csv", index=False)
    with pytest.raises(ValueError, match="no rows of the test split"):
        write_figures(run)


def test_a_floor_near_the_accuracy_is_a_warning(make_run):
    def headlines(accuracy):
        result = read_result(make_run(f"run{accuracy}", test__accuracy=accuracy))
        return [headline for headline, _ in warnings_of(result)]

    assert "Near a trivial baseline" in headlines(0.86)  # the nearest neighbour has 82.3 %
    assert "Near a trivial baseline" in headlines(0.7)
    assert "Near a trivial baseline" not in headlines(0.9)


def test_what_the_training_images_were_stands_in_the_report_and_the_card(make_run):
    kind = {"sequence": "T1 with contrast", "plane": "axial", "counts": {"glioma": 90, "meningioma": 8, "notumor": 5}}
    rare = {"sequence": "T2/PD", "plane": "axial", "counts": {"glioma": 2, "meningioma": 0, "notumor": 40}}
    kinds = {"images": 145, "of": 4000, "kinds": [rare, kind], "sites": ["figshare"], "types": None}
    run = make_run(kinds=kinds)
    page = Page(report(run)).text
    assert "T1 with contrast axial 98 5 T2/PD axial 2 40 few" in page
    assert "marked as doubtful" in page
    assert "| T2/PD | axial | 2 | 40 | few |" in write_card(run).read_text(encoding="utf-8")


def test_a_run_of_an_earlier_version_says_nothing_of_its_training_images(make_run):
    run = make_run()
    assert "What it knows" not in report(run)
    assert "What it knows" not in write_card(run).read_text(encoding="utf-8")
