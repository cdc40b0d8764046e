"""The folder of a run: who may write it, whether what stands there goes on, and what the terminal says in the end."""

from __future__ import annotations

import fnmatch
import glob
import logging
import os
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from brainmri.data.duplicates.sketches import FILES as SKETCHES
from brainmri.evaluation.run_warnings import warnings_of
from brainmri.files import FOLDER as FINISHING
from brainmri.files import WriterLock, is_finished, write_durably
from brainmri.reporting.run_report import FIGURES
from brainmri.runs.manifest import (
    FILE,
    SPLITS_FILE,
    data_differences,
    facts_of,
    free_differences,
    read_manifest,
    settings_differences,
    write_splits,
)
from brainmri.runs.manifest import SHOWN as SHOWN_DIFFERENCES
from brainmri.schemas import (
    EARLIER_ARRAYS,
    EARLIER_UNCERTAINTY,
    DataFacts,
    RunManifest,
    RunResult,
    RunSettings,
    read_result,
)
from brainmri.training.checkpoints import MANIFEST, NEWEST, ResumePoint, resume_point, saved_checkpoints, seal
from brainmri.training.processes import decided
from brainmri.wording import DASH, baseline_rows, duration, number, percent, with_interval

if TYPE_CHECKING:
    from accelerate import PartialState

    from brainmri.data.dataset import PreparedData

logger = logging.getLogger(__name__)
# What a run writes, below its folder or a fold's; nothing else is ever removed.
WRITTEN = [FILE, "result.json", "recipe.yaml", "history.csv", "predictions.csv", "uncertainty.json"]
WRITTEN += ["uncertainty.safetensors", EARLIER_UNCERTAINTY, EARLIER_ARRAYS, *SKETCHES.values()]
WRITTEN += ["report.html", "reporting.md", "README.md", "data.json"]
WRITTEN += ["config.json", "preprocessor_config.json", "model*.safetensors*"]
WRITTEN += ["modeling_*.py", "configuration_*.py", "*.json.tmp", *(f"figures/{name}.png" for name in FIGURES)]
WRITTEN += [f"checkpoints/{name}" for name in ("stage-[0-9]*", SPLITS_FILE)] + [f"{FINISHING}/*"]
BEFORE_BEGINNING = {f"checkpoints/{SPLITS_FILE}", f"{FILE}.tmp"}  # what a run that was killed as it began leaves
INSTEAD = "give another --output_dir"


def where_to_resume(asked: str | None, *, overwrite: bool, folds: bool) -> str | None:
    """What `--resume_from_checkpoint` asks for: a checkpoint's path, `NEWEST`, or None.

    Raises:
        ValueError: if another flag says otherwise.
    """
    if overwrite and asked:
        raise ValueError("--overwrite begins anew and --resume_from_checkpoint goes on: give one of them")
    if asked and asked.lower() in (NEWEST, "true", "last", "latest"):
        return NEWEST
    if asked and folds:
        raise ValueError(f"--folds goes on by itself, and with --resume_from_checkpoint {NEWEST}: a path is of one run")
    return asked


