"""Which frames of a DICOM file are the slices of one plane, and in which order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from brainmri.io.decode import PLANE
from brainmri.io.dicom_header import FrameHeader
from brainmri.io.dicom_pixels import Pixels
from brainmri.io.geometry import same_direction, view_of
from brainmri.io.notes import SAME_PLACE, missing_notes

# What is said about a file that can be drawn.
SEVERAL_VOLUMES = "The file holds several images of each slice (time points, echoes, ...); the first of them is used."
SEVERAL_STACKS = "The file holds several stacks of slices in one plane; the one with the most slices is used."
SEVERAL_PLANES = "The file holds slices in several planes; that with the most slices is the first."


def planes_of(headers: Sequence[FrameHeader], pixels: Pixels) -> tuple[dict[str, tuple[int, ...]], tuple[str, ...]]:
    """Which frames are the slices of which plane, in their order, and what there is to say about it.

    Where the place of a frame is not known, all of them in the order of the file.
    """
    views = [view_of(one.orientation) if one.orientation else None for one in headers]
    first = views[0]
    if len(headers) == 1 or any(view is None or not one.position for view, one in zip(views, headers, strict=True)):
        same = first and all(same_direction(headers[0].orientation, one.orientation) for one in headers)
        return {first.plane if first and same else PLANE: tuple(range(len(headers)))}, ()
    stacks: dict[str, list[list[int]]] = defaultdict(list)
    for frame, view in enumerate(views):
        known = stacks[view.plane if view else PLANE]
        for stack in known:
            if same_direction(headers[stack[0]].orientation, headers[frame].orientation):
                stack.append(frame)
                break
        else:
            known.append([frame])
    planes, notes = {}, []
    for plane, found in stacks.items():
        largest = max(found, key=len)
        notes += [SEVERAL_STACKS] * (len(found) > 1)
        planes[plane], several = _one_volume(largest, headers, pixels)
        notes += [SEVERAL_VOLUMES] * several
        notes += missing_notes(_places(planes[plane], headers))
    notes += [SEVERAL_PLANES] * (len(planes) > 1)
    most_first = sorted(planes, key=lambda plane: -len(planes[plane]))
    return {plane: planes[plane] for plane in most_first}, tuple(dict.fromkeys(notes))


def _one_volume(frames: Sequence[int], headers: Sequence[FrameHeader], pixels: Pixels) -> tuple[tuple[int, ...], bool]:
    """One frame for each place, in the order of the places, and whether there were more of them.

    The first image of each place is taken, or the first one that shows something: some series begin with blank images.
    """
    view = view_of(headers[frames[0]].orientation or ())
    assert view is not None
    along = {frame: view.along(headers[frame].position or ()) for frame in frames}
    places: list[list[int]] = []
    for frame in sorted(frames, key=along.__getitem__):
        if places and along[frame] - along[places[-1][0]] < SAME_PLACE:
            places[-1].append(frame)
        else:
            places.append([frame])
    most = max(map(len, places))
    if most == 1:
        return tuple(place[0] for place in places), False
    if len(places) == 1:  # nothing but one slice: all of its images are shown
        return tuple(sorted(frames)), False
    ordered = [sorted(place, key=lambda frame: (headers[frame].moment, frame)) for place in places]
    for number in range(most):
        chosen = tuple(place[min(number, len(place) - 1)] for place in ordered)
        if any(_shows(pixels, frame) for frame in chosen):
            return chosen, True
    return tuple(place[0] for place in ordered), True


def _places(frames: Sequence[int], headers: Sequence[FrameHeader]) -> list[float]:
    """Where the frames of one stack lie (mm)."""
    view = view_of(headers[frames[0]].orientation or ())
    assert view is not None
    return [view.along(headers[frame].position or ()) for frame in frames]


def _shows(pixels: Pixels, frame: int) -> bool:
    values = pixels.frame(frame)
    return bool(values.min() < values.max())
