"""The pixel cache as a torch `Dataset` that reads a whole batch in one gather; mixup and cutmix of a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.data import Dataset
from torchvision.transforms import v2

from brainmri.data.pixel_cache import PixelCache
from brainmri.transforms.augment import random_parameters
from brainmri.transforms.copy_paste import CopyPaste

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from brainmri.recipe import Mix


UNSEEN = 1e9  # the loss of an image that was never trained on: it is drawn before all others
SMALLEST = 1e-3  # of each loss, so that every image is drawn now and then


class SliceBatches(Dataset[dict[str, torch.Tensor]]):
    """Rows of the pixel cache with their labels.

    pixels: the images. rows: positions among them, repeated where oversampled. labels: their class numbers.
    augmentation_seed: None for a split that is read as it is; else each batch also carries its samples' `positions`,
    and `uniform`, their random numbers in the current epoch, by which the trainer transforms the images.
    other_sizes: the images at the further sizes that `sizes` names, the side of the images in each epoch (its last
    one stays); without `sizes` all epochs see `pixels`.
    images: the image that each row shows; an epoch then holds one row of each, drawn anew each time, instead
    of all rows. A data set may hold one image many times, mirrored or with another contrast.
    hard_example_share: below 1 an epoch holds this share of the images (of the rows, without `images`), those of a
    higher loss more often (Loshchilov and Hutter 2015, Online Batch Selection). `losses` are of each image, as
    `learn` got them.
    exchange: what training images take from each other; it may change their labels.
    """

    def __init__(
        self,
        pixels: PixelCache,
        rows: np.ndarray,
        labels: np.ndarray,
        augmentation_seed: int | None = None,
        other_sizes: Mapping[int, PixelCache] | None = None,
        images: np.ndarray | None = None,
        exchange: CopyPaste | None = None,
        hard_example_share: float = 1.0,
    ) -> None:
        self.pixels, self.rows, self.labels = pixels, rows, labels
        numbers = np.arange(len(rows)) if images is None else np.unique(images, return_inverse=True)[1]
        self.files = None if images is None and hard_example_share == 1 else (rows, labels, numbers)
        self.hard_example_share = hard_example_share
        self.augmentation_seed, self.exchange = augmentation_seed, exchange
        self.by_size = {**(other_sizes or {}), pixels.first.shape[-1]: pixels}
        self.sizes: Sequence[int] = ()
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Draw the rows and random numbers of `epoch` (counted from 0), and take the images at its size."""
        if self.files and self.augmentation_seed is not None:
            rows, labels, images = self.files
            if epoch == 0:
                self.losses = np.full(images.max(initial=-1) + 1, UNSEEN)
            order = np.random.default_rng([self.augmentation_seed, epoch, 1]).permutation(len(rows))
            drawn = order[np.unique(images[order], return_index=True)[1]]  # a row of each image, by image
            if self.hard_example_share < 1:
                drawn = drawn[self._hard(np.random.default_rng([self.augmentation_seed, epoch, 2]))]
            self.rows, self.labels, self.images = rows[drawn], labels[drawn], images[drawn]
        if self.augmentation_seed is not None:
            self.uniform = random_parameters(len(self.rows), self.augmentation_seed, epoch)
        if self.sizes:
            self.pixels = self.by_size[self.sizes[min(epoch, len(self.sizes) - 1)]]

    def _hard(self, random: np.random.Generator) -> NDArray[np.int64]:
        """An epoch's images, sorted: drawn without replacement by their losses (Efraimidis and Spirakis 2006)."""
        count = max(1, int(self.hard_example_share * len(self.losses)))
        keys = np.log(self.losses + SMALLEST) + random.gumbel(size=len(self.losses))
        return np.sort(np.argsort(-keys, kind="stable")[:count])

    def learn(self, positions: NDArray[np.int64], losses: NDArray[np.float64]) -> None:
        """Take in the losses (N,) of the samples at `positions` (N,) of this epoch, for the next one."""
        self.losses[self.images[positions]] = losses

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, positions: Sequence[int]) -> dict[str, torch.Tensor]:
        """`pixel_values` uint8 (B, 1, size, size) where all images are grey, else (B, 3, size, size); `labels` int64
        (B,); in training also `uniform` and `positions`."""
        chosen = np.asarray(positions)
        pixels, labels = self.pixels.read(self.rows[chosen]), self.labels[chosen]
        if self.exchange:
            pixels, labels = self.exchange.changed(self.pixels, pixels, self.rows[chosen], self.uniform[chosen])
        batch = {"pixel_values": torch.from_numpy(pixels), "labels": torch.from_numpy(labels)}
        if self.augmentation_seed is not None:
            batch["uniform"] = torch.from_numpy(self.uniform[chosen])
            batch["positions"] = torch.from_numpy(chosen)
        return batch

    def __getitem__(self, position: int) -> dict[str, torch.Tensor]:
        """One sample, in the shapes of `__getitems__` without their first dimension."""
        return {name: value[0] for name, value in self.__getitems__([position]).items()}


Mixer = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def mixer(mix: Mix, classes: int) -> Mixer:
    """A function of images (B, 3, H, W) and labels (B,) that gives mixed images and class shares (B, classes).

    A batch that is not mixed keeps its labels (B,). The draws come from torch's generator, which a checkpoint restores;
    each process mixes its own part of a batch, so that one process and two do not train to the same digit.
    """
    kinds = [
        kind(alpha=alpha, num_classes=classes)
        for kind, alpha in ((v2.MixUp, mix.mixup), (v2.CutMix, mix.cutmix))
        if alpha > 0
    ]
    return v2.RandomApply([v2.RandomChoice(kinds)], p=mix.probability)