class RunFolder:
    """The right to write one run folder; a context manager, which every process of a run enters.

    In the order of the work: `look` at once, `data_agree` when the data are open, `begin` when everything else was
    checked, `seal` each checkpoint, `finish`. A run that `overwrite` replaces is moved aside by `begin`, comes back if
    the new one ends without a checkpoint, and is removed at its first one.

    asked: as `where_to_resume` gives it. parent: of a fold's folder, that of the whole cross-validation.
    """

    settings: RunSettings
    facts: DataFacts
    data: PreparedData

    def __init__(
        self,
        path: Path,
        state: PartialState,
        *,
        overwrite: bool = False,
        asked: str | None = None,
        parent: RunFolder | None = None,
    ) -> None:
        self.path, self.state, self.overwrite, self.parent = path, state, overwrite, parent
        self.asked = asked
        self.goes_on = self.begun = False
        self.earlier: RunManifest | None = None
        self.replaced: Path | None = None  # the main process alone knows it
        self.digest: str | None = None
        self.lock = WriterLock(path)

    def __enter__(self) -> RunFolder:
        decided(self.state, self.lock.take)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self.replaced:
                self._restore(self.replaced, "nothing came of the new run")
        finally:
            self.lock.release()

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    # ------------------------------------------------------------------ before any work
    def look(self, settings: RunSettings) -> None:
        """See whether a run with these settings may write the folder.

        Raises:
            ValueError: if it holds something else, or a run that differs in more than may differ.
        """
        self.settings = settings
        self.goes_on, self.earlier = decided(self.state, self._look)

    def _look(self) -> tuple[bool, RunManifest | None]:
        path = self.path
        other = None if self.asked in (None, NEWEST) else read_manifest(Path(str(self.asked)))
        if other and (found := settings_differences(other.settings, self.settings)):
            shown = "; ".join(found[:SHOWN_DIFFERENCES])
            raise ValueError(f"--resume_from_checkpoint {self.asked}: it is of another run: {shown}")
        if path.exists() and not path.is_dir():
            raise ValueError(f"{path} is a file: {INSTEAD}")
        if self.parent is None:
            self._recover()
        if not path.exists() or not _files(path) - BEFORE_BEGINNING:
            if self.asked == NEWEST:
                logger.info("Nothing to resume in %s: the run starts.", path)
            return False, None
        if self.overwrite:
            if not _is_run(path):
                raise ValueError(f"--overwrite: {path} does not look like a run folder, so it stays as it is")
            return False, None
        earlier = read_manifest(path)
        if earlier is None:
            what = "holds a run of an earlier version, which cannot go on" if _is_run(path) else "is not empty"
            raise ValueError(f"{path} {what}: {INSTEAD}" + ", or --overwrite" * _is_run(path))
        if not _has_work(path):
            logger.info("The run that was begun in %s left nothing to go on from: it starts anew.", path)
            return False, None
        if found := settings_differences(earlier.settings, self.settings):
            raise self._refusal(found, "give the old value to go on")
        return True, earlier

    def data_agree(self, data: PreparedData) -> None:
        """See that a run that goes on does so with its own data.

        Raises:
            ValueError: if they differ.
        """
        self.data = data
        decided(self.state, self._data_agree)

    def _data_agree(self) -> None:
        self.facts = facts_of(self.data)
        if not self.earlier:
            return
        if found := data_differences(self.earlier.data, self.facts, self.checkpoints / SPLITS_FILE, self.data):
            raise self._refusal(
                ["the data are not those of the run: " + "; ".join(found)], "give its own data to go on"
            )
        found = free_differences(self.earlier.settings, self.settings)
        if found and self.parent is None:
            logger.info("Otherwise than when the run began, as it may be: %s.", "; ".join(found))

    def finished(self) -> RunResult | None:
        """The result of the run where it came to its end before and is not asked to go on from a certain checkpoint."""
        if self.asked not in (None, NEWEST):
            return None
        return decided(self.state, self._finished)

    def _finished(self) -> RunResult | None:
        if not self.earlier or not is_finished(self.path):
            return None
        result = read_result(self.path)
        logger.info("%s is finished already, with these settings and data: nothing to do.", self.path)
        if not (self.settings.free["keep_checkpoints"] or self.earlier.settings.free["keep_checkpoints"]):
            _remove_written(self.path, "checkpoints/")  # of a run that was killed just there
        return result

    def fold(self, number: int, data: PreparedData) -> RunFolder:
        """The folder of a fold, looked at."""
        of_fold = RunFolder(self.path / f"fold{number}", self.state, asked=self.asked, parent=self)
        of_fold.settings = self.settings.model_copy(update={"fold": number})
        if self.goes_on or self.begun:
            of_fold.look(of_fold.settings)
        of_fold.data_agree(data)
        return of_fold

    # ------------------------------------------------------------------ the run
    def begin(self, weights: str) -> ResumePoint:
        """Write `run.json`, or find that it agrees; from here on the folder is this run's. Returns where it goes on.

        weights: where those at the start came from, with their hash.

        Raises:
            ValueError: if a run that goes on began with others.
        """
        if self.parent and not self.parent.begun:
            self.parent.begin(weights)
        self.begun = True
        start, self.digest = decided(self.state, lambda: self._begin(weights))
        return start

    def _begin(self, weights: str) -> tuple[ResumePoint, str]:
        if self.earlier:
            if self.earlier.weights != weights:
                before, now = self.earlier.weights, weights
                raise self._refusal([f"its weights at the start were {before} and are now {now}"], "give those")
            manifest = self.earlier
        else:
            if self.overwrite and self.path.exists():
                self._set_aside()
            _remove_written(self.path, "checkpoints/")  # without one that can be used (see _look)
            self.path.mkdir(parents=True, exist_ok=True)
            manifest = RunManifest(
                created=datetime.now(UTC).isoformat(timespec="seconds"),
                settings=self.settings,
                data=self.facts,
                weights=weights,
                replaces=self.replaced.name if self.replaced else None,
            )
            write_splits(self.data, self.checkpoints / SPLITS_FILE)
            write_durably(self.path / FILE, manifest.model_dump_json(indent=1) + "\n")
        digest = manifest.digest()
        if self.settings.folds is not None and self.settings.fold is None:
            return ResumePoint(), digest
        stages = len(self.settings.arguments)
        start = resume_point(self.checkpoints, stages, self.asked, digest)
        if self.goes_on:
            logger.info("The run in %s goes on %s.", self.path, _where(start, stages))
        for note in start.notes:
            logger.warning("%s.", note)
        if self.asked in (None, NEWEST):
            _remove_unusable(start)
        return start, digest

    def seal(self, folder: Path) -> None:
        """Write the manifest of a finished checkpoint, which carries `run.json` too.

        What the run replaced is not needed any more then.
        """
        checkpoint = folder.name.startswith("checkpoint-")
        if checkpoint:
            shutil.copy(self.path / FILE, folder)
        seal(folder, self.digest)
        if checkpoint:
            self._settle()

    def finish(self, *, keep_checkpoints: bool) -> None:
        """After the last file of the run; the main process calls it."""
        self._settle()
        if not keep_checkpoints:
            _remove_written(self.path, "checkpoints/")

    # ------------------------------------------------------------------ what was there before
    def _set_aside(self) -> None:
        stamp = datetime.now().strftime("%Y%m%dT%H%M%S")
        aside = self.path.with_name(f"{self.path.name}.replaced-{stamp}")
        self.path.rename(aside)
        self.replaced = aside

    def _settle(self) -> None:
        """Remove the run that was replaced, now that something can take its place."""
        if self.parent:
            self.parent._settle()
        if self.replaced:
            _remove_run(self.replaced)
            self.replaced = None

    def _restore(self, aside: Path, reason: str) -> None:
        if self.path.exists():
            _remove_run(self.path)
        if self.path.exists():
            raise ValueError(f"{self.path} holds files that no run wrote; the run that was there before is {aside}")
        aside.rename(self.path)
        self.replaced = None
        logger.warning("%s is again the run that was there before: %s.", self.path, reason)

    def _recover(self) -> None:
        """Finish what a killed run with `--overwrite` left half done."""
        pattern = f"{glob.escape(self.path.name)}.replaced-*"
        for aside in sorted(self.path.parent.glob(pattern), reverse=True):
            if not _files(self.path) - BEFORE_BEGINNING:
                if _is_run(aside):
                    self._restore(aside, "it had been moved aside")
                continue
            new = read_manifest(self.path)
            if new is None or new.replaces != aside.name:
                continue
            if _has_checkpoint(self.path) or is_finished(self.path):
                _remove_run(aside)
            elif self.overwrite or settings_differences(new.settings, self.settings):
                self._restore(aside, "nothing had come of the run that replaced it")
            else:
                self.replaced = aside

    def _refusal(self, differences: list[str], advice: str) -> ValueError:
        shown = "; ".join(differences[:SHOWN_DIFFERENCES])
        more = len(differences) - SHOWN_DIFFERENCES
        return ValueError(
            f"{self.path} is not empty and holds another run: {shown}"
            + f"; and {more} more" * (more > 0)
            + f" ({advice}, another --output_dir to keep both, or --overwrite to replace it)"
        )


