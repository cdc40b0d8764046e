import sys
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from brainmri.data.dataset import PreparedData
from brainmri.reporting import plots

from ..conftest import dataset_info

LONG = ["Tumor (Unspecified)", "a_class_with_a_very_long_name", "Meningioma"]


def nothing_is_cut_off(figure):
    """Every text lies inside the image and no two tick labels of an axis overlap."""
    renderer = figure.canvas.get_renderer()
    page = figure.bbox
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            boxes = [t.get_window_extent(renderer) for t in axis.get_ticklabels() if t.get_text() and t.get_visible()]
            boxes = [box for box in boxes if box.width and t_inside(box, axes, axis)]
            for box in boxes:
                assert box.x0 >= -1 and box.x1 <= page.width + 1 and box.y0 >= -1 and box.y1 <= page.height + 1
            for first, second in pairwise(boxes):
                assert not first.overlaps(second)
    if figure._suptitle:
        box = figure._suptitle.get_window_extent(renderer)
        assert box.x0 >= 0 and box.x1 <= page.width


def t_inside(box, axes, axis):
    """Tick labels outside of the axes' limits are not drawn."""
    frame = axes.get_window_extent()
    middle = (box.x0 + box.x1) / 2 if axis is axes.xaxis else (box.y0 + box.y1) / 2
    low, high = (frame.x0, frame.x1) if axis is axes.xaxis else (frame.y0, frame.y1)
    return low - 1 <= middle <= high + 1


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_class_counts_writes_the_number_of_every_class_and_split(tmp_path, drawn):
    counts = {"train": {"a": 0, "b": 1200}, "validation": {"a": 0, "b": 0}, "test": {"a": 7, "b": 300}}
    path = plots.class_counts(counts, tmp_path / "figures" / "counts.png", title="phantom")
    assert path.is_file()
    assert sorted(texts(drawn[0])) == sorted(["1,200", "300", "7", "0"])
    names = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert names == ["train (1,200)", "test (307)"]  # no bar for a split that is not there


@pytest.mark.integration
@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_long_names_and_many_classes_stay_legible(tmp_path, drawn, n):
    classes = [f"{LONG[k % 3]} {k}" for k in range(n)]
    plots.confusion_matrix(np.full((n, n), 1234), classes, tmp_path / "m.png", title="a long title " * 8)
    plots.class_counts(
        {split: dict.fromkeys(classes, 1) for split in ("train", "validation", "test")},
        tmp_path / "c.png",
        title="a long title " * 8,
    )
    for figure in drawn:
        nothing_is_cut_off(figure)
        assert max(figure.get_size_inches()) < 13


def test_confusion_matrix_shows_counts_and_row_shares(tmp_path, drawn):
    plots.confusion_matrix([[3, 1], [0, 0]], ["a", "b"], tmp_path / "m.png")
    assert texts(drawn[0]) == ["3\n75.0 %", "1\n25.0 %", "–", "–"]


def history(epochs, **columns):
    epoch = np.arange(1, epochs + 1)
    table = {"stage": 1, "epoch": epoch, "train_loss": 1 / epoch, "train_accuracy": 1 - 0.5 / epoch}
    return pd.DataFrame(table | {"validation_loss": np.nan, "validation_accuracy": np.nan} | columns)


def test_curves_of_one_epoch_without_validation(tmp_path, drawn):
    plots.curves(history(1), tmp_path / "c.png")
    loss, accuracy = drawn[0].axes
    assert [line.get_label() for line in loss.lines] == ["train"]
    assert accuracy.lines[0].get_ydata().tolist() == [50]


def test_curves_mark_the_kept_epoch_and_the_stages(tmp_path, drawn):
    table = history(6, stage=[1, 1, 2, 2, 2, 3], epoch=[1, 2, 1, 2, 3, 1], validation_loss=0.5, validation_accuracy=0.8)
    plots.curves(table, tmp_path / "c.png", best_epoch=5)
    for axes in drawn[0].axes:
        upright = {line.get_xdata()[0]: line.get_label() for line in axes.lines if len(set(line.get_xdata())) == 1}
        assert set(upright) == {2.5, 5.5, 5}
        assert upright[5] == "kept (epoch 5)"
        assert axes.lines[0].get_xdata().tolist() == [1, 2, 3, 4, 5, 6]  # counted over the stages


