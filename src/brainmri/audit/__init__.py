"""Leaks and shortcuts of a data set, found before anything is trained: `brainmri.audit(folder)`.

This package can be called, as `brainmri.audit` names both it and the function of the public API: importing any of its
modules would put the package in the function's place.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from brainmri.schemas import AuditReport


class _Callable(ModuleType):
    def __call__(
        self,
        folder: str | Path,
        *,
        against: str | Path | None = None,
        calibrate: bool = False,
        out: str | Path | None = None,
        overwrite: bool = False,
    ) -> AuditReport:
        from brainmri.audit.api import audit

        return audit(folder, against=against, calibrate=calibrate, out=out, overwrite=overwrite)


sys.modules[__name__].__class__ = _Callable
