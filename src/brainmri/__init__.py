"""brainmri: train, compare and publish classifiers of brain-tumour MRI slices, and say how far to trust them.

    import brainmri

    brainmri.prepare("kaggle/brain-tumor", "data/brain-tumor")       # checked, grouped, split
    brainmri.audit("data/brain-tumor")                               # leaks and shortcuts
    model = brainmri.load_model("runs/NAME")                         # or "OWNER/NAME" on the Hub
    model.predict("slice.png")
    model.predict_scan("series_folder/")
    brainmri.evaluate(model, "data/brain-tumor")

Training is a command: `brainmri train --help`. Research software, not a medical device.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from brainmri.api import evaluate, prepare
    from brainmri.audit.api import audit
    from brainmri.data.dataset import PreparedData as Dataset
    from brainmri.evaluation.evaluate import Evaluation
    from brainmri.evaluation.inference import Prediction
    from brainmri.evaluation.load import load_model
    from brainmri.evaluation.model import LoadedModel
    from brainmri.evaluation.pooling import PatientPrediction
    from brainmri.io.inputs import read_scan
    from brainmri.io.scan import Scan
    from brainmri.schemas import AuditReport

__version__ = "0.1.0"
__all__ = [
    "AuditReport",
    "Dataset",
    "Evaluation",
    "LoadedModel",
    "PatientPrediction",
    "Prediction",
    "Scan",
    "audit",
    "evaluate",
    "load_model",
    "prepare",
    "read_scan",
]
# Where each name stands; it is imported when it is first asked for, so that `import brainmri` takes no time.
_HOMES = {
    "AuditReport": "brainmri.schemas:AuditReport",
    "Dataset": "brainmri.data.dataset:PreparedData",
    "Evaluation": "brainmri.evaluation.evaluate:Evaluation",
    "LoadedModel": "brainmri.evaluation.model:LoadedModel",
    "PatientPrediction": "brainmri.evaluation.pooling:PatientPrediction",
    "Prediction": "brainmri.evaluation.inference:Prediction",
    "Scan": "brainmri.io.scan:Scan",
    "audit": "brainmri.audit:",  # the room, which can be called; importing it sets this very name
    "evaluate": "brainmri.api:evaluate",
    "load_model": "brainmri.evaluation.load:load_model",
    "prepare": "brainmri.api:prepare",
    "read_scan": "brainmri.io.inputs:read_scan",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, inner = _HOMES[name].partition(":")
    home = import_module(module)
    found = getattr(home, inner) if inner else home
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
