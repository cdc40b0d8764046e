"""The elements of a DICOM file: where each stands, without making an object of any that is not asked for.

Libraries build an object for every element of every sequence. A file of strangers can hold millions of them, and an
honest file of a thousand frames hundreds of thousands. Here what is not asked for is passed over, at whatever depth,
and the work is bounded by `STEPS`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from pydicom import uid

from brainmri.io.limits import UploadError

PIXELS = 0x7FE0  # the group of the pixels; where they are cut off, their decoder says so
STEPS = 2_000_000  # elements of one file; the largest enhanced files have a few hundred for each of a thousand frames
LARGEST_VALUE = 4096  # bytes of a number or a word; longer ones are not read
UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
SYNTAX, STORED_CLASS = 0x00020010, 0x00020002
LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
TYPES = {"US": "u2", "SS": "i2", "UL": "u4", "SL": "i4", "FL": "f4", "FD": "f8"}
BROKEN = "This DICOM file is broken or cut off. Export it again, uncompressed, or save the image as PNG."


@dataclass(frozen=True)
class Element:
    """vr: None where the file does not say it. start, stop: of its value. undefined: whether its length was not given;
    then `stop` is where its end is marked."""

    tag: int
    vr: str | None
    start: int
    stop: int
    undefined: bool
    implicit: bool


@dataclass
class Reader:
    """A DICOM file, read from front to back.

    Attributes:
        implicit, little, syntax: how its data set is stored. sop_class: what it is by its own header, "" without one.
    """

    data: bytes = field(repr=False)
    implicit: bool = True
    little: bool = True
    syntax: str = uid.ImplicitVRLittleEndian
    sop_class: str = ""
    _steps: int = STEPS

    def start(self) -> int:
        """Read how the file is stored; where its data set begins, behind the preamble and the file's own header."""
        data, at, stated = self.data, 132 * (self.data[128:132] == b"DICM"), ""
        while data[at : at + 2] == b"\x02\0":
            tag, _, length, after, _ = self._head(at, implicit=not data[at + 4 : at + 6].isupper())
            value = data[after : after + min(length, 64)].decode("latin-1").rstrip("\0 ")
            if tag == SYNTAX:
                stated = value
            elif tag == STORED_CLASS:
                self.sop_class = value
            at = after + length
        capitals = data[at + 4 : at + 6]
        self.implicit = not (capitals.isalpha() and capitals.isupper())
        self.little = data[at] != 0 or data[at + 1] == 0
        plain = uid.ExplicitVRLittleEndian if self.little else uid.ExplicitVRBigEndian
        self.syntax = stated or (uid.ImplicitVRLittleEndian if self.implicit else plain)
        return at

    def elements(self, start: int, stop: int, implicit: bool | None = None) -> Iterator[Element]:
        """Those of a data set, or of an item of a sequence."""
        at = start
        while at + 8 <= stop:
            tag, vr, length, at, implied = self._head(at, self.implicit if implicit is None else implicit)
            if tag in (ITEM_END, SEQUENCE_END):
                return
            undefined = length == UNDEFINED
            after = self._behind(at, implied or vr == "UN") if undefined else at + length
            if after > len(self.data) and tag >> 16 != PIXELS:
                raise UploadError(BROKEN)
            yield Element(tag, vr, at, after - 8 if undefined else min(after, stop), undefined, implied or vr == "UN")
            at = after

    def items(self, element: Element) -> Iterator[tuple[int, int]]:
        """Where each item of a sequence begins and ends."""
        at = element.start
        while at + 8 <= element.stop:
            tag, _, length, at, _ = self._head(at, implicit=True)
            if tag != ITEM:
                return
            end = self._behind(at, element.implicit) if length == UNDEFINED else at + length
            yield at, end - 8 if length == UNDEFINED else min(end, element.stop)
            at = end

    def raw(self, element: Element, most: int = LARGEST_VALUE) -> bytes:
        """Its value; none if it is longer than `most` bytes."""
        return self.data[element.start : element.stop] if element.stop - element.start <= most else b""

    def numbers(self, element: Element, kind: str) -> tuple[float, ...]:
        """Finite numbers; none if one of them is something else. kind: DS, IS or one of `TYPES`."""
        value = self.raw(element)
        try:
            if kind in TYPES:
                dtype = np.dtype(TYPES[kind]).newbyteorder("<" if self.little else ">")
                found = np.frombuffer(value[: len(value) // dtype.itemsize * dtype.itemsize], dtype).astype(float)
            else:
                found = np.array([float(text) for text in value.decode("ascii").strip("\0 ").split("\\")])
        except ValueError:
            return ()
        return tuple(found.tolist()) if np.isfinite(found).all() else ()

    def word(self, element: Element) -> str:
        return self.raw(element).decode("latin-1").strip("\0 ")

    def _head(self, at: int, implicit: bool) -> tuple[int, str | None, int, int, bool]:
        """Tag, kind of value, length and start of the value, and whether its kind was left out."""
        self._steps -= 1
        if self._steps < 0:
            raise UploadError(BROKEN)
        data, order = self.data, "<" if self.little else ">"
        group, number = struct.unpack_from(order + "HH", data, at)
        tag = group << 16 | number
        letters = data[at + 4 : at + 6]
        if group != 0xFFFE and not implicit and letters.isalpha() and letters.isupper():
            vr = letters.decode("ascii")
            if letters in LONG:
                return tag, vr, struct.unpack_from(order + "L", data, at + 8)[0], at + 12, False
            return tag, vr, struct.unpack_from(order + "H", data, at + 6)[0], at + 8, False
        return tag, None, struct.unpack_from(order + "L", data, at + 4)[0], at + 8, group != 0xFFFE

    def _behind(self, at: int, implicit: bool) -> int:
        """Behind the mark that ends a sequence or an item of undefined length, whatever is nested in it."""
        depth = 1
        while depth:
            tag, _, length, at, _ = self._head(at, implicit or self.implicit)
            if tag in (ITEM_END, SEQUENCE_END):
                depth -= 1
            elif length == UNDEFINED:
                depth += 1
            else:
                at += length
            if at > len(self.data):
                raise UploadError(BROKEN)
        return at
