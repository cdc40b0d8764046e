"""What the page and the API say of images: text and figures of a prediction, the image under its map, a table."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from brainmri.data.scan_options import spread
from brainmri.demo.response_text import details, doubts, scan_sentence, sentence
from brainmri.evaluation.run_warnings import cautions
from brainmri.io.decode import RejectedImage
from brainmri.io.limits import UploadError
from brainmri.io.open import Upload, is_archive
from brainmri.reporting.overlay import overlay

if TYPE_CHECKING:
    from brainmri.demo.model import DemoModel
    from brainmri.evaluation.inference import Prediction

MOST_POOLED = 256  # slices of one scan that the server looks at; of more, evenly spaced ones
SHOWN_SIDE = 640  # pixels of the longer side of an image on the page
COLUMNS = (
    *("file", "model", "answer", "probability", "plausible classes", "like the training images"),
    *("type of tumour", "sequence", "plane", "few such tumours in training"),
)
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would compute what starts so


def chosen(models: Sequence[DemoModel], names: Sequence[str] | None) -> list[DemoModel]:
    """The models of these names; without any, the first. A name that is none of theirs counts for nothing."""
    return [model for model in models if model.name in (names or ())] or [models[0]]


def judged(image: Image.Image, models: Sequence[DemoModel], told: tuple[str, str] = ("", "")) -> list[Prediction]:
    """A judgement of an image by each model. told: sequence and plane, as its file says them.

    Raises:
        UploadError: if the image is blank.
    """
    try:
        return [model.judge([image], told)[0] for model in models]
    except RejectedImage as error:
        raise UploadError(f"This slice cannot be judged: {error}. Choose another one.") from error


def whole(upload: Upload, models: Sequence[DemoModel]) -> list[str]:
    """A sentence of each model on all slices of a volume together; none for a single slice.

    Slices that cannot be drawn or judged are left out.
    """
    plane = upload.planes[0]
    count = upload.slices(plane)
    if count < 2:
        return []
    places = spread(count, -(-count // MOST_POOLED))
    told = []
    for model in models:
        found = []
        for index in places:  # one of them in memory at a time
            with suppress(UploadError, RejectedImage):
                found += model.judge([upload.image(plane, index)])
        if found:
            what = f"All {count:,} slices" if len(found) == count else f"{len(found):,} of {count:,} slices"
            told.append(scan_sentence(f"{model.name}: {what}" if len(models) > 1 else what, model.pooled(found)))
    return told


def as_json(model: DemoModel, judgement: Prediction) -> dict[str, Any]:
    """A judgement as the API gives it; shares are 0..1."""
    return {
        "model": model.name,
        "sentence": sentence(judgement),
        "cautions": cautions(model.result),
        "doubts": doubts(judgement, model),
        "label": judgement.label,
        "probabilities": judgement.probabilities,
        "calibrated": judgement.calibrated,
        "prediction_set": None if judgement.prediction_set is None else list(judgement.prediction_set),
        "coverage": judgement.coverage,
        "refused": judgement.out_of_distribution,
        "distance": judgement.ood_score,
        "distance_threshold": judgement.ood_threshold,
        "type_doubtful": judgement.type_doubtful,
        "sequence": judgement.look.sequence if judgement.look else None,
        "sequence_from": judgement.look.sequence_from if judgement.look else None,
        "view": judgement.look.plane if judgement.look else None,
        "view_from": judgement.look.plane_from if judgement.look else None,
        "few_seen": judgement.few_seen,
        "milliseconds": round(judgement.milliseconds, 2),
    }


def card(model: DemoModel, judgement: Prediction) -> dict[str, Any]:
    """What the page shows of a judgement."""
    ordered = sorted(judgement.probabilities.items(), key=lambda item: -item[1])
    headline, _, more = sentence(judgement).partition(". ")
    return {
        "model": model.name,
        "headline": headline,
        "more": more,
        "cautions": cautions(model.result),
        "doubts": doubts(judgement, model),
        "details": details(judgement, model).splitlines(),
        "refused": bool(judgement.out_of_distribution),
        "calibrated": judgement.calibrated,
        "probabilities": ordered,
        "plausible": judgement.prediction_set or (),
    }


def shown(image: Image.Image) -> Image.Image:
    """The image at the size in which the page shows it, "RGB"."""
    small = image.convert("RGB")
    small.thumbnail((SHOWN_SIDE, SHOWN_SIDE), Image.Resampling.LANCZOS)
    return small


def mapped(image: Image.Image, model: DemoModel, label: str) -> Image.Image | str:
    """`image` (see `shown`) under the map of the evidence for `label`, or why there is none."""
    try:
        return overlay(image, model.map(image, label), 1.0)
    except ValueError as error:
        return str(error)


def data_uri(image: Image.Image) -> str:
    """An image as text, so that no file of it is left on the server."""
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=90, method=2)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def rows(images: Iterable[tuple[str, Image.Image | UploadError]], models: Sequence[DemoModel]) -> Iterator[list[str]]:
    """A row of `COLUMNS` for each image and model, as text; one row, which says why, for a file that is of no use."""
    for name, image in images:
        if isinstance(image, UploadError):
            yield [name, "", str(image), *[""] * (len(COLUMNS) - 3)]
            continue
        try:
            judgements = judged(image, models)
        except UploadError as error:
            yield [name, "", str(error), *[""] * (len(COLUMNS) - 3)]
            continue
        for model, judgement in zip(models, judgements, strict=True):
            known = {None: "not known", True: "no", False: "yes"}[judgement.out_of_distribution]
            kind = {None: "–", True: "doubtful", False: "counts"}[judgement.type_doubtful]
            few = {None: "not known", True: "yes", False: "no"}[judgement.few_seen]
            look = judgement.look
            seen = [look.sequence, look.plane] if look else ["unknown", "unknown"]
            plausible = "–" if judgement.prediction_set is None else ", ".join(judgement.prediction_set) or "none"
            probability = f"{100 * judgement.probabilities[judgement.label]:.1f} %"
            yield [name, model.name, judgement.label, probability, plausible, known, kind, *seen, few]


def csv_uri(table: Sequence[Sequence[str]]) -> str:
    """The rows as a CSV file in a link; what a spreadsheet would take for a formula gets a ' in front."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    writer.writerows([f"'{cell}" if cell.startswith(FORMULA_STARTS) else cell for cell in row] for row in table)
    return "data:text/csv;charset=utf-8;base64," + base64.b64encode(buffer.getvalue().encode("utf-8")).decode("ascii")


def is_many(paths: Sequence[Path]) -> bool:
    """Whether the answer is a table: several files, or an archive."""
    return len(paths) > 1 or is_archive(paths[0])
