"""Classification for programs and language models: named endpoints, which are MCP tools too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from brainmri.demo import response
from brainmri.demo.pages.classify import JUDGING
from brainmri.demo.pages.components import Files, Uploaded
from brainmri.io.limits import UploadError
from brainmri.io.open import open_many, open_upload

if TYPE_CHECKING:
    from brainmri.demo.model import DemoModel

PLANES = ["slice", "axial", "coronal", "sagittal"]


def build(models: Sequence[DemoModel]) -> None:
    """The endpoints /classify, /classify_many and /models, inside a `gr.Blocks`. Nothing of them is seen."""

    def classify(
        file: Uploaded | None,
        models_asked: list[str],
        plane: str | None = None,
        slice_number: int | None = -1,
        with_map: bool = False,
    ) -> list[dict[str, Any]]:
        """Classify one MRI slice (PNG, JPEG, TIFF, DICOM, NIfTI) by one or several models. Research only, no diagnosis.

        Args:
            file: The image, DICOM file or NIfTI volume.
            models_asked: Names of the demo's models, as the endpoint /models lists them.
            plane: axial, coronal or sagittal for a volume; none takes the first.
            slice_number: Which slice of a volume or of several pages, from 0; -1 takes the middle one.
            with_map: Whether the image under its evidence map comes too, as a data URI in `map`. Where there is none
                `map` is null and `no_map` says why.

        Returns:
            For each model: a plain sentence, the label, probabilities and whether they are calibrated, the set of
            plausible classes and its coverage, whether the image is refused as unlike those of the training, whether
            the type of a tumour is doubtful, the sequence and plane that the file says or the image looks like,
            whether training had few tumours of this kind, and the milliseconds taken.
        """
        try:
            if not file:
                raise UploadError("No file was given. Upload a slice.")
            upload = open_upload(file.path)
            plane = plane or upload.planes[0]
            image = upload.image(
                plane, upload.middle(plane) if slice_number is None or slice_number < 0 else int(slice_number)
            )
            asked = response.chosen(models, models_asked)
            judgements = response.judged(image, asked, (upload.sequence, plane))
        except UploadError as error:
            raise gr.Error(str(error), print_exception=False) from None
        found = [response.as_json(*pair) for pair in zip(asked, judgements, strict=True)]
        if with_map:
            small = response.shown(image)
            for model, one in zip(asked, found, strict=True):
                under = response.mapped(small, model, one["label"])
                if isinstance(under, str):
                    one |= {"map": None, "no_map": under}
                else:
                    one["map"] = response.data_uri(under)
        return found

    def classify_many(files: list[Uploaded] | None, models_asked: list[str]) -> list[dict[str, str]]:
        """Classify many slices, or a ZIP of them. Research only, no diagnosis.

        Args:
            files: Images, DICOM files, NIfTI volumes (their middle axial slice) or ZIP files of these.
            models_asked: Names of the demo's models, as the endpoint /models lists them.

        Returns:
            A row for each file and model; a file that cannot be used has a row that says why.
        """
        try:
            given = files or []
            images = open_many([one.path for one in given], names=[one.name for one in given])
            found = response.rows(images, response.chosen(models, models_asked))
            return [dict(zip(response.COLUMNS, row, strict=True)) for row in found]
        except UploadError as error:
            raise gr.Error(str(error), print_exception=False) from None

    def list_models() -> list[dict[str, Any]]:
        """The models of this demo: name, classes, and the data set that each was trained on."""
        return [
            {
                "name": model.name,
                "classes": list(model.classes),
                "data": model.result.data.name if model.result else None,
            }
            for model in models
        ]

    names = [model.name for model in models]
    with gr.Group(visible=False):
        file = Files(label="A slice, DICOM file or NIfTI volume")
        files = Files(label="Slices, or ZIP files of them", file_count="multiple")
        asked = gr.CheckboxGroup(names, value=names[:1], label="Models")
        plane = gr.Dropdown(PLANES, value=None, label="Plane of a volume; none: the first")
        number = gr.Number(value=-1, precision=0, label="Slice, from 0; -1: the middle one")
        with_map = gr.Checkbox(value=False, label="Whether the map of the evidence is wanted")
        result = gr.JSON(label="Answers")
        one, many, known = (gr.Button() for _ in range(3))
    one.click(classify, [file, asked, plane, number, with_map], result, api_name="classify", **JUDGING)
    many.click(classify_many, [files, asked], result, api_name="classify_many", **JUDGING)
    known.click(list_models, None, result, api_name="models", queue=False)
