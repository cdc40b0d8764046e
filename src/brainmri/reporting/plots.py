"""How every figure begins and ends, and the figures of runs and audits, as PNG files (colours of Okabe and Ito)."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from PIL import ImageOps

from brainmri.data.duplicates.similarity import best_correlation, symmetry_components, whitened_descriptors
from brainmri.io.read import prepared_image, read_image
from brainmri.wording import DASH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike, NDArray

    from brainmri.data.dataset import PreparedData


def new_figure(width: float, height: float) -> Figure:
    """An empty page of width x height inches, whose parts make room for each other."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Figure, path: Path) -> Path:
    """Write the PNG file `path` (its folder is made if need be) and return the path."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    Path(path).parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure)
    figure.savefig(path, format="png", dpi=150, metadata={"Software": None})  # the same input gives the same bytes
    return Path(path)


def open_frame(axes: Axes) -> None:
    """Leave only the left and the lower edge of the frame."""
    axes.spines[["top", "right"]].set_visible(False)


def wrapped(label: str, width: int = 16) -> str:
    """A label broken into lines: at spaces, after underscores, and inside words that are longer than the width."""
    return fill(label.replace("_", "_ "), width).replace("_ ", "_")


BLUE, VERMILION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#767676"
SPLITS = {"train": BLUE, "validation": GREEN, "test": VERMILION}
ERRORS = 18  # shown, at most


def class_counts(counts: dict[str, dict[str, int]], path: Path, *, title: str = "Images per class and split") -> Path:
    """Bars with the number of images of each class in each split.

    Args:
        counts: number of images by split and label (`counts` of `dataset.json`).
        path: the PNG file to write.
        title: should name the data set.
    """
    table = pd.DataFrame(counts).reindex(columns=list(SPLITS), fill_value=0)
    table = table.loc[:, table.sum() > 0]
    thickness = 0.8 / table.shape[1]
    figure = new_figure(8, 1.4 + 0.32 * table.size)
    axes = figure.subplots()
    for number, split in enumerate(table.columns):
        places = np.arange(len(table)) - 0.4 + (number + 0.5) * thickness
        name = f"{split} ({table[split].sum():,})"
        bars = axes.barh(places, table[split], thickness * 0.94, color=SPLITS[split], label=name)
        axes.bar_label(bars, fmt="{:,.0f}", fontsize=10, padding=3)
    axes.set_yticks(range(len(table)), [wrapped(label) for label in table.index])
    axes.set_ylim(len(table) - 0.5, -0.5)
    axes.set_xlim(0, table.to_numpy().max() * 1.1)
    axes.set_xlabel("images")
    figure.suptitle(fill(title, 75))
    figure.legend(loc="outside lower center", ncols=table.shape[1], frameon=False)
    open_frame(axes)
    return save_figure(figure, path)


def sample_grid(data: PreparedData, path: Path) -> Path:
    """Ten training images with their labels in two rows: the classes in turn, a fixed choice, no image twice."""
    train = data.index[data.index["split"] == "train"].drop_duplicates("duplicate_id").sample(frac=1, random_state=0)
    turn = train.groupby("label").cumcount()
    chosen = train.assign(turn=turn).sort_values(["turn", "label"], kind="stable").head(10)
    figure = new_figure(11, 5.3)
    grid = figure.subplots(2, 5, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, row in zip(grid, chosen.itertuples(), strict=False):
        axes.imshow(prepared_image(data.root / str(row.file_name)).convert("RGB"))
        axes.set_title(wrapped(str(row.label), 20), fontsize=11)
    figure.suptitle(f"{data.info.name}: training images")
    return save_figure(figure, path)


def confident_errors(
    data: PreparedData, rows: NDArray[np.int64], probabilities: NDArray[np.float64], path: Path, *, title: str
) -> Path | None:
    """The images that were classified wrongly with the most confidence, one of a group, with what was said of them
    and their file names.

    Args:
        data: the prepared data.
        rows: (N,) positions in its index.
        probabilities: (N, C), of its classes.
        path: the PNG file to write.
        title: should name the data set, split and recipe.

    Returns:
        `path`, or None (nothing is written) where no image was classified wrongly.
    """
    table = data.index.iloc[rows].assign(
        said=[data.classes[k] for k in probabilities.argmax(1)], probability=probabilities.max(1)
    )
    wrong = table[table["said"] != table["label"]].sort_values("probability", ascending=False, kind="stable")
    shown = wrong.drop_duplicates("group_id").head(ERRORS)
    if shown.empty:
        return None
    columns = min(len(shown), 6)
    lines = -(-len(shown) // columns)
    figure = new_figure(1.9 * columns + 0.4, 2.8 * lines + 0.7)
    grid = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, row in zip(grid, shown.itertuples(), strict=False):
        axes.imshow(prepared_image(data.root / str(row.file_name)).convert("RGB"))
        axes.set_title(f"{wrapped(str(row.label), 16)}\nsaid: {row.said}, {row.probability:.2f}", fontsize=8)
        name = fill(PurePosixPath(str(row.file_name)).name, 24)
        axes.text(0.5, -0.03, name, transform=axes.transAxes, ha="center", va="top", fontsize=7)
    figure.suptitle(fill(f"{title}: {len(wrong)} of {len(table)} wrong", max(30, 13 * columns)), fontsize=11)
    return save_figure(figure, path)


def augmentation_grid(
    before: NDArray[np.uint8], after: NDArray[np.floating[Any]], labels: list[str], path: Path, *, title: str = ""
) -> Path:
    """The same training images without (top) and with (bottom) the recipe's augmentation.

    Args:
        before: (N, H, W, 3) 0..255.
        after: (N, H, W, 3) 0..255 as floats, before normalisation; at most the first 8 images are shown.
        labels: N label names.
        path: the PNG file to write.
        title: should name the data set and recipe.
    """
    n = min(len(before), 8)
    figure = new_figure(max(4.0, 1.7 * n + 0.5), 4.3)
    grid = figure.subplots(2, n, squeeze=False)
    for column in range(n):
        grid[0, column].imshow(before[column])
        grid[1, column].imshow(np.clip(np.rint(after[column]), 0, 255).astype(np.uint8))
        grid[0, column].set_title(wrapped(labels[column], 14), fontsize=10)
    for axes in grid.ravel():
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    grid[0, 0].set_ylabel("as stored")
    grid[1, 0].set_ylabel("augmented")
    figure.suptitle(fill(title or "Training images before and after augmentation", max(30, 11 * n)))
    return save_figure(figure, path)


def curves(history: pd.DataFrame, path: Path, *, best_epoch: int | None = None, title: str = "Training") -> Path:
    """Loss and accuracy over the epochs, for training and validation.

    Args:
        history: the table of `history.csv`; validation columns may be empty.
        path: the PNG file to write.
        best_epoch: the epoch that was kept, counted over all stages from 1 (marked by a line).
        title: should name the data set and recipe.
    """
    from matplotlib.ticker import MaxNLocator

    epoch = np.arange(1, len(history) + 1)
    stage_ends = np.flatnonzero(history["stage"].to_numpy()[1:] != history["stage"].to_numpy()[:-1]) + 1.5
    figure = new_figure(10, 4.2)
    panels = figure.subplots(1, 2)
    for axes, quantity, unit in zip(panels, ["loss", "accuracy"], ["loss (nats)", "accuracy (%)"], strict=True):
        scale = 100 if quantity == "accuracy" else 1
        for split, marker in [("train", "o"), ("validation", "s")]:
            values = pd.to_numeric(history[f"{split}_{quantity}"]) * scale
            if values.notna().any():
                size = 5 if len(history) <= 30 else 2
                axes.plot(epoch, values, color=SPLITS[split], marker=marker, markersize=size, label=split)
        for number, end in enumerate(stage_ends):
            axes.axvline(end, color=GREY, linestyle=":", label="next stage" if number == 0 else None)
        if best_epoch is not None:
            axes.axvline(best_epoch, color="black", linestyle="--", linewidth=1, label=f"kept (epoch {best_epoch})")
        axes.set_xlim(0.5, len(history) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set(xlabel="epoch", ylabel=unit)
        open_frame(axes)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False)
    figure.suptitle(fill(title, 90))
    return save_figure(figure, path)


def confusion_matrix(matrix: ArrayLike, classes: list[str], path: Path, *, title: str = "Confusion matrix") -> Path:
    """Counts and the share of each true class (row), as written and as shade.

    Args:
        matrix: (C, C) counts, rows true, columns predicted.
        classes: the C label names.
        path: the PNG file to write.
        title: should name the data set and split.
    """
    counts = np.asarray(matrix, dtype=np.int64)
    rows = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, rows, out=np.zeros(counts.shape), where=rows > 0)
    many = len(classes) > 5
    side = 2.2 + (0.85 if many else 1.15) * len(classes)
    figure = new_figure(side + 0.3, side)
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        text = f"{count:,}\n{100 * share[row, column]:.1f} %" if rows[row, 0] else DASH
        colour = "white" if share[row, column] > 0.5 else "black"
        axes.text(column, row, text, ha="center", va="center", fontsize=10 if many else 12, color=colour)
    names = [wrapped(label, 14) for label in classes]
    axes.set_xticks(range(len(classes)), names, rotation=90 if many else 0)
    axes.set_yticks(range(len(classes)), names)
    axes.set(xlabel="predicted", ylabel="true")
    figure.suptitle(fill(title, round(10 * side)))
    return save_figure(figure, path)


def reliability(
    labels: ArrayLike,
    probabilities: ArrayLike,
    temperature: float | None,
    path: Path,
    *,
    title: str = "Reliability of the confidence",
    calibrated: ArrayLike | None = None,
) -> Path:
    """Accuracy against confidence in 15 equal-mass bins, before and (if given) after temperature scaling.

    Args:
        labels: (N,) class numbers.
        probabilities: (N, C), uncalibrated.
        temperature: from `uncertainty.json`, or None.
        path: the PNG file to write.
        title: should name the data set and split.
        calibrated: (N, C) after scaling, where the temperature belongs to finer classes that were then added up.
    """
    from brainmri.metrics.classification import calibration_bins, expected_calibration_error
    from brainmri.metrics.probabilities import apply_temperature

    y, p = np.asarray(labels, dtype=np.int64), np.asarray(probabilities, dtype=np.float64)
    variants = [("as predicted", p, VERMILION, "o")]
    if temperature is not None:
        scaled = apply_temperature(p, temperature) if calibrated is None else np.asarray(calibrated, dtype=np.float64)
        variants.append((f"temperature {temperature:.2f}", scaled, BLUE, "s"))
    figure = new_figure(6.4, 6.6)
    axes, below = figure.subplots(2, 1, height_ratios=[3.2, 1], sharex=True)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="perfect")
    for name, values, colour, marker in variants:
        confidence, accuracy, _ = calibration_bins(y, values)
        label = f"{name}: calibration error {expected_calibration_error(y, values):.3f}"
        axes.plot(confidence, accuracy, color=colour, marker=marker, alpha=0.85, label=label)
        below.hist(values.max(axis=1), bins=np.linspace(0, 1, 41), histtype="step", color=colour, linewidth=1.5)
    lowest = 1 / p.shape[1]  # no image can have a lower confidence
    axes.set(ylabel="accuracy", ylim=(-0.03, 1.03), xlim=(max(0.0, lowest - 0.05), 1.02))
    axes.legend(frameon=False, loc="best")
    axes.set_title(fill(title, 60))
    below.set(xlabel="confidence (probability of the predicted class)", ylabel="images", yscale="log")
    below.set_ylim(bottom=0.7)  # one image is a visible bar
    for panel in (axes, below):
        open_frame(panel)
    return save_figure(figure, path)


SIDE = 224  # pixels of each image as drawn
PAIRS = 6


def pairs_figure(
    pairs: list[tuple[int, int]], table: pd.DataFrame, thumbnails: np.ndarray, path: Path, *, title: str
) -> Path:
    """Draw pairs of images with file names, labels, correlation and likeness of their structure.

    Args:
        pairs: rows of `table`, whose `path` holds the images.
        table, thumbnails: of `brainmri.audit.duplicates.Scan`.
        path: the PNG file to write.
        title: what the pairs have in common.
    """
    first, second = np.arange(0, 2 * len(pairs), 2), np.arange(1, 2 * len(pairs), 2)
    drawn = thumbnails[np.ravel(pairs)]
    correlations = best_correlation(symmetry_components(drawn), first, second)
    structures = best_correlation(whitened_descriptors(drawn), first, second)
    columns = 2
    rows = -(-len(pairs) // columns)
    figure = new_figure(9, 0.5 + 2.5 * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, pair, correlation, structure in zip(panels, pairs, correlations, structures, strict=False):
        images = [_image(table["path"].iloc[row]) for row in pair]
        axes.imshow(np.hstack(images), cmap="gray", vmin=0, vmax=255)
        names = "\n".join(f"{table['label'].iloc[row]}: {_short(table['file_name'].iloc[row])}" for row in pair)
        axes.set_title(f"{names}\ncorrelation {correlation:.3f}, structure {structure:.2f}", fontsize=8, loc="left")
    for axes in panels:
        axes.set_axis_off()
    figure.suptitle(title)
    return save_figure(figure, path)


def _image(path: str) -> np.ndarray:
    return np.asarray(ImageOps.pad(read_image(Path(path)).image.convert("L"), (SIDE, SIDE)))


def _short(name: str) -> str:
    return name if len(name) <= 56 else f"...{name[-53:]}"
