"""The usual command, in a process of its own: fine-tune a network, evaluate it once and save it, and nothing else.

    python -m benchmarks.usual_command DATA ARCH OUT

What Hugging Face's example of image classification does with a folder of images: `datasets` reads the files,
torchvision crops and mirrors them, the plain `Trainer` trains one epoch and evaluates on validation.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import numpy as np
from transformers import EvalPrediction, Trainer
from transformers.utils.logging import disable_progress_bar

from benchmarks.case import PLAIN, SEED
from benchmarks.reference import example_transform, stacked, transformed, usual_arguments
from brainmri.data.dataset import load_prepared, open_prepared
from brainmri.models.build import build_model
from brainmri.models.introspect import resolve
from brainmri.models.preprocessing import image_processor
from brainmri.training.arguments import stage_arguments


def main() -> None:
    data, arch, out = open_prepared(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    disable_progress_bar()
    recipe = resolve(arch, overrides=sys.argv[4:])
    model, _ = build_model(recipe, data.classes, "imagenet")
    ours = stage_arguments(recipe, recipe.stages[0], PLAIN, SEED, str(out))
    files = load_prepared(data.root)
    transform = partial(transformed, example_transform(recipe))
    trainer = Trainer(
        model=model,
        args=usual_arguments(ours, out, num_train_epochs=1, disable_tqdm=True, report_to="none"),
        train_dataset=files["train"].with_transform(transform),
        eval_dataset=files["validation"].with_transform(transform),
        data_collator=stacked,
        compute_metrics=_accuracy,
    )
    trainer.train()
    trainer.save_model()
    image_processor(recipe.input.size, recipe.input.normalize).save_pretrained(out)
    trainer.save_metrics("eval", trainer.evaluate())
    trainer.create_model_card()


def _accuracy(found: EvalPrediction) -> dict[str, float]:
    return {"accuracy": float(np.mean(np.argmax(found.predictions, axis=1) == found.label_ids))}


if __name__ == "__main__":
    main()
