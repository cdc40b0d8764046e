"""The magnitudes of the random transformations, and the preset that hides where an image comes from."""

from __future__ import annotations

from dataclasses import dataclass

GEOMETRIC = ("flip_x", "flip_y", "rotation", "scale", "shift_x", "shift_y", "brightness", "contrast")
INTENSITY = (
    *("stretch", "gamma", "resolution", "focus", "noise", "noise_x", "noise_y", "jpeg"),
    *("bias_0", "bias_1", "bias_2", "bias_3", "bias_4"),
    *("border", "border_x", "border_y", "border_grey", "overlay", "overlay_kind"),
    *("levels", "levels_of", "lesion", "lesion_of", "lesion_x", "lesion_y", "half"),
)
CONTRAST = (
    *("curve", "curve_over", "curve_white", "curve_0", "curve_1", "curve_2", "curve_3", "curve_4"),
    *("convolution", "kernel_reach", "kernel_share", *(f"kernel_{k}" for k in range(9))),
    *("lesion_changed", "lesion_level", "lesion_texture", "lesion_rim", "lesion_halo", "lesion_edge"),
)
REMOVAL = ("removal", "removal_of")
PARAMETERS = GEOMETRIC + INTENSITY + CONTRAST + REMOVAL  # what the uniform numbers of a sample decide, in their order
PARAMETER_COUNT = len(PARAMETERS)
ABOVE_ONE = ("rotation_degrees", "zoom_in", "bias_field", "gamma", "sharpen")  # widths that may be
# What changes an image as it is read in every epoch, by the outlines and the images of the whole training part.
AS_READ = ("histogram_matching", "copy_paste", "hemisphere_mirroring", "tumour_removal", "lesion_contrast")
# What hides the source of an image, chosen on tumours from sources that training lacked (docs/LOG.md, 2026-11-26).
DOMAIN_RANDOMIZATION = {
    "rotation_degrees": 20.0,
    "zoom_in": 0.2,
    "zoom_out": 0.2,
    "stretch": 0.2,
    "bias_field": 0.5,
    "gamma": 0.7,
    "resolution": 0.2,
    "blur": 1.0,
    "sharpen": 1.5,
    "noise": 0.08,
    "jpeg": 0.2,
    "border": 0.2,
    "overlay": 0.2,
    "histogram_matching": 0.5,
    "copy_paste": 0.4,
    "hemisphere_mirroring": 0.3,
}


@dataclass(frozen=True)
class Augmentation:
    """Widths of the random transformations; the zeros leave an image as it is.

    horizontal_flip, vertical_flip: probabilities. rotation_degrees: largest turn either way. translate: largest shift
    either way, as a share of the side. zoom_in, zoom_out: largest relative enlargement and reduction.
    brightness, contrast: largest relative change either way. stretch: largest relative change of the width against the
    height, either way.

    What hides the source of an image (`brainmri.transforms.intensity`): bias_field: log of the largest gain of the
    coil, about. gamma: log2 of the largest exponent, either way. resolution: probability of a half or a third of it.
    blur: largest share of a Gaussian of 1/128 of the side. sharpen: largest amount of its opposite. noise: largest
    deviation, as a share of white. jpeg, border, overlay: probabilities of a coarse JPEG, of a frame of one grey, and
    of text at the edges.

    What gives it the contrast of another sequence (`brainmri.transforms.contrast`): tissue_contrast: probability of a
    random curve over its levels or their ranks. random_convolution: probability of a mixture with a random 3 x 3
    convolution. lesion_contrast: probability that an outlined tumour, its own or a pasted one, gets another level
    (`brainmri.transforms.lesion_contrast`).

    What takes something from other training images (`brainmri.transforms.copy_paste`): histogram_matching: probability
    of the intensities of another image. copy_paste: probability that an image without a tumour gets one,
    hemisphere_mirroring: that one half of a head is replaced by the mirrored other one, and tumour_removal: that an
    image whose halves stay gets the tissue of a similar head in place of its tumour
    (`brainmri.transforms.tumour_removal`); the three need outlines.
    """

    horizontal_flip: float = 0.0
    vertical_flip: float = 0.0
    rotation_degrees: float = 0.0
    translate: float = 0.0
    zoom_in: float = 0.0
    zoom_out: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    stretch: float = 0.0
    bias_field: float = 0.0
    gamma: float = 0.0
    resolution: float = 0.0
    blur: float = 0.0
    sharpen: float = 0.0
    noise: float = 0.0
    jpeg: float = 0.0
    border: float = 0.0
    overlay: float = 0.0
    histogram_matching: float = 0.0
    copy_paste: float = 0.0
    hemisphere_mirroring: float = 0.0
    tumour_removal: float = 0.0
    tissue_contrast: float = 0.0
    random_convolution: float = 0.0
    lesion_contrast: float = 0.0

    def __post_init__(self) -> None:
        for name, width in vars(self).items():
            if width < 0:
                raise ValueError(f"augmentation.{name} is {width}: expected a number >= 0")
            if width > 1 and name not in ABOVE_ONE:
                raise ValueError(f"augmentation.{name} is {width}: expected a number from 0 to 1")
        for name in ("zoom_out", "stretch"):
            if getattr(self, name) == 1:
                raise ValueError(f"augmentation.{name} is 1, which leaves nothing of an image: expected less")

    @property
    def as_read(self) -> list[str]:
        """Those of `AS_READ` that are asked for."""
        return [name for name in AS_READ if getattr(self, name)]

    def __bool__(self) -> bool:
        return self != Augmentation()
