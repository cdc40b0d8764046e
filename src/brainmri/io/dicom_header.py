"""What a DICOM file says of its frames: in its top level, for all of them, or for each one (functional groups).

The patient's data are never read, and of the private ones only how many slices a Siemens mosaic holds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from brainmri.io.dicom_elements import Element, Reader
from brainmri.io.dicom_tables import LINEAR, LookUpTable, Window, table, table_of_sequence
from brainmri.io.geometry import is_plausible
from brainmri.io.sequence import of_dicom

IMAGE_TYPE, SOP_CLASS, SERIES, NUMBER = 0x00080008, 0x00080016, 0x0020000E, 0x00200013
SHARED, PER_FRAME = 0x52009229, 0x52009230
MODALITY_TABLE, VOI_TABLE = 0x00283000, 0x00283010
PALETTES = tuple((0x00281101 + colour, 0x00281201 + colour) for colour in range(3))
SEGMENTED_PALETTE = 0x00281221
PADDING, PADDING_LIMIT = 0x00280120, 0x00280121
FLOAT_PADDING = {0x00280122: "FL", 0x00280123: "FD"}
ASPECT_RATIO = 0x00280034
# In the order in which they are believed: of the patient, of the detector, of the scanned film.
SPACINGS = (0x00280030, 0x00181164, 0x00182010)
ORIENTATION, POSITION, BETWEEN = 0x00200037, 0x00200032, 0x00180088
SLOPE, INTERCEPT, CENTRE, WIDTH, FUNCTION = 0x00281053, 0x00281052, 0x00281050, 0x00281051, 0x00281056
TIME, ECHO = 0x00209128, 0x00189082
# Of a frame, with their kind: in the top level of a file with one frame, in a group of files with several.
FRAME_TAGS = dict.fromkeys((*SPACINGS, ORIENTATION, POSITION, BETWEEN, SLOPE, INTERCEPT, CENTRE, WIDTH), "DS")
FRAME_TAGS |= {TIME: "UL", ECHO: "FD", FUNCTION: ""}
# Pixel measures, orientation, position, window, slope, frame content, echo.
GROUPS = (0x00289110, 0x00209116, 0x00209113, 0x00289132, 0x00289145, 0x00209111, 0x00189114)
CSA_HEADER, MOSAIC_COUNT = 0x00291010, 0x0019100A
LARGEST_CSA = 2**20
Values = Mapping[int, "tuple[float, ...] | str"]


@dataclass(frozen=True)
class FrameHeader:
    """Of one frame. Lengths in mm, in the patient's system (to the left, the back and the top).

    Attributes:
        orientation: along a row and along a column, (6,), or None. position: of the first pixel, (3,), or None.
        pixels: distance between rows and between columns, or None. stretch: the same without a unit; (1, 1) if unknown.
        between: distance between slices that the file states, or None.
        slope, intercept: of the stored values. window: None where none is named.
        moment: time and echo, to tell frames at one place apart.
    """

    orientation: tuple[float, ...] | None = None
    position: tuple[float, ...] | None = None
    pixels: tuple[float, float] | None = None
    stretch: tuple[float, float] = (1.0, 1.0)
    between: float | None = None
    slope: float = 1.0
    intercept: float = 0.0
    window: Window | None = None
    moment: tuple[float, ...] = ()


@dataclass(frozen=True)
class Header:
    """Of a whole file.

    Attributes:
        series: what tells the files of one series apart from others; "" where the file does not say it.
        number: in the series, or None.
        frames: one for each.
        modality, voi: tables of the whole file. palette: red, green, blue.
        padding: lowest and highest stored value that is no part of the picture.
        mosaic: how many slices the one frame holds; 0 where it is a mosaic that does not say it; None for others.
        sequence: one of `sequence.SEQUENCES`; "" where the file does not tell it.
    """

    series: str = field(repr=False)
    number: int | None
    frames: tuple[FrameHeader, ...]
    modality: LookUpTable | None
    voi: LookUpTable | None
    palette: tuple[LookUpTable, ...] | None
    padding: tuple[float, float] | None
    mosaic: int | None
    sequence: str = ""


def read_header(reader: Reader, found: Mapping[int, Element], count: int, signed: bool) -> Header:
    """found: the elements of the top level. count: frames. signed: whether stored values are."""
    top = _values(reader, found.values())
    shared = _groups(reader, found.get(SHARED))
    own = _groups(reader, found.get(PER_FRAME))
    common = {**top, **(shared[0] if shared else {})}
    aspect = reader.numbers(found[ASPECT_RATIO], "IS") if ASPECT_RATIO in found else ()
    one = _frame_header(common, aspect)
    frames = [_frame_header({**common, **values}, aspect) if values else one for values in own[:count]]
    palette = [table(reader, found.get(descriptor), found.get(data), signed) for descriptor, data in PALETTES]
    number = reader.numbers(found[NUMBER], "IS") if NUMBER in found else ()
    return Header(
        reader.word(found[SERIES]) if SERIES in found else "",
        int(number[0]) if number else None,
        tuple(frames + [one] * (count - len(frames))),
        table_of_sequence(reader, found.get(MODALITY_TABLE), signed),
        table_of_sequence(reader, found.get(VOI_TABLE), signed),
        tuple(part for part in palette if part) if all(palette) else None,
        _padding(reader, found, signed),
        _mosaic(reader, found) if count == 1 else None,
        of_dicom(reader, found),
    )


def _frame_header(values: Values, aspect: tuple[float, ...]) -> FrameHeader:
    def numbers(tag: int, length: int) -> tuple[float, ...] | None:
        value = values.get(tag, ())
        return value[:length] if isinstance(value, tuple) and len(value) >= length else None

    pixels = next((one for one in (numbers(tag, 2) for tag in SPACINGS) if one and is_plausible(one)), None)
    stretch = pixels or (aspect if len(aspect) == 2 and is_plausible(aspect) else (1.0, 1.0))
    centre, width = numbers(CENTRE, 1), numbers(WIDTH, 1)
    between = numbers(BETWEEN, 1)
    slope = numbers(SLOPE, 1)
    function = str(values.get(FUNCTION) or LINEAR)
    return FrameHeader(
        numbers(ORIENTATION, 6),
        numbers(POSITION, 3),
        (pixels[0], pixels[1]) if pixels else None,
        (stretch[0], stretch[1]),
        between[0] if between and between[0] > 0 else None,
        slope[0] if slope and slope[0] else 1.0,
        (numbers(INTERCEPT, 1) or (0.0,))[0],
        Window(centre[0], width[0], function) if centre and width else None,
        (*(numbers(TIME, 1) or (0.0,)), *(numbers(ECHO, 1) or (0.0,))),
    )


def _values(reader: Reader, elements: Iterable[Element]) -> dict[int, tuple[float, ...] | str]:
    found: dict[int, tuple[float, ...] | str] = {}
    for element in elements:
        if (kind := FRAME_TAGS.get(element.tag)) is not None:
            value = reader.numbers(element, kind) if kind else reader.word(element)
            if value:
                found[element.tag] = value
    return found


def _groups(reader: Reader, sequence: Element | None) -> list[dict[int, tuple[float, ...] | str]]:
    """For each item: the values of `FRAME_TAGS` in its groups."""
    found = []
    for start, stop in reader.items(sequence) if sequence else ():
        values: dict[int, tuple[float, ...] | str] = {}
        for group in reader.elements(start, stop, sequence.implicit or None if sequence else None):
            if group.tag in GROUPS:
                for first, last in reader.items(group):
                    values |= _values(reader, reader.elements(first, last, group.implicit or None))
                    break
        found.append(values)
    return found


def _padding(reader: Reader, found: Mapping[int, Element], signed: bool) -> tuple[float, float] | None:
    for tag, kind in FLOAT_PADDING.items():
        if tag in found and (value := reader.numbers(found[tag], kind)):
            return value[0], value[0]
    ends = []
    for tag in (PADDING, PADDING_LIMIT):
        if tag in found:
            width = found[tag].stop - found[tag].start
            word = {2: "SS" if signed else "US", 4: "SL" if signed else "UL"}.get(width)
            ends += list(reader.numbers(found[tag], word)[:1]) if word else []
    return (min(ends), max(ends)) if ends else None


def _mosaic(reader: Reader, found: Mapping[int, Element]) -> int | None:
    if IMAGE_TYPE not in found or "MOSAIC" not in reader.word(found[IMAGE_TYPE]).split("\\"):
        return None
    stated: object = None
    if MOSAIC_COUNT in found:
        stated = next(iter(reader.numbers(found[MOSAIC_COUNT], "US")), None)
    if not stated and CSA_HEADER in found:
        from nibabel.nicom import csareader  # late: it warns, which `reading` silences here

        try:
            stated = csareader.get_n_mosaic(csareader.read(reader.raw(found[CSA_HEADER], LARGEST_CSA)))
        except Exception:  # of another maker, or broken: it raises half a dozen types
            stated = None
    return int(stated) if isinstance(stated, (int, float)) and 0 < stated < 10_000 else 0


def tiles(values: np.ndarray, count: int, edge: float) -> tuple[int, int]:
    """How many slices lie beside each other in a mosaic, and how many there are.

    A mosaic is the smallest square of tiles that holds its slices. Where their number is not known, it is the finest
    grid whose lines run through background; the tiles behind the last one that shows something are empty.

    Args:
        values: (H, W). count: of slices; 0 if not known. edge: the value below which there is background.

    Returns:
        (0, 0) where no such grid is found.
    """
    rows, columns = values.shape
    if count:
        side = math.isqrt(count - 1) + 1
        return (side, count) if rows % side == columns % side == 0 else (0, 0)
    for side in range(16, 1, -1):
        if rows % side or columns % side or min(rows, columns) // side < 16:
            continue
        down, across = rows // side, columns // side
        lines = [values[k * down + step].mean() for k in range(1, side) for step in (-1, 0)]
        lines += [values[:, k * across + step].mean() for k in range(1, side) for step in (-1, 0)]
        if max(lines) <= edge:
            shown = [k for k in range(side * side) if (tile(values, side, k) > edge).mean() > 0.01]
            return side, max(shown, default=-1) + 1
    return 0, 0


def tile(values: np.ndarray, side: int, index: int) -> np.ndarray:
    """One slice of a mosaic, (H / side, W / side)."""
    rows, columns = values.shape[0] // side, values.shape[1] // side
    down, across = divmod(index, side)
    return values[down * rows : (down + 1) * rows, across * columns : (across + 1) * columns]
