"""A frozen backbone runs once over the data; what follows it trains on the features that it gave.

Each image has a fixed number of augmented views instead of a new one in every epoch, so that an epoch costs what the
trained part costs. The frozen part is in inference mode throughout (dropout inside it is off).
"""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from accelerate import PartialState
from torch import nn
from torch.utils.data import Dataset
from tqdm.auto import tqdm
from transformers.modeling_outputs import ImageClassifierOutputWithNoAttention

from brainmri.data.storage import allocated_memmap
from brainmri.errors import writing
from brainmri.models.layers import bare_network
from brainmri.training.batches import SliceBatches
from brainmri.training.checkpoints import Seal, fault
from brainmri.training.processes import decided

if TYPE_CHECKING:
    from accelerate import Accelerator
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)
BATCH = 32


class AfterFrozen(nn.Module):
    """The rest of `model` from the first of its parts that trains, with the same parameters.

    model: its last parts, from the first one with a trainable parameter on, must follow each other in a chain
    (`check` tells).
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.config = model.config
        parts = list(bare_network(model).children())
        first = next(k for k, part in enumerate(parts) if any(p.requires_grad for p in part.parameters()))
        self.parts = nn.Sequential(*parts[first:])

    def forward(
        self, features: torch.Tensor, labels: torch.Tensor | None = None
    ) -> ImageClassifierOutputWithNoAttention:
        """features: (B, ...), the input of the first part. Returns logits (B, num_labels)."""
        return ImageClassifierOutputWithNoAttention(logits=self.parts(features))

    @torch.no_grad()
    def features(self, model: PreTrainedModel, pixel_values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What `model` hands to the first part, and its logits, for normalised images (B, 3, H, W)."""
        seen: list[torch.Tensor] = []
        hook = self.parts[0].register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
        try:
            logits = model(pixel_values=pixel_values).logits
        finally:
            hook.remove()
        return seen[0], logits

    @torch.no_grad()
    def check(self, model: PreTrainedModel, pixel_values: torch.Tensor) -> torch.Tensor:
        """The features of `pixel_values`; `model` is in inference mode from here on.

        Raises:
            ValueError: unless the parts, one after the other, give the logits of `model`.
        """
        model.eval()
        features, expected = self.features(model, pixel_values)
        refusal = ValueError(
            "cached_views: what trains in this network is not a chain behind what is frozen; "
            "--recipe stages.N.cached_views=null trains it on images"
        )
        try:
            logits = self(features).logits
        except (RuntimeError, NotImplementedError) as error:  # shapes that do not fit, or a container that is none
            raise refusal from error
        if logits.shape != expected.shape or not torch.allclose(logits, expected, rtol=1e-3, atol=1e-4):
            raise refusal
        return features


class FeatureBatches(Dataset[dict[str, torch.Tensor]]):
    """Features in place of images.

    views: (k, M, ...) of M images. places: for each sample its image, 0..M-1, repeated where oversampled. labels:
    of each sample. In epoch e a sample shows view (e + c) mod k, where c counts the copies of its image before it.
    """

    def __init__(self, views: np.ndarray, places: np.ndarray, labels: np.ndarray, training: bool) -> None:
        self.views, self.places, self.labels, self.training = views, places, labels, training
        order = np.argsort(places, kind="stable")
        starts = np.searchsorted(places[order], places[order])
        self.copies = np.empty_like(places)
        self.copies[order] = np.arange(len(places)) - starts
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        self.view = (epoch + self.copies) % len(self.views)

    def __len__(self) -> int:
        return len(self.places)

    def __getitems__(self, positions: Sequence[int]) -> dict[str, torch.Tensor]:
        """`features` float32 (B, ...), `labels` int64 (B,); in training also `positions`."""
        chosen = np.asarray(positions)
        features = self.views[self.view[chosen], self.places[chosen]].astype(np.float32)
        batch = {"features": torch.from_numpy(features), "labels": torch.from_numpy(self.labels[chosen])}
        return batch | ({"positions": torch.from_numpy(chosen)} if self.training else {})

    def __getitem__(self, position: int) -> dict[str, torch.Tensor]:
        return {name: value[0] for name, value in self.__getitems__([position]).items()}


@dataclass(frozen=True)
class Frozen:
    """A network whose first part is frozen, and how it is given images.

    Attributes:
        whole: the network. after: what follows its frozen part.
        prepare: makes the input of the network, (B, 3, H, W), of a batch of `SliceBatches`.
        seal: writes the manifest of a folder whose files are all there.
    """

    whole: PreTrainedModel
    after: AfterFrozen
    prepare: Callable[[dict[str, torch.Tensor]], torch.Tensor]
    accelerator: Accelerator
    seal: Seal


def feature_batches(frozen: Frozen, images: SliceBatches, views: int, folder: Path) -> FeatureBatches:
    """Run the frozen part of the network over `views` views of each image, into a file in `folder`.

    Vectors are kept in float32; maps, which are a hundred times larger, in float16. Processes share the work. A resume
    reads the file again, if every byte is as it was written; what a killed run left half done is made anew.
    """
    path = folder / "features.npy"
    rows, places = np.unique(images.rows, return_inverse=True)
    seed = images.augmentation_seed
    distinct = SliceBatches(images.pixels, rows, np.zeros(len(rows), np.int64), seed)
    accelerator, whole, after = frozen.accelerator, frozen.whole, frozen.after

    def pixels(view: int, start: int) -> torch.Tensor:
        distinct.set_epoch(view)
        return frozen.prepare(distinct.__getitems__(range(start, min(start + BATCH, len(rows)))))

    if not decided(PartialState(), lambda: _are_whole(folder)):
        unfinished = path.with_suffix(".unfinished")
        example = after.check(whole, pixels(0, 0)[:2])
        if accelerator.is_main_process:
            path.parent.mkdir(parents=True, exist_ok=True)
            dtype = np.float32 if example.ndim == 2 else np.float16
            shape = (views, len(rows), *example.shape[1:])
            size = math.prod(shape) * np.dtype(dtype).itemsize
            logger.info("Features: %d views of %d images, %.2f GB", views, len(rows), size / 1e9)
            with writing(path.parent, size, "choose another --output_dir"):
                allocated_memmap(unfinished, dtype, shape)
        accelerator.wait_for_everyone()
        kept = np.lib.format.open_memmap(unfinished, "r+")
        batches = [(view, start) for view in range(views) for start in range(0, len(rows), BATCH)]
        own = batches[accelerator.process_index :: accelerator.num_processes]
        for view, start in tqdm(own, desc="features", unit="batch", disable=not accelerator.is_main_process):
            with accelerator.autocast():
                part, _ = after.features(whole, pixels(view, start))
            kept[view, start : start + len(part)] = part.float().cpu().numpy()
        kept.flush()
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            unfinished.rename(path)
            frozen.seal(folder)
        accelerator.wait_for_everyone()
    return FeatureBatches(np.load(path, mmap_mode="r"), places, images.labels, training=seed is not None)


def _are_whole(folder: Path) -> bool:
    """Whether the features of an earlier start can be used; what is left of them is removed if not."""
    if not folder.exists():
        return False
    wrong = fault(folder)
    if wrong is None:
        logger.info("Features: those in %s are used again", folder)
        return True
    logger.warning("%s is not used: %s.", folder, wrong)
    shutil.rmtree(folder)
    return False
