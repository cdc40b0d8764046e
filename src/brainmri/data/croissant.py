"""`croissant.json`: a data set for machines, in Croissant 1.1 with the fields on responsible AI (RAI 1.0).

The format is MLCommons' (docs.mlcommons.org/croissant). A prepared folder describes its table and images, a published
data set its Parquet files; both say the same of where the images come from and what is wrong with them. No date stands
in it, so that the same data give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from brainmri.data.provenance import ORIGINS
from brainmri.files import sha256
from brainmri.schemas import DatasetInfo, json_text
from brainmri.wording import counted

CROISSANT = "croissant.json"
CONFORMS_TO = ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"]
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    **{name: {"@container": "@language"} for name in ("name", "description")},
    **{name: {"@id": f"cr:{name}", "@type": "@json"} for name in ("data", "examples")},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    **{
        name: f"cr:{name}"
        for name in (
            *("arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract", "field"),
            *("fileProperty", "fileObject", "fileSet", "format", "includes", "isArray", "isLiveDataset", "jsonPath"),
            *("key", "md5", "parentField", "path", "recordSet", "references", "regex", "repeated", "replace"),
            *("samplingRate", "separator", "source", "subField", "transform"),
        )
    },
}
FOLDER_COLUMNS = {  # of index.csv; its column `source` names files of whoever prepared the data, and stays out
    "file_name": "the image, a path relative to this file",
    "label": "the class",
    "split": "train, validation or test",
    "group_id": "the group that is never divided between splits: one patient, as far as is known",
    "duplicate_id": "equal for one image in several forms",
    "site": "hospital or source, where it was given",
}


def write_folder_croissant(folder: Path, info: DatasetInfo) -> None:
    """Write `croissant.json` into a prepared folder, whose other files lie there already."""
    images = [
        {
            "@type": "cr:FileSet",
            "@id": f"images-{suffix}",
            "name": f"images-{suffix}",
            "includes": f"*/*/*.{suffix}",
            "encodingFormat": kind,
        }
        for suffix, kind in (("png", "image/png"), ("jpg", "image/jpeg"))
        if any(folder.glob(f"*/*/*.{suffix}"))
    ]
    fields = [
        _field("slices", name, text, {"fileObject": {"@id": "index.csv"}, "extract": {"column": name}})
        for name, text in FOLDER_COLUMNS.items()
    ]
    slices = {"key": {"@id": "slices/file_name"}, "field": fields}
    content = {
        **_head(info),
        **({"license": licence} if (licence := _licence_of_origin(info)) else {}),
        **_citation(ORIGINS[info.origin].citations if info.origin in ORIGINS else ()),
        **responsible_ai(info),
        "distribution": [_file(folder / "index.csv", "index.csv", "text/csv"), *images],
        "recordSet": [_record_set("slices", "the images", **slices)],
    }
    _write(folder, content)


def write_published_croissant(
    folder: Path, info: DatasetInfo, repo_id: str, licence: str, citations: Iterable[str], columns: Mapping[str, str]
) -> None:
    """Write `croissant.json` into the tree of a published data set, whose shards lie there already.

    Args:
        repo_id: OWNER/NAME on the Hub. licence: an identifier, or the address of a text. columns: of the shards, and
            what they hold; `image` and `label` are among them.
    """
    shards = sorted((folder / "data").glob("*.parquet"))
    splits = [split for split, counts in info.counts.items() if sum(counts.values())]
    kind = "application/x-parquet"
    files = [_file(path, f"data/{path.name}", kind) for path in shards]
    every = {"@type": "cr:FileSet", "@id": "shards", "name": "shards", "includes": "data/*.parquet"}
    name_of_file = {"extract": {"fileProperty": "filename"}, "transform": {"regex": f"^({'|'.join(splits)})-"}}
    split = _field("slices", "split", "train, validation or test", {"fileSet": {"@id": "shards"}, **name_of_file})
    split["references"] = {"field": {"@id": "splits/name"}}
    fields = [split, *(_shard_field(name, text) for name, text in columns.items())]
    labels = [{"labels/number": number, "labels/name": name} for number, name in enumerate(info.classes)]
    content = {
        **_head(info),
        "url": f"https://huggingface.co/datasets/{repo_id}",
        "license": licence,
        **_citation(citations),
        **responsible_ai(info),
        "distribution": [*files, {**every, "encodingFormat": kind}],
        "recordSet": [
            _record_set(
                "labels",
                "the classes by their numbers",
                dataType="sc:Enumeration",
                key={"@id": "labels/number"},
                field=[_field("labels", "number", kind="sc:Integer"), _field("labels", "name")],
                data=labels,
            ),
            _record_set(
                "splits",
                "the splits",
                dataType="cr:Split",
                key={"@id": "splits/name"},
                field=[_field("splits", "name")],
                data=[{"splits/name": name} for name in splits],
            ),
            _record_set("slices", "the images", field=fields),
        ],
    }
    _write(folder, content)


def responsible_ai(info: DatasetInfo) -> dict[str, Any]:
    """The RAI fields, as far as the record of the preparation knows them; the rest they leave to the source."""
    simulated, settings = info.simulated, info.settings
    counts = "; ".join(
        f"{split}: " + ", ".join(f"{label} {number}" for label, number in labels.items())
        for split, labels in info.counts.items()
    )
    steps = [
        "Each file was decoded and checked, and written again as 8-bit grey or RGB pixels without any header.",
        f"The same image in any form has correlation {settings.same_picture_correlation} or more; images as alike as "
        f"neighbouring slices ({settings.same_group_structure} or more) and those of one known patient are one group.",
        f"Split “{info.split}” with split seed {info.split_seed}.",
        *(f"Standardised: {step}." for step in settings.standardize),
        *[f"{counted(settings.excluded_images, 'image')} left out by hand."] * bool(settings.excluded_images),
    ]
    if (scans := settings.scans) is not None:
        steps.append(f"Slices of {scans.scans} scans, plane “{scans.plane}”, choice “{scans.slices}”.")
    origin = "; ".join(ORIGINS[info.origin].citations) if info.origin in ORIGINS else ""
    unknown = "The record of the preparation does not say how the images were collected; ask their publisher."
    label = f"Each image has the label that its source gives it (layout {info.layout})."
    found = {
        "dataCollection": "The images were simulated from the MNI152 template of the head."
        if simulated
        else origin or unknown,
        "dataCollectionType": "Software Collection" if simulated else "Secondary Data Analysis",
        "dataCollectionRawData": f"A source of the layout {info.layout}"
        + (f", whose files are called as those of {info.known_as}." if info.known_as else "."),
        "dataCollectionMissingData": f"{info.rejected} files of the source could not be used and were left out.",
        "dataImputationProtocol": "Nothing is filled in.",
        "dataPreprocessingProtocol": steps,
        "dataAnnotationProtocol": "Each image has the label of the lesion that was simulated." if simulated else label,
        "annotationsPerItem": "1",
        "dataUseCases": [
            "Training, validating and testing classifiers of single brain MRI slices, for research.",
            "Not for diagnosis, and not to decide on treatment.",
        ],
        "dataBiases": [
            f"Images of each class: {counts}.",
            f"{info.distinct_images} distinct images in {info.groups} groups; the largest has {info.largest_group}.",
            "Classes can differ in source or scanner, so that a classifier learns these and not the disease.",
        ],
        "dataLimitations": [
            _leak(info),
            f"{len(info.contradictory_images)} images occur under more than one label.",
            "Single slices of unknown sequence, without the patient's history.",
        ],
        "dataSocialImpact": "A classifier that looks right on these images can fail on other patients and harm them.",
        "personalSensitiveInformation": "None: nobody is shown."
        if simulated
        else "MRI of heads, which is data on health. Headers were not taken over; a slice may show a face.",
        "dataReleaseMaintenancePlan": f"The fingerprint {info.fingerprint} changes with the data.",
    }
    return {f"rai:{name}": value for name, value in found.items()}


def _head(info: DatasetInfo) -> dict[str, Any]:
    version = f"{info.settings.prepare_version}.0.0+{info.fingerprint}"  # semantic: what prepared it, and the contents
    classes = ", ".join(info.classes)
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": info.name,
        "description": f"Brain MRI slices of {len(info.classes)} classes ({classes}), split “{info.split}”, "
        "prepared by brainmri.",
        "version": version,
        "keywords": ["MRI", "brain tumour", "image classification", *["simulated"] * info.simulated],
    }


def _citation(citations: Iterable[str]) -> dict[str, str]:
    text = "\n".join(citations)
    return {"citeAs": text} if text else {}


def _licence_of_origin(info: DatasetInfo) -> str | None:
    return ORIGINS[info.origin].licence if info.origin in ORIGINS else None


def _leak(info: DatasetInfo) -> str:
    if info.leaky:
        return f"Leaky: {info.groups_across_splits} of {info.groups} groups stand in more than one split."
    return "No group stands in more than one split; groups are patients only as far as these are known."


def _file(path: Path, place: str, kind: str) -> dict[str, str]:
    head = {"@type": "cr:FileObject", "@id": place, "name": place}
    return {**head, "contentUrl": place, "encodingFormat": kind, "sha256": sha256(path)}


def _record_set(name: str, description: str, **parts: Any) -> dict[str, Any]:
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "description": description, **parts}


def _field(
    record_set: str, name: str, description: str = "", source: dict[str, Any] | None = None, kind: Any = "sc:Text"
) -> dict[str, Any]:
    field = {"@type": "cr:Field", "@id": f"{record_set}/{name}", "name": name, "dataType": kind}
    return field | ({"description": description} if description else {}) | ({"source": source} if source else {})


def _shard_field(name: str, description: str) -> dict[str, Any]:
    source: dict[str, Any] = {"fileSet": {"@id": "shards"}, "extract": {"column": name}}
    if name == "image":
        return _field("slices", name, description, source | {"transform": {"jsonPath": "bytes"}}, "sc:ImageObject")
    if name == "label":
        field = _field("slices", name, description, source, ["sc:Integer", "cr:Label"])
        return field | {"references": {"field": {"@id": "labels/number"}}}
    return _field("slices", name, description, source)


def _write(folder: Path, content: dict[str, Any]) -> None:
    (folder / CROISSANT).write_text(json_text(content), encoding="utf-8", newline="\n")
