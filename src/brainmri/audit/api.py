"""`brainmri.audit(folder)`, the function of the public API."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from brainmri.audit.audit import audit as audit_data
from brainmri.audit.audit import inputs_digest
from brainmri.errors import writing
from brainmri.files import output
from brainmri.schemas import AuditReport


def audit(
    folder: str | Path,
    *,
    against: str | Path | None = None,
    calibrate: bool = False,
    out: str | Path | None = None,
    overwrite: bool = False,
) -> AuditReport:
    """Look for leaks and shortcuts in a data set; the same as `brainmri audit`.

    Args:
        folder: a data set in any known layout, prepared or not, or a CSV table. It is never changed.
        against: a second data set, whose images are looked for in the first: `matches.csv` in `out` names those that
            are the same or look alike, `clean.csv` the others.
        calibrate: also measure what the audit finds and joins wrongly (minutes).
        out: a folder for audit.json, audit.html, groups.csv and figures; nothing is written if None. With
            `against` matches.csv and clean.csv too.
        overwrite: replace what `out` holds of other data.

    Returns:
        What audit.json holds: images, classes and parts, and for each kind of repetition how many images share it
        with another one, and in which parts.

    Raises:
        ValueError: if a data set has no known layout or no usable image, or `out` holds something else.

    Example:
        >>> report = brainmri.audit("data/brain-tumor")
        >>> report.images, [(kind.kind, kind.images) for kind in report.kinds]
    """
    first, second = Path(folder), Path(against) if against is not None else None
    if out is None:
        with TemporaryDirectory(prefix="brainmri-audit-") as scratch:
            return audit_data(first, second, Path(scratch) / "audit", calibrate=calibrate)
    place = Path(out)
    inputs = inputs_digest(first, second, calibrate=calibrate)
    with writing(place), output(place, "audit", inputs, overwrite=overwrite) as new:
        return audit_data(first, second, new, calibrate=calibrate)