def test_reliability_shows_both_calibration_errors(tmp_path, drawn):
    labels = np.array([0] * 30 + [1] * 10)
    probabilities = np.tile([0.99, 0.01], (40, 1))
    plots.reliability(labels, probabilities, 4.0, tmp_path / "r.png")
    names = [text.get_text() for text in drawn[0].axes[0].get_legend().get_texts()]
    assert names[1] == "as predicted: calibration error 0.240"
    assert names[2].startswith("temperature 4.00: calibration error 0.009")
    plots.reliability(labels, probabilities, None, tmp_path / "r.png")
    assert len(drawn[1].axes[0].get_legend().get_texts()) == 2


@pytest.mark.integration
def test_grids(tmp_path, drawn):
    rows = []
    for number in range(12):
        label = "ab"[number % 2]
        Image.new("L", (20, 30), 10 * number).save(tmp_path / f"{number}.png")
        split, image = ("test", "t") if number == 11 else ("train", f"p{number // 4 * 4 if number < 8 else number}")
        rows.append({"file_name": f"{number}.png", "label": label, "split": split, "duplicate_id": image})
    data = PreparedData(tmp_path, pd.DataFrame(rows), dataset_info(name="phantom-1"), ["a", "b"])
    plots.sample_grid(data, tmp_path / "s.png")
    shown = [axes.get_title() for axes in drawn[0].axes if axes.images]
    assert len(shown) == 5  # p0, p4, p8, p9, p10: each image once, none of the test split
    assert len(drawn[0].axes) == 10
    assert "phantom-1" in drawn[0]._suptitle.get_text()

    before = np.full((3, 8, 8, 3), 100, dtype=np.uint8)
    plots.augmentation_grid(before, before * 2.9, ["a", "b", "a"], tmp_path / "a.png")
    after = drawn[1].axes[3].images[0].get_array()
    assert after.dtype == np.uint8
    assert after.max() == 255  # 290 is clipped, not wrapped


def test_same_input_same_bytes_and_no_pyplot(tmp_path):
    sys.modules.pop("matplotlib.pyplot", None)
    one, two = (plots.confusion_matrix(np.eye(2), ["a", "b"], tmp_path / name) for name in ("1.png", "2.png"))
    assert one.read_bytes() == two.read_bytes()
    assert "matplotlib.pyplot" not in sys.modules


@pytest.mark.integration
def test_the_most_confident_errors_stand_first_and_one_of_a_group(tmp_path, drawn):
    count = 6
    rng = np.random.default_rng(0)
    for k in range(count):
        Image.fromarray(rng.integers(0, 256, (12, 12), dtype=np.uint8)).save(tmp_path / f"{k}.png")
    index = pd.DataFrame({"file_name": [f"{k}.png" for k in range(count)], "label": ["a"] * 3 + ["b"] * 3})
    index["group_id"] = ["g0", "g1", "g1", "g2", "g3", "g4"]
    data = PreparedData(tmp_path, index, {"name": "phantom"}, ["a", "b"])
    first = np.array([0.1, 0.4, 0.2, 0.9, 0.3, 0.2])  # of class a: rows 0, 1, 2 and 3 are wrong
    probabilities = np.stack([first, 1 - first], axis=1)
    out = tmp_path / "errors.png"
    assert plots.confident_errors(data, np.arange(count), probabilities, out, title="x") == out
    assert drawn[0]._suptitle.get_text() == "x: 4 of 6 wrong"
    titles = [axes.get_title() for axes in drawn[0].axes if axes.get_title()]
    assert titles == ["a\nsaid: b, 0.90", "b\nsaid: a, 0.90", "a\nsaid: b, 0.80"]
    names = [text.get_text() for axes in drawn[0].axes for text in axes.texts]
    assert names == ["0.png", "3.png", "2.png"]  # each can be looked up
    right = plots.confident_errors(data, np.array([4, 5]), probabilities[4:], tmp_path / "none.png", title="x")
    assert right is None and not (tmp_path / "none.png").exists()
