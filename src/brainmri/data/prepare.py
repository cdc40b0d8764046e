"""A source in any layout -> a prepared folder: read, check, group, split, write."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path

import pandas as pd

from brainmri.data.checking import Checked, check_files, rejected_summary
from brainmri.data.class_names import contradictions, contradictory_sets
from brainmri.data.constants import SCANS
from brainmri.data.dataset import (
    OUTLINES,
    SPLITS,
    fingerprint,
    fingerprint_of_files,
    is_prepared,
    open_prepared,
    split_counts,
)
from brainmri.data.duplicates.grouping import SAME_GROUP, SAME_IMAGE, SAME_STRUCTURE, find_groups
from brainmri.data.duplicates.patients import group_patients
from brainmri.data.exclusions import excluded_images, exclusions
from brainmri.data.figshare_mat import mat_outlines
from brainmri.data.folder import (
    check_labels,
    check_output,
    counts_table,
    drawn_by,
    install,
    name_files,
    scan_notes,
    split_statement,
    workshop,
    write_images,
    write_tables,
)
from brainmri.data.layouts import left_out, read_layout, unwrapped
from brainmri.data.masks import beside, read_polygon_table
from brainmri.data.provenance import all_simulated, check_origin, known_revision
from brainmri.data.reviewed_labels import REVIEWED, reviewed_labels
from brainmri.data.scan_options import ScanOptions
from brainmri.data.scan_slices import draw_slices, settings_of
from brainmri.data.scan_sources import SourceFiles
from brainmri.data.scans import check_linkage, find_scans
from brainmri.data.source_checks import (
    check_classes,
    check_folders,
    check_places,
    check_settings_of,
    layout_of,
    site_of,
)
from brainmri.data.splits import FRACTIONS_USED, assign, check_scheme
from brainmri.data.standardize import check_steps, standardize_files
from brainmri.data.storage import cache_folder
from brainmri.data.tables import add_groups, add_sites, check_there, find_label_csv
from brainmri.data.unpacking import is_archive_of_images, unpacked
from brainmri.errors import writing
from brainmri.files import replace_text
from brainmri.io.limits import MAX_PIXELS, MIN_SIDE
from brainmri.schemas import DatasetInfo, PrepareSettings
from brainmri.wording import counted

PREPARE_VERSION = 6  # raise it when a source is read, grouped, split or named in another way: it is prepared anew then
SHOWN_REASONS = 8  # for which files were rejected
FEW_GROUPS = 10  # below that the share of a class in validation and test is coarse, and an interval over groups is wide


def prepare(
    source: Path | str,
    out: Path | str,
    *,
    layout: str | None = None,
    split: str = "grouped",
    groups: Path | str | None = None,
    sites: Path | str | None = None,
    exclude: Path | str | None = None,
    outlines: Path | str | None = None,
    standardize: list[str] | None = None,
    holdout: str | None = None,
    val: float = 0.1,
    test: float = 0.2,
    split_seed: int = 42,
    test_fold: int | None = None,
    name: str | None = None,
    origin: str | None = None,
    overwrite: bool = False,
    class_names: list[str] | None = None,
    image_root: Path | str | None = None,
    scans: ScanOptions | None = None,
) -> Path:
    """Write a prepared folder (see brainmri.data.dataset) and print a summary. The source is never changed.

    Args:
        source: a folder, a ZIP file, or a CSV file (layout `csv`). ZIP files are read where scans are in them; one of
            images is unpacked beside `out` for as long as it takes.
        out: the folder to make; it appears in one step, when it is complete.
        layout: one of brainmri.data.constants.LAYOUTS; found out from the source if None.
        split, val, test, split_seed: see brainmri.data.splits.assign.
        test_fold: of the split "patients", the fold that tests (1..5); 1 if None.
        groups: a CSV `file_name,group_id` of known groups (patients); file_name is a path relative to the source.
        sites: a CSV `file_name,site` of where the images come from.
        exclude: a CSV `file_name`, with a `reason` where wanted, of images to leave out, or "reviewed": the known list
            of `brainmri.data.reviewed_labels`. With each go the images of its label that are the same. The split is
            drawn before, so that all others stay where they would be. None: nothing is left out.
        outlines: a CSV `path,polygon` of where tumours are (see brainmri.data.masks); `SOURCE.outlines.csv` beside
            the source if None, where there is one.
        standardize: steps of brainmri.data.standardize, done to every image after grouping; none if None.
        holdout: `site=NAME`: all images of that site, and all groups that have one, are in test.
        name: of the data set; that of the source folder if None.
        origin: where the images come from, one of brainmri.data.provenance.ORIGINS; not recorded if None, unless the
            source is a prepared folder that has it on record.
        overwrite: replace `out` if it is a prepared folder (or an empty one).
        class_names: what the numbers 0, 1, ... of the layout `npz` mean.
        image_root: the folder that the paths of the layout `csv` are relative to, or lie in; that of the CSV if None.
        scans: how DICOM series and NIfTI volumes are read; the defaults of `ScanOptions` if None.

    Returns:
        The resolved `out`. The same source and settings give the same bytes in every file (of scans: the same images
        and splits, and with one key the same bytes).

    Raises:
        ValueError: if anything in the source or the settings cannot be used; `out` is untouched then.
    """
    asked = {name: value for name, value in locals().items() if name not in ("source", "out")}  # before any other name
    start = time.perf_counter()
    source, out = Path(source).resolve(), Path(out).resolve()
    check_output(out, overwrite)
    check_origin(origin)
    if layout not in SCANS and is_archive_of_images(source):
        with unpacked(source, out) as folder:
            return prepare(folder, out, **asked)
    given, source = source, unwrapped(source)
    layout = layout or layout_of(source, scans)
    image_folder = None if image_root is None else Path(image_root)
    check_settings_of(layout, class_names, image_folder)
    if scans is not None and layout not in SCANS:
        raise ValueError(f"{source} has the layout {layout}; only {' and '.join(SCANS)} take the settings of scans")
    options = scans or ScanOptions()
    check_linkage(options.linkage, source, out, overwrite)
    found = below = None
    if layout in SCANS:
        if exclude is not None:
            raise ValueError(f"--exclude: the layout {layout} takes whole scans: move those that are not wanted away")
        if outlines is not None:
            raise ValueError(f"--outlines: the layout {layout} takes outlines from lesion masks (--masks)")
        files = (None if file is None else Path(file) for file in (groups, sites))
        below = SourceFiles(source)
        found = find_scans(source, below, layout, options, *files)
        table = found.table()
    else:
        table = read_layout(source, layout, class_names=class_names or (), image_root=image_folder)
        if layout == "imagefolder":
            check_folders(source, table)
    root = (image_folder or (source.parent if source.is_file() else source)).resolve()
    check_places(source, root, out, table)
    if layout == "csv":
        check_there(source if source.is_file() else find_label_csv(source) or source, root, table["path"].tolist())
    if sites is not None and found is None:
        table = add_sites(table, Path(sites))
    held_out = None if holdout is None else site_of(holdout)
    check_steps(steps := standardize or [])
    if split != "patients" and test_fold is not None:
        raise ValueError(f"--test_fold is for the split patients, not for {split}: leave it out")
    if split == "patients" and groups is not None:
        raise ValueError("--groups: the split patients has its own groups: leave it out, or take --split grouped")
    tested = 1 if test_fold is None else test_fold
    check_scheme(table, split, val=val, test=test, seed=split_seed, holdout=held_out, test_fold=tested)
    check_labels({*table["label"], options.lesion_label or "", options.no_lesion_label or ""} - {""})
    if groups is not None and found is None:
        table = add_groups(table, Path(groups))
    reasons = {} if exclude is None else exclusions(table, exclude)
    drawn = known = None
    if found is None:
        drawn = read_polygon_table(Path(outlines) if outlines else beside(given) or beside(source), table["path"])
        if layout == "figshare-mat" and drawn is None:
            drawn = mat_outlines(root, table["path"].tolist())
        known = known_revision(table["path"])
        print(f"{given.name}: layout {layout}, {len(table)} files" + f", in {source.name}" * (source != given))
        notes = [*left_out(source, layout), *_notes(table, split, origin, exclude, known)]
    else:
        print(found.sentence(layout))
        notes = found.notes
    for sentence in notes:
        print(sentence)
    in_cache = out.is_relative_to(cache_folder().resolve())
    instead = "set BRAINMRI_CACHE" if in_cache else "choose another output folder"
    with writing(out.parent, _bytes_of(root, table), instead), workshop(out) as folder, below or nullcontext():
        (folder / "staged").mkdir()
        if found is None:
            checked, scan_settings = check_files(root, table, layout, folder / "staged"), None
        else:
            slices = draw_slices(found, options, folder / "staged")
            checked, drawn, scan_settings = slices.checked, slices.outlines, settings_of(options, found, slices)
        check_classes(checked, table)
        simulated, known_origin = _provenance(root, checked, origin)
        grouped = _with_groups(checked) if found is None else _with_patients(checked)
        try:
            result = assign(grouped, split, val=val, test=test, seed=split_seed, holdout=held_out, test_fold=tested)
        except ValueError as error:
            lost = rejected_summary(checked.rejected)
            raise ValueError(f"{error}. {lost}" if lost else str(error)) from error
        grouped = result if split == "patients" else grouped
        excluded = excluded_images(grouped, reasons)
        grouped, result = (part[~part["path"].isin(excluded["path"])] for part in (grouped, result))
        rejected = pd.concat([checked.rejected, excluded], ignore_index=True)
        if steps:
            result = standardize_files(result, steps, drawn)
        result = result.assign(file_name=name_files(result))
        settings = PrepareSettings(
            prepare_version=PREPARE_VERSION,
            groups_file=groups is not None,
            standardize=steps,
            excluded_images=len(excluded),
            images_with_given_group=int((grouped["group"] != "").sum()),
            same_picture_correlation=SAME_IMAGE,
            same_picture_structure=SAME_STRUCTURE,
            same_group_structure=SAME_GROUP,
            max_pixels=MAX_PIXELS,
            min_side=MIN_SIDE,
            scans=scan_settings,
        )
        across = int((result.groupby("group_id")["split"].nunique() > 1).sum())
        contradictory = _contradictory(grouped)
        info = DatasetInfo(
            name=name or _name(given, holdout, steps, len(excluded)),
            fingerprint=fingerprint(result),
            layout=layout,
            simulated=simulated,
            origin=known_origin,
            classes=sorted(set(grouped["label"])),
            split=split,
            split_seed=split_seed,
            test_fold=tested if split == "patients" else None,
            holdout=holdout,
            val=val if "val" in FRACTIONS_USED[split] else None,
            test=test if "test" in FRACTIONS_USED[split] else None,
            counts=split_counts(result),
            groups=grouped["group_id"].nunique(),
            largest_group=int(grouped["group_id"].value_counts().iloc[0]),
            distinct_images=grouped["duplicate_id"].nunique(),
            contradictory_images=contradictory,
            groups_across_splits=across,
            leaky=across > 0,
            rejected=len(checked.rejected),
            outlined=0 if drawn is None else int(grouped["path"].isin(drawn["path"]).sum()),
            known_as=known[1] if known else None,
            settings=settings,
        )
        write_images(folder / "new", result)
        write_tables(folder / "new", result, rejected, info)
        if drawn is not None:
            of_those = drawn[drawn["path"].isin(result["path"])]
            of_those.to_csv(folder / "new" / OUTLINES, index=False, lineterminator="\n")
        install(folder / "new", out, overwrite)
    if found is not None and options.linkage is not None:
        replace_text(options.linkage, found.linkage.to_csv(index=False, lineterminator="\n"))
        options.linkage.chmod(0o600)  # it names patients
    _print_summary(info, rejected, grouped)
    if split == "patients" and (copies := _copies_in_training(result)):
        tests = sum(info.counts["test"].values())
        print(
            f"Note: {copies} of {tests} test images look like copies of training images; the folds "
            "that come with the package keep them apart."
        )
    print(f"Wrote {out} in {time.perf_counter() - start:.1f} s.")
    return out


def _notes(
    table: pd.DataFrame, split: str, origin: str | None, exclude: Path | str | None, known: tuple[str, str] | None
) -> Iterator[str]:
    """What the user should know before the files are read."""
    own = table.loc[table["source_split"] != "", "source_split"].value_counts(sort=False)
    if len(own) and split in ("grouped", "patients", "oversample_then_split"):
        parts = ", ".join(f"{count:,} {name}" for name, count in own.items())
        yield f"Note: the source's own split ({parts}) is not used: --split source keeps its test part."
    if known and origin is None:
        yield f"Note: the files are called as those of {known[1]}. If they are: --origin {known[0]} records it."
    if known and exclude is None and (listed := int(table["path"].isin(reviewed_labels().index).sum())):
        told = f"{listed} of these files have a wrong label or are no MRI by two readers"
        yield f"Note: {told}: --exclude {REVIEWED} leaves them out."


def _bytes_of(root: Path, table: pd.DataFrame) -> int | None:
    """How large the files of `table` are together, which is about what is written; None for the rows of an array."""
    files = [root / path for path in table["path"]]
    return sum(file.stat().st_size for file in files if file.is_file()) or None


def _name(source: Path, holdout: str | None, steps: list[str], excluded: int) -> str:
    """That of the source; figures on what is left of it, or was made of it, are no figures on the source."""
    name = source.stem if source.is_file() else source.name
    changes = [f"{holdout} held out"] * (holdout is not None) + [f"standardized ({', '.join(steps)})"] * bool(steps)
    changes += [f"{counted(excluded, 'image')} left out"] * bool(excluded)
    return ", ".join([name, *changes])


def _provenance(root: Path, checked: Checked, origin: str | None) -> tuple[bool, str | None]:
    """`simulated` and `origin` of dataset.json: what is on record of the source, or was said of it; nothing is guessed.

    Raises:
        ValueError: if an origin is given for simulated images.
    """
    earlier = None
    if is_prepared(root):
        with suppress(ValueError):  # not whole any more: then it is a folder of images as any other
            earlier = open_prepared(root)
    if earlier is None:
        simulated = all_simulated(root, checked.usable["pixels"])
    else:
        own = set(checked.usable["path"]) <= set(earlier.index["file_name"])  # nothing was put in since, or changed
        own = own and fingerprint_of_files(root, earlier.index) == earlier.info.fingerprint
        simulated = own and earlier.info.simulated
        check_origin(origin := origin or (earlier.info.origin if own else None))
    if simulated and origin:
        raise ValueError(f"--origin {origin}: these images are simulated, by the record in {root}")
    return simulated, origin


def _with_groups(checked: Checked) -> pd.DataFrame:
    found = find_groups(
        checked.thumbnails,
        checked.usable["group"].tolist(),
        contents=checked.contents,
        names=checked.usable["path"].tolist(),
    )
    return checked.usable.assign(
        duplicate_id=[f"p{number:05d}" for number in found.image],
        group_id=[f"g{number:05d}" for number in found.group],
    )


def _with_patients(checked: Checked) -> pd.DataFrame:
    """Slices of scans: the group is the patient, and only equal pixels are the same image."""
    scans = checked.usable["path"].str.partition("#")[0]
    places = pd.factorize(checked.usable["pixels"])[0]
    given = checked.usable["group"].tolist()
    groups = group_patients(checked.thumbnails, given, scans.tolist())
    before, after = len(set(given)), len(set(groups))
    if after < before:
        print(f"Note: {before} patients are {after} groups, as half of the slices of a scan or more are another's too.")
    return checked.usable.assign(duplicate_id=[f"p{number:05d}" for number in places], group_id=groups)


def _copies_in_training(table: pd.DataFrame) -> int:
    """How many test images hold the image of a training file, as far as their likeness tells."""
    trained = table.loc[table["split"] == "train", "duplicate_id"]
    return int(table.loc[table["split"] == "test", "duplicate_id"].isin(trained).sum())


def _contradictory(grouped: pd.DataFrame) -> list[list[str]]:
    """The files of each image that stands under two labels, of which one must be wrong."""
    pairs = contradictions(grouped["label"].unique())
    doubtful = grouped[
        grouped["duplicate_id"].isin(contradictory_sets(grouped["duplicate_id"], grouped["label"], pairs))
    ]
    return [sorted(rows["path"]) for _, rows in doubtful.groupby("duplicate_id")]


def _print_summary(info: DatasetInfo, rejected: pd.DataFrame, grouped: pd.DataFrame) -> None:
    rows = counts_table(info.counts, info.classes)
    width = max(len(row[0]) for row in rows)
    print("\n".join([f"{row[0]:<{width}}" + "".join(f"{cell:>12}" for cell in row[1:]) for row in rows]))
    print(f"{info.distinct_images} distinct images in {info.groups} groups, of up to {info.largest_group} images.")
    held_out = f" All images with {info.holdout} are in test." if info.holdout else ""
    print(f"Split {info.split}, {drawn_by(info)}.{held_out} {split_statement(info)}")
    for split, label in ((split, label) for split in SPLITS for label in info.classes if not info.counts[split][label]):
        print(f"Note: no image of {label} in {split}.")
    sizes = grouped.groupby("label")["group_id"].nunique()
    for few, count in sizes[sizes < FEW_GROUPS].items():
        print(f"Note: {few} has only {count} groups, so that its shares in the splits are coarse.")
    if contradictory := info.contradictory_images:
        first = ", ".join(contradictory[0][:4])
        print(f"Note: {len(contradictory)} images occur under more than one label, the first: {first}.")
    if info.outlined:
        print(f"{info.outlined} images have outlines of their tumours.")
    for sentence in scan_notes(info.settings.scans):
        print(f"Note: {sentence}")
    print(
        f"{info.rejected} {'files' if info.settings.scans is None else 'files and slices'} rejected"
        + f", {counted(info.settings.excluded_images, 'image')} left out" * bool(info.settings.excluded_images)
        + (" (rejected.csv):" if len(rejected) else ".")
    )
    for reason, count in rejected["reason"].value_counts().head(SHOWN_REASONS).items():
        first = rejected.loc[rejected["reason"] == reason, "path"].iloc[0]
        print(f"  {first}" + f" and {count - 1:,} more" * (count > 1) + f": {reason}")
