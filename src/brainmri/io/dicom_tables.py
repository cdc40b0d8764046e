"""Tables and windows of DICOM files: from stored values to grey levels and colours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from brainmri.io.dicom_elements import Element, Reader
from brainmri.io.intensity import grey

DESCRIPTOR, DATA = 0x00283002, 0x00283006  # inside a sequence of tables
LARGEST_TABLE = 2**18  # bytes; 65,536 values of 16 bits have 2**17
LINEAR, LINEAR_EXACT, SIGMOID = "LINEAR", "LINEAR_EXACT", "SIGMOID"


@dataclass(frozen=True)
class LookUpTable:
    """entries: (N,), what the values `first`, `first` + 1, ... become; values outside take the nearest. bits: of them.

    pydicom reads entries of 8 bits wrongly where there are more than 256, or two in a word, and palettes of big-endian
    files in the wrong byte order.
    """

    entries: np.ndarray
    first: int
    bits: int

    def __call__(self, values: np.ndarray) -> np.ndarray:
        places = np.clip(np.round(values) - self.first, 0, len(self.entries) - 1)
        found: np.ndarray = self.entries[places.astype(np.int64)]
        return found

    @property
    def ends(self) -> tuple[float, float]:
        """The smallest and the largest entry."""
        return float(self.entries.min()), float(self.entries.max())

    def levels(self, values: np.ndarray) -> np.ndarray:
        """As a call gives them, as 8 bits. Some files state 16 bits for entries of 8."""
        shift = self.bits - 8 if self.entries.max() > 255 else 0
        return np.clip(self(values) >> max(0, shift), 0, 255).astype(np.uint8)


def table(reader: Reader, descriptor: Element | None, data: Element | None, signed: bool) -> LookUpTable | None:
    """None for a table that is not there, or cannot be right."""
    if descriptor is None or data is None:
        return None
    numbers = reader.numbers(descriptor, "US")
    value = reader.raw(data, LARGEST_TABLE)
    if len(numbers) != 3 or not value:
        return None
    count, first, bits = (int(number) for number in numbers)
    count = count or 65536
    if first >= 32768 and (signed or descriptor.vr == "SS"):
        first -= 65536
    if not 1 <= bits <= 16:
        return None
    if len(value) >= 2 * count:
        entries = np.frombuffer(value[: 2 * count], "<u2" if reader.little else ">u2")
    elif len(value) >= count and bits <= 8:
        entries = np.frombuffer(value[: len(value) // 2 * 2], "<u2" if reader.little else ">u2").astype("<u2")
        entries = entries.view(np.uint8)[:count] if len(value) > 1 else np.frombuffer(value, np.uint8)
    else:
        return None
    if len(entries) < count or entries.min() == entries.max():
        return None
    return LookUpTable(entries.astype(np.int64), first, bits)


def table_of_sequence(reader: Reader, sequence: Element | None, signed: bool) -> LookUpTable | None:
    """The table in the first item of a sequence."""
    if sequence is None:
        return None
    for start, stop in reader.items(sequence):
        found = {element.tag: element for element in reader.elements(start, stop, sequence.implicit or None)}
        return table(reader, found.get(DESCRIPTOR), found.get(DATA), signed)
    return None


@dataclass(frozen=True)
class Window:
    """What is shown between black and white (DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3)."""

    centre: float
    width: float
    function: str = LINEAR

    @property
    def ends(self) -> tuple[float, float] | None:
        """The values that become black and white; of a sigmoid, where its tangent does. None: it shows none."""
        if self.function in (LINEAR_EXACT, SIGMOID):
            return (self.centre - self.width / 2, self.centre + self.width / 2) if self.width > 0 else None
        if not self.width > 1:
            return None
        return self.centre - 0.5 - (self.width - 1) / 2, self.centre - 0.5 + (self.width - 1) / 2

    def shows(self, values: np.ndarray) -> bool:
        """Whether these values are not all black, or all white."""
        if self.ends is None:
            return False
        low, high = self.ends
        if self.function == SIGMOID:
            low, high = self.centre - 2 * self.width, self.centre + 2 * self.width
        return max(low, float(values.min())) < min(high, float(values.max()))

    def image(self, values: np.ndarray) -> Image.Image:
        """values: (H, W)."""
        if self.function == SIGMOID:
            with np.errstate(over="ignore"):
                return grey(1 / (1 + np.exp(-4 * (values - self.centre) / self.width)), 0, 1)
        low, high = self.ends or (0, 0)
        return grey(values, low, high)
