"""The reporting sheets say what the files of a run hold, and leave to people what only people know."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from brainmri.reporting.checklists.claim import CLAIM
from brainmri.reporting.checklists.evidence import Checklist, read_evidence
from brainmri.reporting.checklists.sheet import CHECKLISTS, filled, write_sheet
from brainmri.reporting.checklists.tripod import TRIPOD_AI
from brainmri.reporting.run_report import write_figures, write_report
from brainmri.schemas import AuditReport, write

from ..conftest import dataset_info
from .test_report import Page

OPEN = {  # what no file of a run can ever tell
    "CLAIM 2024": {"1", "2", "3", "4", "41", "44"},
    "TRIPOD+AI": {"1", "2", "3a", "3b", "3c", "18a", "18b", "18d", "18e", "19", "27b", "27c"},
}
OF_PATIENTS = {"CLAIM 2024": {"13", "15", "16", "18"}, "TRIPOD+AI": {"5b", "6a", "6c", "8b", "8c", "14", "17"}}


def answers(evidence, name: str) -> dict:
    (found,) = [checklist for checklist in filled(evidence) if checklist.name == name]
    return {row.number: row for row in found.rows}


def test_every_item_of_the_checklists_stands_there_once() -> None:
    assert [item.number for item in CLAIM.items] == [str(k) for k in range(1, 45)]
    numbers = [item.number for item in TRIPOD_AI.items]
    assert len(numbers) == len(set(numbers)) == 52
    assert {int(re.match(r"\d+", number)[0]) for number in numbers} == set(range(1, 28))
    assert sorted(numbers, key=lambda number: (int(re.match(r"\d+", number)[0]), number)) == numbers
    for checklist in CHECKLISTS:
        assert "doi:10." in checklist.citation


@pytest.mark.parametrize("checklist", CHECKLISTS, ids=lambda checklist: checklist.name)
def test_only_people_answer_what_no_file_holds(make_run, checklist: Checklist) -> None:
    real = answers(read_evidence(make_run("real", data__origin="figshare-cheng")), checklist.name)
    still = {number for number, row in real.items() if row.answer.kind == "open"}
    assert still >= OPEN[checklist.name] | OF_PATIENTS[checklist.name]
    simulated = answers(read_evidence(make_run("phantom", data__simulated=True)), checklist.name)
    for number in OF_PATIENTS[checklist.name]:
        assert simulated[number].answer.kind == "not applicable"
        assert "simulated" in simulated[number].text
    assert {number for number, row in simulated.items() if row.answer.kind == "open"} >= OPEN[checklist.name]


def test_the_figures_are_those_of_the_run(make_run) -> None:
    run = make_run(test__accuracy=0.8125, test__accuracy_ci95=[0.75, 0.875], test__n=1234)
    claim = answers(read_evidence(run), "CLAIM 2024")
    assert "Accuracy 81.2 % [75.0, 87.5] on 1,234 test images" in claim["37"].text
    assert "12.5 points wide" in claim["21"].text
    tripod = answers(read_evidence(run), "TRIPOD+AI")
    assert claim["37"].text == tripod["23a"].text
    again = answers(read_evidence(make_run("other", test__accuracy=0.5)), "CLAIM 2024")
    assert "Accuracy 50.0 %" in again["37"].text


def test_errors_are_counted_from_the_confusion_matrix(make_run) -> None:
    run = make_run(classes=["glioma", "none"], test__confusion_matrix=[[90, 10], [3, 137]])
    assert (
        "13 of 240 test images are classified wrongly, most often glioma as none (10)"
        in answers(read_evidence(run), "CLAIM 2024")["39"].text
    )
    right = make_run("right", classes=["glioma", "none"], test__confusion_matrix=[[100, 0], [0, 140]])
    assert answers(read_evidence(right), "CLAIM 2024")["39"].text == "No error among 240 test images."


def test_a_run_without_test_split_or_detector_claims_no_figure(make_run) -> None:
    evidence = read_evidence(make_run(test=None, floors=None, detection=None, calibration=None, conformal=None))
    claim = answers(evidence, "CLAIM 2024")
    for number in ("32", "37", "38", "39"):
        assert claim[number].answer.kind == "not applicable"
        assert claim[number].text == "The run has no test split."
    assert answers(evidence, "TRIPOD+AI")["24"].answer.kind == "not applicable"


def test_what_was_not_studied_is_open_and_not_answered(make_run) -> None:
    claim = answers(read_evidence(make_run()), "CLAIM 2024")
    for number, command in (("30", "--robustness"), ("31", "brainmri explain"), ("33", "brainmri evaluate")):
        assert claim[number].answer.kind == "open"
        assert command in claim[number].text


def test_preparation_and_audit_answer_more(make_run, tmp_path: Path) -> None:
    run = make_run()
    assert "How many were excluded is not on record" in answers(read_evidence(run), "CLAIM 2024")["35"].text
    write(dataset_info(rejected=17, contradictory_images=[["a", "b"]], holdout="site=oslo"), run / "data.json")
    kind = {"kind": "same_picture", "images": 9, "sets": 4, "largest": 3, "contradictory": []}
    kind["across"] = [{"part": "test", "in": "train", "images": 31, "of": 240}]
    audit = {"name": "x", "against": None, "images": 500, "parts": {}, "classes": {}, "kinds": [kind]}
    audit["thresholds"] = dict.fromkeys(
        ("same_picture_correlation", "same_picture_structure", "neighbour_structure"), 0.9
    )
    audit |= {"shortcuts": None, "calibration": None, "rejected": [], "external": None}
    (run / "audit").mkdir()
    write(AuditReport.model_validate(audit), run / "audit" / "audit.json")
    claim = answers(read_evidence(run), "CLAIM 2024")
    assert "17 files excluded" in claim["35"].text
    assert "more than one label: 1" in claim["17"].text
    assert "31 of 240 test images again in training" in claim["20"].text
    assert "All images with site=oslo are in the test split" in answers(read_evidence(run), "TRIPOD+AI")["16"].text


@pytest.mark.integration
def test_the_sheet_is_a_part_of_the_report_and_a_file(make_run) -> None:
    run = make_run(data__name="a|b <c>")
    write_figures(run)
    page = Page(write_report(run).read_text(encoding="utf-8"))
    assert page.open == []
    text = (run / "reporting.md").read_text(encoding="utf-8")
    for checklist in filled(read_evidence(run)):
        assert checklist.count in page.text
        assert f"\n{checklist.count}.\n" in text
        for row in checklist.rows:
            assert row.text in page.text
    for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        assert {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()} == {5}
    assert "<c>" not in text
    assert "None" not in text


def test_the_names_of_items_are_short_ones_of_our_own() -> None:
    for checklist in CHECKLISTS:
        for item in checklist.items:
            assert 1 <= len(item.name.split()) <= 7


def test_evidence_that_is_another_run_is_shown_as_it_is(make_run, tmp_path: Path) -> None:
    evidence = read_evidence(make_run())
    out = tmp_path / "tree"
    out.mkdir()
    cleaned = replace(evidence, result=evidence.result.model_copy(update={"command": "train.py --data_dir data"}))
    assert "train.py --data_dir data" in write_sheet(cleaned, out).read_text()
    assert (
        json.loads((tmp_path / "resnet50-clean-seed1" / "result.json").read_text())["command"]
        not in (out / "reporting.md").read_text()
    )
