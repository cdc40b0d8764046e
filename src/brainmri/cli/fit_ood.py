"""Give a finished run the OOD detector, or a new one, and write its uncertainty.json, report and card anew.

    python -m brainmri.cli.fit_ood RUN DATA

DATA is the prepared folder that the run was made on. Nothing is trained.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from brainmri.cli.command import call, log_to_terminal


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN", type=Path, help="a finished run folder")
    parser.add_argument("data", metavar="DATA", type=Path, help="the prepared data set that it was made on")
    arguments = parser.parse_args()

    from brainmri.data.dataset import open_prepared
    from brainmri.environment import keep_freed_memory, use_cpu_well
    from brainmri.evaluation.inference import read_predictions
    from brainmri.evaluation.kinds import training_kinds
    from brainmri.evaluation.ood.fit import fit_ood_detector
    from brainmri.models.load import load_classifier, load_processor
    from brainmri.runs.finalize import measure, scored_split, write_run
    from brainmri.schemas import EARLIER_ARRAYS, EARLIER_UNCERTAINTY, read_result

    log_to_terminal()
    run, data, result = arguments.run, open_prepared(arguments.data), read_result(arguments.run)
    if result.data.fingerprint != data.info.fingerprint:
        raise ValueError(
            f"{run} was made on data with the fingerprint {result.data.fingerprint}, and {arguments.data} has "
            f"{data.info.fingerprint}: give the folder that it was made on (folds and merged classes have none)"
        )
    keep_freed_memory()
    use_cpu_well()
    ood = fit_ood_detector(run, load_classifier(str(run)), load_processor(str(run)), data)
    splits = {
        split: scored_split(data, split, np.array(read_predictions(run / "predictions.csv", split, data.classes)[1]))
        for split in ("validation", "test")
    }
    measured = measure(splits, data.classes, ood, training_kinds(data, splits["test"].probabilities))
    parts = {key: getattr(measured.uncertainty, key) for key in ("calibration", "conformal", "ood", "pooling", "kinds")}
    write_run(run, result.model_copy(update=parts | {"patients": measured.patients}), measured.uncertainty)
    for earlier in (EARLIER_UNCERTAINTY, EARLIER_ARRAYS):  # which nothing reads any more
        (run / earlier).unlink(missing_ok=True)
    print(f"{run / 'uncertainty.json'}: {measured.uncertainty.ood_reason or 'written'}; {run / 'report.html'} shows it")


if __name__ == "__main__":
    call(main)
