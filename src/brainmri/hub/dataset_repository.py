"""A prepared folder as a data-set repository: Parquet shards, the table of files, the audit and the card."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brainmri.audit.duplicates import repetitions, scan
from brainmri.audit.report import audit_text, summary
from brainmri.audit.shortcuts import shortcuts
from brainmri.data.croissant import write_published_croissant
from brainmri.data.dataset import SPLITS, PreparedData, fingerprint, open_prepared, without_sources
from brainmri.data.file_digests import file_digests
from brainmri.data.folder import counts_table, split_statement
from brainmri.data.pixel_cache import image_summaries
from brainmri.data.prepare import PREPARE_VERSION
from brainmri.evaluation.baselines import compute_baselines
from brainmri.hub.benchmark import write_benchmark
from brainmri.hub.checks import MARK, Publication, PublishError, check_licence
from brainmri.hub.leak_scan import without_paths
from brainmri.reporting.card_metadata import pretty_name
from brainmri.reporting.model_card import ICBM_LICENCE, ICBM_NOTICE, card_templates, citations
from brainmri.schemas import AuditReport, DatasetInfo, write
from brainmri.wording import BASELINES

if TYPE_CHECKING:
    from datasets import Dataset

SHARD_BYTES = 400 * 2**20  # of images in one Parquet file: what is lost when its upload breaks off
COLUMNS = {
    "image": "the image as it was checked, upright, 8 bits, grey or RGB",
    "label": "the class",
    "file_name": "its name in the prepared folder and in every `predictions.csv`",
    "group_id": "the group that is never divided between splits: one patient, as far as is known",
    "duplicate_id": "equal for one image in several forms",
    "site": "hospital or source, where it was given",
}
SIZES = (("n<1K", 1_000), ("1K<n<10K", 10_000), ("10K<n<100K", 100_000), ("100K<n<1M", 1_000_000))


def dataset_repository(
    root: Path,
    repo_id: str,
    folder: Path,
    licence: dict[str, str],
    *,
    source_citations: tuple[str, ...] = (),
    shard_bytes: int = SHARD_BYTES,
) -> Publication:
    """Write the tree of a data set's repository into the new folder `folder`.

    Args:
        root: a prepared folder.
        licence: of the images, as whoever publishes them states it: `license`, and `license_name` and `license_link`
            where that is "other". Without any, that of simulated images, which is known.
        source_citations: what to cite besides what is known of the data.
        shard_bytes: of images in one Parquet file.

    Raises:
        ValueError: if `root` is no prepared folder, or has no training or no test images.
        PublishError: if it was prepared by a version that left more than pixels in its files, or its files are not
            those that its fingerprint, a tag of the repository, was made of; or if the licence of the images is not
            known.
    """
    data = open_prepared(root)
    _check_files(data)
    if data.info.simulated and "license" not in licence:
        licence = ICBM_LICENCE
    check_licence(licence.get("license"), f"the data set {root.name}")
    (folder / "data").mkdir(parents=True)
    for split in SPLITS:
        _write_shards(data, split, folder / "data", shard_bytes)
    info = DatasetInfo.model_validate(without_paths(without_sources(data).as_json()))
    write(info, folder / "dataset.json")
    audit = _audit(data)
    write(AuditReport.model_validate(without_paths(audit.as_json())), folder / "audit.json")
    write_benchmark(folder, info, data.patient_unit())
    cited = (*source_citations, *citations(info))
    named = licence.get("license_link") or licence["license"]
    write_published_croissant(folder, info, repo_id, named, cited, COLUMNS)
    heading, *rows = counts_table(info.counts, info.classes)
    count = len(data.index)
    floors = compute_baselines(data, image_summaries(data))
    card = (
        card_templates()
        .get_template("dataset_card.md.jinja")
        .render(
            metadata=_metadata(data, licence, count),
            info=info,
            repo_id=repo_id,
            licence=licence,
            notice=ICBM_NOTICE if info.simulated else None,
            heading=heading,
            rows=rows,
            leak_statement=split_statement(info),
            columns=COLUMNS,
            audit=audit_text(audit),
            floors=[(name, getattr(floors, key)) for key, name in BASELINES.items()],
            citations=cited,
        )
    )
    (folder / "README.md").write_text(card, encoding="utf-8", newline="\n")
    return Publication(
        "dataset",
        repo_id,
        folder,
        f"{info.name} ({info.split} split)",
        tags=(info.fingerprint,),
        own_folders=("data",),
    )


def _check_files(data: PreparedData) -> None:
    if data.info.settings.prepare_version < PREPARE_VERSION:
        raise PublishError(
            f"{data.root} was prepared by an earlier version, which grouped images in another way, and whose files may "
            "hold and be named after more than the images (names of patients, say): prepare it again"
        )
    digests = file_digests(data.root, data.index["file_name"].tolist())
    if (found := fingerprint(data.index.assign(sha256=digests))) != data.info.fingerprint:
        raise PublishError(
            f"{data.root}: its files are not those that it was prepared with (fingerprint {found}, dataset.json says "
            f"{data.info.fingerprint}), so nothing of its record counts: prepare the images again"
        )


def _write_shards(data: PreparedData, split: str, folder: Path, shard_bytes: int) -> None:
    rows = data.rows(split)
    if not len(rows):
        return
    sizes = np.array([(data.root / name).stat().st_size for name in data.index["file_name"].iloc[rows]])
    shards = max(1, math.ceil(int(sizes.sum()) / shard_bytes))
    shard_of = np.minimum(np.cumsum(sizes) * shards // (int(sizes.sum()) + 1), shards - 1)
    for shard in range(shards):
        path = folder / f"{split}-{shard:05d}-of-{shards:05d}.parquet"
        _rows(data, rows[shard_of == shard]).to_parquet(path)


def _rows(data: PreparedData, rows: np.ndarray) -> Dataset:
    from datasets import ClassLabel, Dataset, Features, Image, Value

    table = data.index.iloc[rows]
    texts = [name for name in COLUMNS if name not in ("image", "label")]
    images = [
        {"bytes": (data.root / name).read_bytes(), "path": Path(name).name} for name in table["file_name"].tolist()
    ]
    columns = {"image": images, "label": table["label"].tolist()} | {name: table[name].tolist() for name in texts}
    features = {"image": Image(), "label": ClassLabel(names=data.classes)} | dict.fromkeys(texts, Value("string"))
    return Dataset.from_dict(columns, features=Features(features))


def _audit(data: PreparedData) -> AuditReport:
    with tempfile.TemporaryDirectory(prefix="brainmri-audit-") as scratch:
        scanned = scan(data.root, None, Path(scratch))
        table, _ = repetitions(scanned)
        found = summary(scanned, table, shortcuts(table), None)
    return found.model_copy(update={"name": data.info.name})


def _metadata(data: PreparedData, licence: dict[str, str], count: int) -> str:
    from huggingface_hub import DatasetCardData

    splits = [split for split in SPLITS if len(data.rows(split))]
    files = [{"split": split, "path": f"data/{split}-*.parquet"} for split in splits]
    stated: dict[str, Any] = dict(licence)
    return DatasetCardData(
        **stated,
        pretty_name=pretty_name(data.info),
        task_categories=["image-classification"],
        size_categories=[next((name for name, limit in SIZES if count < limit), "n>1M")],
        tags=[MARK, "medical", "mri", "brain-tumor", *["simulated"] * data.info.simulated],
        configs=[{"config_name": "default", "data_files": files}],
    ).to_yaml()