def _where(start: ResumePoint, stages: int) -> str:
    if start.stage > stages:
        return "after its training"
    stage = f"stage {start.stage} of {stages}, " * (stages > 1)
    return f"at {stage}{start.checkpoint.name}" if start.checkpoint else f"at {stage}the beginning"


def _is_run(folder: Path) -> bool:
    """Whether a run of this program made the folder: its `run.json`, or what an earlier version's finished run left."""
    try:
        if read_manifest(folder):
            return True
        return (folder / "recipe.yaml").is_file() and bool(read_result(folder))
    except (ValueError, OSError, AttributeError):
        return False


def _has_checkpoint(folder: Path) -> bool:
    return any(folder.glob(f"**/checkpoints/stage-*/checkpoint-*/{MANIFEST}"))


def _has_work(folder: Path) -> bool:
    """Whether a begun run made anything that a later one can use, in its folder or a fold's."""
    return any(folder.glob(f"**/checkpoints/stage-*/**/{MANIFEST}")) or any(folder.rglob("result.json"))


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def _remove_unusable(start: ResumePoint) -> None:
    """Remove the checkpoints after the one that a run goes on from: they were passed over, and are made again."""
    if start.finished_in is None:
        return
    found = saved_checkpoints(start.finished_in / f"stage-{start.stage}")
    for path in found[found.index(start.checkpoint) + 1 if start.checkpoint else 0 :]:
        shutil.rmtree(path)


