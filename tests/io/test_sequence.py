"""What a file says of its sequence: words of the vocabulary, and the times of the scanner; never another text."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

import brainmri
from brainmri.io.inputs import found_inputs
from brainmri.io.open import open_bytes
from brainmri.io.sequence import FLAIR, OTHER, T1, T1_CONTRAST, T1_PLAIN, T2, by_times, by_words

from .good import NOISE, dicom


@pytest.mark.parametrize(
    ("text", "sequence"),
    [
        ("ax T1 +C", T1_CONTRAST),
        ("AX T1 POST GAD", T1_CONTRAST),
        ("t1_mprage_sag_p2", T1),
        ("T1 PRE CONTRAST", T1_PLAIN),
        ("T1w -C", T1_PLAIN),
        ("Post_Scan_T1", T1),  # after an operation, say
        ("sub-01_ce-gadolinium_T1w", T1_CONTRAST),
        ("BraTS_001_t1ce", T1_CONTRAST),
        ("sub-01_T2w", T2),
        ("ax PD fs", T2),
        ("T2-FLAIR", FLAIR),
        ("t2_tirm_tra_dark-fluid", FLAIR),
        ("T1 FLAIR", T1),
        ("T2* GRE", OTHER),
        ("ep2d_diff_ADC", OTHER),
        ("Mr Flairson, T-123", ""),
        ("axial", ""),
    ],
)
def test_words_of_the_vocabulary_tell_the_sequence(text: str, sequence: str) -> None:
    assert by_words(text) == sequence


@pytest.mark.parametrize(
    ("scanning", "repetition", "echo", "inversion", "sequence"),
    [
        ("SE", 500, 12, None, T1),
        ("SE", 4500, 95, None, T2),
        ("SE", 2500, 15, None, T2),  # proton density
        ("SE\\IR", 9000, 120, 2500, FLAIR),
        ("GR\\IR", 1900, 3, 900, T1),
        ("GR", 30, 5, None, ""),  # an angiography has such times too
        ("EP", 4000, 90, None, OTHER),
        ("SE", None, 95, None, ""),
    ],
)
def test_times_tell_the_sequence(
    scanning: str, repetition: float | None, echo: float | None, inversion: float | None, sequence: str
) -> None:
    assert by_times(scanning, repetition, echo, inversion) == sequence


@pytest.mark.parametrize(
    ("changes", "sequence"),
    [
        ({"SeriesDescription": "AX FLAIR Doe^Jane"}, FLAIR),
        ({"SeriesDescription": "ax", "ScanningSequence": "SE", "EchoTime": 95, "RepetitionTime": 4500}, T2),
        (
            {
                "ScanningSequence": "SE",
                "EchoTime": 12,
                "RepetitionTime": 500,
                "ContrastBolusAgent": "what Dr. Roe gave",
            },
            T1_CONTRAST,
        ),
        ({"AcquisitionContrast": "FLUID_ATTENUATED"}, FLAIR),
        ({"SequenceName": "*tfl T1"}, T1),
        ({}, ""),
    ],
)
def test_a_dicom_file_tells_its_sequence_and_no_other_text(changes: dict, sequence: str) -> None:
    upload = open_bytes(dicom(**changes))
    assert upload.sequence == sequence
    assert not {"Doe", "Roe"} & set(repr(upload).replace("^", " ").split())


def test_a_volume_tells_it_by_its_description_else_by_its_name(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.stack([NOISE] * 40, 2).astype(np.int16), np.eye(4))
    nibabel.save(image, tmp_path / "sub-01_T2w.nii.gz")
    image.header["descrip"] = b"TE=110;TI=2500;TR=9000ms"
    nibabel.save(image, tmp_path / "sub-01_T1w.nii.gz")
    assert brainmri.read_scan(tmp_path / "sub-01_T2w.nii.gz").sequence == T2
    assert brainmri.read_scan(tmp_path / "sub-01_T1w.nii.gz").sequence == FLAIR
    with found_inputs([tmp_path]) as inputs:
        assert [next(iter(one.slices())).sequence for one in inputs] == [FLAIR, T2]  # type: ignore[union-attr]
