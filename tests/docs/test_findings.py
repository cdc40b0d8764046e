"""Every figure of docs/findings.md stands in the rows of the committed table that its sentence names."""

import re
from itertools import combinations
from pathlib import Path

import pandas as pd
import pytest

PAGE = Path(__file__).parents[2] / "docs" / "findings.md"
FIGURE = re.compile(r"\*\*([\d.]+)( %| points)?\*\*")
SENTENCES = re.findall(r"^- (.*?)(?=\n- |\n\n|\Z)", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def _rows(sentence: str) -> pd.DataFrame:
    """The rows that a sentence names: pairs of one key are alternatives, and all keys must hold."""
    (link, named), *more = re.findall(r"\(\[\w+\.csv\]\((\S+?)\): (.*?)\)(?=\s|\Z)", sentence, re.DOTALL)
    assert not more, "one table for each sentence"
    table = pd.read_csv(PAGE.parent / link, dtype=str, keep_default_na=False)
    wanted: dict[str, set[str]] = {}
    for key, value in re.findall(r"`(\w+)=(.*?)`", named):
        wanted.setdefault(key, set()).add(value)
    assert wanted
    for key, values in wanted.items():
        assert values <= set(table[key]), f"{link} has no row with {key} {values}"
        table = table[table[key].isin(values)]
    assert len(table)
    return table


def _rounded(cells: list[str], factor: int, decimals: int) -> set[str]:
    numbers = pd.to_numeric(pd.Series(cells), errors="coerce").dropna()
    return {f"{factor * number:.{decimals}f}" for number in numbers}


def test_there_are_findings_and_open_questions() -> None:
    assert len(SENTENCES) > 10
    assert sum(": –. " in sentence for sentence in SENTENCES) >= 1


@pytest.mark.parametrize("sentence", SENTENCES, ids=lambda sentence: " ".join(sentence.split()[:6]))
def test_each_figure_is_one_of_the_rows_that_are_named(sentence: str) -> None:
    if ": –. " in sentence:  # nothing measured: the reason, and no figure
        assert not FIGURE.search(sentence)
        return
    figures = FIGURE.findall(sentence)
    assert figures, "a finding has a figure, in bold"
    assert len(figures) == sentence.count("**") / 2
    cells = _rows(sentence).to_numpy().ravel().tolist()
    shares = [float(figure) for figure, unit in figures if unit == " %"]
    for figure, unit in figures:
        decimals = len(figure.partition(".")[2])
        if unit == " points":
            differences = [abs(a - b) for a, b in combinations(shares, 2)]
            assert min(abs(float(figure) - one) for one in differences) < 0.11, figure
        else:
            assert figure in _rounded(cells, 100 if unit else 1, decimals), figure


def test_a_figure_that_the_rows_lack_is_found_out() -> None:
    wrong = SENTENCES[0].replace("**95.9 %**", "**95.8 %**")
    with pytest.raises(AssertionError, match=r"95\.8"):
        test_each_figure_is_one_of_the_rows_that_are_named(wrong)
    with pytest.raises(AssertionError, match="no row with recipe"):
        test_each_figure_is_one_of_the_rows_that_are_named(SENTENCES[0].replace("nearest_neighbour", "nobody"))