def _remove_run(folder: Path) -> None:
    """Remove what a run wrote; files that it did not write stay where they are, and the log names them."""
    if not folder.is_dir():  # removed by hand meanwhile
        return
    _remove_written(folder)
    if not any(folder.iterdir()):
        folder.rmdir()
        return
    kept = sorted(_files(folder))
    logger.warning("Kept in %s, as no run wrote it: %s", folder, ", ".join(kept[:5]) + ", ..." * (len(kept) > 5))


def _remove_written(folder: Path, below: str = "") -> None:
    """Remove what a run wrote, with the folders that are empty then. below: only where names begin so."""
    for inner, _, files in os.walk(folder / below, topdown=False):
        for name in files:
            path = Path(inner, name)
            relative = re.sub(r"^fold\d+/", "", path.relative_to(folder).as_posix())
            patterns = [pattern for pattern in WRITTEN if ("/" in pattern) == ("/" in relative)]
            if any(fnmatch.fnmatchcase(relative, pattern) for pattern in patterns):
                path.unlink()
        if Path(inner) != folder and not any(Path(inner).iterdir()):
            Path(inner).rmdir()


def summary(result: RunResult, run_dir: Path) -> str:
    """Test accuracy with its interval, the baselines, each site left out, the time and every warning."""
    test = result.test
    accuracy = with_interval(test.accuracy, test.accuracy_ci95) if test else DASH
    lines = [f"\nTest accuracy {accuracy} (95 % interval, resampled by group)"]
    lines += [f"  baseline: {name:45s} {percent(accuracy)}" for name, accuracy in baseline_rows(result)]
    for site, one in (result.sites or {}).items():
        lines.append(f"  without {site:46s} {with_interval(one.accuracy, one.accuracy_ci95)} of its {one.n:,} images")
    training = result.training
    speed = f"{number(training.images_per_second, 0)} images/s, {training.precision}"
    lines.append(f"Time to converge {duration(training.time_to_converge_s)}, {speed}")
    lines += [f"{headline}: {sentence}" for headline, sentence in warnings_of(result)]
    return "\n".join([*lines, f"Everything is in {run_dir}: open {run_dir / 'report.html'}"])
