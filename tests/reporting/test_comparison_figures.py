import re
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text
from PIL import Image

from brainmri.reporting.plots import BLUE, VERMILION
from brainmri.runs.compare import COLUMNS, write_comparison_figures

FLOORS = {"majority": 0.31, "nearest_neighbour": 0.823, "global_statistics": 0.82}
SPLIT = {"data": "kaggle", "split": "grouped", "leaky": False, "simulated": False, "fingerprint": "a" * 16}
SPLIT |= {"split_seed": 42, "fold": ""}


def table_of(systems, splits=(SPLIT,)):
    """A comparison table as `read_comparison` gives it; a system is what differs from a plain run."""
    plain = {
        "kind": "model",
        "source": "D",
        "protocol": "clean",
        "changes": "",
        "weights": "none that are known",
        "normalize": "unit",
    }
    plain |= {"epochs_scheduled": 10, "schedule_fraction": 1, "precision": "fp32", "seeds": 1, "hardware": "2 cores"}
    plain |= {"published_accuracy": 0.111, "ci_low": np.nan, "ci_high": np.nan}
    rows = [plain | split | system for split in splits for system in systems]
    rows += [
        {"kind": "floor", "recipe": floor, "accuracy": value, "precision": "", "hardware": ""} | split
        for split in splits
        for floor, value in FLOORS.items()
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


SYSTEMS = [
    {"recipe": "slow", "accuracy": 0.95, "ci_low": 0.91, "ci_high": 0.97, "minutes": 300.0, "parameters": 85_802_501},
    {"recipe": "twin", "accuracy": 0.949, "ci_low": 0.9, "ci_high": 0.98, "minutes": 290.0, "parameters": 85_802_501},
    {"recipe": "quick", "accuracy": 0.76, "ci_low": 0.7, "ci_high": 0.8, "minutes": 12.0, "parameters": 33_488},
    {"recipe": "cut", "accuracy": 0.8, "minutes": 5.0, "parameters": 176_260, "schedule_fraction": 0.02},
    {"recipe": "untimed", "accuracy": 0.81, "parameters": 200_000, "seeds": 3},
]


def bars_of(axes):
    """{label of the bar: (length, colour)}, from the top."""
    return dict(
        zip(
            [text.get_text() for text in axes.get_yticklabels()],
            [(bar.get_width(), to_hex(bar.get_facecolor())) for bar in axes.patches],
            strict=True,
        )
    )


def texts_of(axes):
    return [text.get_text() for text in axes.texts]


def nothing_is_cut_off_or_overlaps(figure, texts):
    figure.draw_without_rendering()  # places the annotations at the figure's own resolution again
    boxes = [Text.get_window_extent(text) for text in texts]  # an annotation's own extent has its leader in it
    for box in boxes:
        assert box.x0 >= 0 and box.x1 <= figure.bbox.width and box.y0 >= 0 and box.y1 <= figure.bbox.height
    for first, second in combinations(boxes, 2):
        assert not first.overlaps(second)


def test_bars_show_values_floors_and_the_best(tmp_path, drawn):
    written = write_comparison_figures(table_of(SYSTEMS), tmp_path / "figures")
    assert [path.name for path in written] == [
        "accuracy_and_minutes-kaggle-grouped.png",
        "accuracy_against_cost-kaggle-grouped.png",
    ]
    accuracy, minutes = drawn[0].axes
    bars = bars_of(accuracy)
    assert {name: round(length, 6) for name, (length, _) in bars.items()} == {
        "slow clean": 95,
        "twin clean": 94.9,
        "untimed clean (3 seeds)": 81,
        "cut clean, 2 % of the schedule": 80,
        "quick clean": 76,
    }
    assert [name for name, (_, colour) in bars.items() if colour == VERMILION.lower()] == ["slow clean"]
    assert texts_of(accuracy)[:5] == ["95.0", "94.9", "81.0", "80.0", "76.0"]
    assert texts_of(accuracy)[5:] == [
        *("most frequent class 31.0", "trees on 7 statistics 82.0", "nearest training image 82.3")
    ]
    assert texts_of(minutes) == ["300.0", "290.0", "not measured", "5.0", "12.0"]
    colours = [to_hex(bar.get_facecolor()) for bar in minutes.patches]
    assert colours.index(VERMILION.lower()) == 4  # "cut" stopped sooner, but did not finish
    assert set(colours) == {VERMILION.lower(), BLUE.lower()}
    nothing_is_cut_off_or_overlaps(drawn[0], accuracy.texts[5:])


@pytest.mark.integration
def test_points_stand_where_measured_and_their_names_apart(tmp_path, drawn):
    write_comparison_figures(table_of(SYSTEMS), tmp_path)
    time, parameters = drawn[1].axes
    assert sorted(time.collections[-1].get_offsets()[:, 0].tolist()) == [5, 12, 290, 300]  # one was not timed
    assert time.get_xscale() == parameters.get_xscale() == "log"
    assert sorted(texts_of(parameters)) == sorted(
        ["slow clean", "twin clean", "untimed clean (3 seeds)", "cut clean, 2 % of the schedule", "quick clean"]
    )
    for axes, n in ((time, 4), (parameters, 5)):
        assert len(axes.texts) == n
        nothing_is_cut_off_or_overlaps(drawn[1], axes.texts)
        for text in axes.texts:  # each leader ends at its own system's accuracy
            accuracy = next(s["accuracy"] for s in SYSTEMS if text.get_text().startswith(s["recipe"]))
            assert text.xy[1] == pytest.approx(100 * accuracy)
        assert any(np.allclose(line.get_ydata(), 82.3) for line in axes.lines)


@pytest.mark.parametrize("shortest", [0.1, 15.0])
def test_minutes_are_written_as_minutes(tmp_path, drawn, shortest):
    systems = [{**SYSTEMS[0], "minutes": 1500.0}, {**SYSTEMS[2], "minutes": shortest}]
    write_comparison_figures(table_of(systems), tmp_path)
    time, parameters = drawn[1].axes
    labels = [text.get_text() for text in time.get_xticklabels()]
    assert {"100", "1000"} <= set(labels)
    assert not any(re.search("[a-zµ]", label) for label in labels)  # 0.1 minutes would be "100m"
    assert any(label.endswith("M") for label in map(Text.get_text, parameters.get_xticklabels()))


@pytest.mark.integration
def test_twenty_five_equal_systems_stay_legible(tmp_path, drawn):
    systems = [{**SYSTEMS[0], "recipe": f"a_recipe_of_a_long_name_{k}", "minutes": 20.0 + k} for k in range(25)]
    write_comparison_figures(table_of(systems), tmp_path)
    nothing_is_cut_off_or_overlaps(drawn[0], drawn[0].axes[0].get_yticklabels())
    for axes in drawn[1].axes:
        nothing_is_cut_off_or_overlaps(drawn[1], axes.texts)
        assert axes.get_xscale() == "linear"
    assert max(drawn[0].get_size_inches()) < 16
    assert max(drawn[1].get_size_inches()) < 16


@pytest.mark.integration
def test_long_names_are_broken_and_stay_apart(tmp_path, drawn):
    changes = "hard_example_share=0.5, input.size=128, stages.0.sizes=[128], training_arguments.eval_delay=1"
    systems = [{**SYSTEMS[0], "changes": f"{changes}{k}", "minutes": 20.0 + k} for k in range(12)]
    write_comparison_figures(table_of(systems), tmp_path)
    for axes in drawn[1].axes:
        nothing_is_cut_off_or_overlaps(drawn[1], axes.texts)
        assert max(len(line) for text in axes.texts for line in text.get_text().split("\n")) <= 60
        assert axes.get_window_extent().width > 0.2 * drawn[1].bbox.width


@pytest.mark.integration
def test_times_of_two_machines_are_told_apart_and_no_one_is_the_fastest(tmp_path, drawn):
    systems = [SYSTEMS[0], {**SYSTEMS[2], "hardware": "a GPU", "precision": "bf16"}]
    write_comparison_figures(table_of(systems), tmp_path)
    colours = [to_hex(bar.get_facecolor()) for bar in drawn[0].axes[1].patches]
    assert len(set(colours)) == 2
    assert VERMILION.lower() not in colours
    for figure in drawn:
        assert [text.get_text() for text in figure.legends[0].get_texts()] == ["2 cores, fp32", "a GPU, bf16"]


@pytest.mark.integration
def test_every_test_set_has_its_own_files_and_says_what_it_is(tmp_path, drawn):
    splits = [
        SPLIT,
        SPLIT | {"fingerprint": "b" * 16},
        SPLIT | {"split": "source", "leaky": True},
        SPLIT | {"data": "oslo", "simulated": True},
    ]
    written = write_comparison_figures(table_of(SYSTEMS, splits), tmp_path)
    names = [path.name for path in written if path.name.startswith("accuracy_and")]
    assert names == [
        "accuracy_and_minutes-kaggle-grouped-fingerprint_aaaaaaaa-split_seed_42.png",
        "accuracy_and_minutes-kaggle-grouped-fingerprint_bbbbbbbb-split_seed_42.png",
        "accuracy_and_minutes-kaggle-source.png",
        "accuracy_and_minutes-oslo-grouped.png",
    ]
    titles = [figure.get_suptitle() for figure in drawn[::2]]
    assert ["leaky" in title for title in titles] == [False, False, True, False]
    assert ["simulated" in title for title in titles] == [False, False, False, True]


@pytest.mark.integration
def test_the_images_are_not_blank_and_the_same_each_time(tmp_path):
    one, two = (write_comparison_figures(table_of(SYSTEMS), tmp_path / name) for name in ("one", "two"))
    for first, second in zip(one, two, strict=True):
        assert first.read_bytes() == second.read_bytes()
        with Image.open(first) as image:
            pixels = np.asarray(image.convert("L"))
        assert 600 < pixels.shape[0] < 1600 and 1200 < pixels.shape[1] < 2400
        assert 0.005 < (pixels < 200).mean() < 0.6
