"""Two functions of the public API that do what a command does; `brainmri/__init__.py` names all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from brainmri.data.dataset import PreparedData
    from brainmri.evaluation.evaluate import Evaluation
    from brainmri.evaluation.model import LoadedModel


def prepare(
    source: str | Path,
    out: str | Path,
    *,
    split: str = "grouped",
    layout: str | None = None,
    groups: str | Path | None = None,
    sites: str | Path | None = None,
    exclude: str | Path | None = None,
    outlines: str | Path | None = None,
    standardize: str | Sequence[str] | None = None,
    holdout: str | None = None,
    val: float = 0.1,
    test: float = 0.2,
    split_seed: int = 42,
    test_fold: int | None = None,
    name: str | None = None,
    origin: str | None = None,
    overwrite: bool = False,
    class_names: Sequence[str] | None = None,
    image_root: str | Path | None = None,
    plane: str | None = None,
    slices: str | None = None,
    series: str | None = None,
    labels: str | Path | None = None,
    label_level: int | None = None,
    patient_level: int | None = None,
    patient_pattern: str | None = None,
    masks: str | None = None,
    lesion_area: float | None = None,
    lesion_label: str | None = None,
    no_lesion_label: str | None = None,
    site: Literal["institution", "scanner", "none"] | None = None,
    id_key: str | Path | None = None,
    linkage: str | Path | None = None,
) -> PreparedData:
    """Check, group and split a folder of slices or scans into a data set; the same as `brainmri prepare_data`.

    Args:
        source: a folder, a ZIP file, or a CSV file with the columns file_name and label. It is never changed.
        out: the folder to make; it appears in one step, when it is complete.
        split: "grouped" (no group stands in two splits), "patients" (known folds of one public set), "source",
            "source_halved", "oversample_then_split" or "npz".
        layout: of the source, such as "kaggle-4class" or "imagefolder"; found out if None.
        groups: a CSV `file_name,group_id` of known patients. sites: a CSV `file_name,site`.
        exclude: a CSV `file_name`, with a `reason` where wanted, of images to leave out, each with the images of its
            label that are the same; or "reviewed": those of one public set whose label two readers contradict, or
            that are no MRI. The others keep their splits.
        outlines: a CSV `path,polygon` of where tumours are.
        standardize: steps for every image, "crop" and "levels".
        holdout: "site=NAME": all images of that site are in the test split.
        val, test: shares of the images. split_seed: of the split.
        test_fold: of the split "patients", the fold that tests (1..5); 1 if None.
        name, origin: of the data set, for cards.
        overwrite: replace `out` if it is a prepared data set.
        class_names: what the numbers 0, 1, ... in the labels of npz files mean.
        image_root: the folder that the file names of a CSV are relative to, or lie in; that of the CSV if None.
        plane: of the slices of DICOM series and NIfTI volumes: "acquired" (the default), "axial", "coronal" or
            "sagittal". This and all that follow are for the layouts "dicom" and "nifti" only.
        slices: "all" (the default), "every:N", "mask" or "largest-lesion".
        series: a pattern of the series to take, by description (DICOM) or file name (NIfTI), such as "*T1*".
        labels: a CSV `file_name,label` or `patient,label`; folders of classes if None.
        label_level, patient_level: which folder below `source` is the class (1 if None) and the patient (if None, the
            PatientID of DICOM files, and the folder below the class of NIfTI files).
        patient_pattern: a regular expression that finds the patient in a path.
        masks: lesion masks beside NIfTI volumes: "{stem}_Mask.nii.gz", or a pattern of names such as "*Mask*".
        lesion_area: mm² of lesion in a slice from which the mask labels it (50 if None).
        lesion_label, no_lesion_label: of slices with a lesion (that of the scan if None), and without any in a scan
            with a mask (left out if None).
        site: what of a DICOM header becomes the site ("institution" if None).
        id_key: a file with the secret by which patients are hashed; a new one, kept nowhere, if None.
        linkage: a CSV to write, outside of `out`, that tells which files and patient stand behind each hash.

    Returns:
        The data set: `root`, `index` (a table with a row for each image), `info` and `classes`.

    Raises:
        ValueError: if anything in the source or the settings cannot be used; `out` is untouched then.

    Example:
        >>> data = brainmri.prepare("kaggle/brain-tumor", "data/brain-tumor")
        >>> data.classes, len(data.index)
    """
    from brainmri.data.dataset import open_prepared
    from brainmri.data.prepare import prepare as prepare_folder
    from brainmri.data.scan_options import scan_options
    from brainmri.errors import writing

    scans = scan_options(
        plane=plane,
        slices=slices,
        series=series,
        labels=labels,
        label_level=label_level,
        patient_level=patient_level,
        patient_pattern=patient_pattern,
        masks=masks,
        lesion_area=lesion_area,
        lesion_label=lesion_label,
        no_lesion_label=no_lesion_label,
        site=site,
        id_key=id_key,
        linkage=linkage,
    )
    with writing(Path(out)):
        return open_prepared(
            prepare_folder(
                source,
                out,
                layout=layout,
                split=split,
                groups=groups,
                sites=sites,
                exclude=exclude,
                outlines=outlines,
                standardize=[standardize] if isinstance(standardize, str) else list(standardize or []),
                holdout=holdout,
                val=val,
                test=test,
                split_seed=split_seed,
                test_fold=test_fold,
                name=name,
                origin=origin,
                overwrite=overwrite,
                class_names=None if class_names is None else list(class_names),
                image_root=image_root,
                scans=scans,
            )
        )


def evaluate(
    model: LoadedModel | str | Path,
    data: PreparedData | str | Path,
    *,
    split: Literal["test", "validation", "train", "all"] | None = None,
    mapping: Mapping[str, str] | None = None,
    batch_size: int = 32,
    out: str | Path | None = None,
    overwrite: bool = False,
) -> Evaluation:
    """Score a model, or anybody's predictions, on a prepared data set; the same as `brainmri evaluate`.

    Args:
        model: what `load_model` gave, or what it takes; or a CSV of predictions (file_name, p_CLASS, ...).
        data: what `prepare` gave, or the folder of a prepared data set.
        split: what is scored. None: the test split of a run's own data and for predictions; all of other data.
        mapping: classes of the model that the data call otherwise, as {model class: data class}.
        batch_size: images in one forward pass.
        out: a folder for evaluation.json, predictions.csv, figures and evaluation.html; nothing is written if None.
        overwrite: replace what `out` holds of another model or data.

    Returns:
        The evaluation: `contents` (of evaluation.json: scores with intervals by group, calibration, warnings),
        `predictions` (a table), `labels` and `probabilities` (N, C), uncalibrated, and `calibrated` (N, C) or None.

    Raises:
        ValueError: if the model or the data cannot be used, no class matches, or `out` holds something else.

    Example:
        >>> found = brainmri.evaluate("runs/NAME", "data/brain-tumor")
        >>> found.contents.scores.accuracy, found.contents.scores.accuracy_ci95
    """
    from brainmri.data.dataset import PreparedData, open_prepared
    from brainmri.errors import writing
    from brainmri.evaluation.class_mapping import match_classes
    from brainmri.evaluation.evaluate import default_split, inputs_digest
    from brainmri.evaluation.evaluate import evaluate as evaluate_on
    from brainmri.evaluation.model import LoadedModel
    from brainmri.evaluation.scored import open_scored, scored
    from brainmri.files import output
    from brainmri.reporting.run_report import write_evaluation

    dataset = data if isinstance(data, PreparedData) else open_prepared(data)
    if isinstance(model, LoadedModel):
        subject = scored(model, batch_size=batch_size)
    else:
        subject = open_scored(str(model), batch_size=batch_size)
    part = split or default_split(subject, dataset)
    pairs = list((mapping or {}).items())
    match = match_classes(subject.classes, dataset.classes, pairs)
    command = f"brainmri.evaluate({subject.name!r}, {dataset.info.name!r}, split={part!r})"
    if out is None:
        return evaluate_on(subject, dataset, part, match, command=command)
    place = Path(out)
    inputs = inputs_digest(subject, dataset, part, pairs)
    with writing(place), output(place, "evaluate", inputs, part="evaluation", overwrite=overwrite) as new:
        evaluation = evaluate_on(subject, dataset, part, match, command=command)
        write_evaluation(evaluation, new)
    return evaluation
