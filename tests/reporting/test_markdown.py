import json
from pathlib import Path

import pytest

from benchmarks.tables import benchmark_markdown
from brainmri.reporting.html import insert
from brainmri.runs.compare import comparison_markdown, read_comparison

ROOT = Path(__file__).parents[2]

PAGE = Path("page.md")
START, END = "<!-- part:start -->", "<!-- part:end -->"


@pytest.mark.parametrize("readme", ["no markers", START, f"{END}\n{START}", f"{START}{END}{START}{END}"])
def test_markers_must_be_there_once_in_order(readme):
    with pytest.raises(ValueError, match=r"page\.md must hold .*each exactly once"):
        insert(readme, "table", "part", PAGE)


def test_inserting_changes_nothing_else_and_is_stable():
    readme = f"before\n{START}\nold\n{END}\nafter\n<!-- other:start -->"
    once = insert(readme, "| new |", "part", PAGE)
    assert once == f"before\n{START}\n| new |\n{END}\nafter\n<!-- other:start -->"
    assert insert(once, "| new |", "part", PAGE) == once


def test_the_site_states_the_benchmark_that_is_committed():
    report = json.loads((ROOT / "results" / "benchmark" / "benchmark.json").read_text())
    assert all(row["made"]["command"] for rows in report["parts"].values() for row in rows)
    page = (ROOT / "docs" / "speed.md").read_text()
    assert insert(page, benchmark_markdown(report), "benchmark", PAGE) == page


@pytest.mark.parametrize(
    ("results", "page", "name", "short"),
    [
        ("comparison.csv", "README.md", "results", True),
        ("comparison.csv", "docs/results.md", "comparison", False),
        ("ablations/comparison.csv", "docs/results.md", "ablations", False),
        ("binary/comparison.csv", "docs/results.md", "binary", False),
    ],
)
def test_the_documents_state_the_tables_that_are_committed(results, page, name, short):
    table = comparison_markdown(read_comparison(ROOT / "results" / results), short=short)
    text = (ROOT / page).read_text(encoding="utf-8")
    assert insert(text, table, name, PAGE) == text
