#!/usr/bin/env bash
# dicom2nifti 2.6.2 (pydicom 3.0.2, nibabel 5.4.2, numpy 2.4.6) against highdicom 0.28.2 and SimpleITK 2.5.7: an Enhanced
# MR Image whose frames stand in the file from the last slice of the stack to the first. Each frame has its own Image
# Position (Patient) and In-Stack Position Number, and PS3.3 C.7.6.17 leaves the order of the frames to the application
# that writes the file. A reader expects every slice at its own position. dicom2nifti puts the pixels in the order of the
# In-Stack Position Number, but takes origin and slice direction from the first and the last frame of the file. Its checks
# of orientation and slice distance pass, nothing warns, and the volume comes mirrored along the slice axis, with
# reorient_nifti or without. dicom2nifti's documentation does not mention the order of frames.
# Output seen on 2026-11-30: lesion at x = -40 mm (left); frames from first to last -40, from last to first 40 (right) by
# dicom2nifti, -40 by the others.
# Lost for MRI: in a sagittal series the side of the tumour, in an axial one its height; masks drawn on the scanner's
# pictures no longer meet the NIfTI file.
# Do instead: sort the frames by their In-Stack Position Number before dicom2nifti sees them (this script checks it), or
# read the file with highdicom or SimpleITK.
# Exit: 0 behaves as described, 1 changed, 2 packages could not be installed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
  dicom2nifti==2.6.2 highdicom==0.28.2 SimpleITK==2.5.7 pydicom==3.0.2 nibabel==5.4.2 numpy==2.4.6 || exit 2
venv/bin/python - <<'PY'
import sys
from importlib.metadata import version
from pathlib import Path

import dicom2nifti
import highdicom
import nibabel as nib
import numpy as np
import SimpleITK as sitk
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, generate_uid

SLICES, ROWS, COLUMNS = 11, 8, 6
EMPTY = """AccessionNumber PatientBirthDate PatientID PatientName PatientSex PositionReferenceIndicator
ReferringPhysicianName StudyDate StudyID StudyTime""".split()
uids = {
    name: generate_uid() for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "organization")
}


def items(**elements):
    """A sequence of one item."""
    item = Dataset()
    for name, value in elements.items():
        setattr(item, name, value)
    return [item]


def code(value, meaning):
    return items(CodeValue=value, CodingSchemeDesignator="SCT", CodeMeaning=meaning)


def index(pointer):
    """A dimension index that points into the Frame Content Sequence."""
    return items(
        DimensionOrganizationUID=uids["organization"], DimensionIndexPointer=pointer, FunctionalGroupPointer=0x00209111
    )


def frame(stored, k):
    """Pixels and functional groups of slice k of the stack, 10 mm from the next; slice 0 is the rightmost."""
    group = Dataset()
    group.FrameContentSequence = items(StackID="1", InStackPositionNumber=k + 1, DimensionIndexValues=[1, k + 1])
    group.PlanePositionSequence = items(ImagePositionPatient=[10 * k - 50, 0, 0])
    return group, stored[k].astype("<u2").tobytes()


def write(path, stored, order):
    """A derived sagittal volume, its frames in the given order."""
    ds = Dataset()
    for name in EMPTY:
        setattr(ds, name, None)
    ds.SOPClassUID, ds.SOPInstanceUID = EnhancedMRImageStorage, generate_uid()
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        setattr(ds, name, uids[name])
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber, ds.PatientPosition = "MR", 1, 1, "HFS"
    ds.ContentDate, ds.ContentTime = "20261130", "120000"
    ds.Manufacturer, ds.ManufacturerModelName, ds.DeviceSerialNumber, ds.SoftwareVersions = "None", "None", "0", "0"
    image_type = ["DERIVED", "PRIMARY", "VOLUME", "NONE"]
    kind = {"PixelPresentation": "MONOCHROME", "VolumetricProperties": "VOLUME", "VolumeBasedCalculationTechnique": "NONE"}
    kind |= {"ComplexImageComponent": "MAGNITUDE", "AcquisitionContrast": "T1"}
    for name, value in kind.items():
        setattr(ds, name, value)
    ds.ImageType, ds.BurnedInAnnotation, ds.LossyImageCompression = image_type, "NO", "00"
    ds.PresentationLUTShape, ds.AcquisitionContextSequence = "IDENTITY", []
    ds.ContentQualification, ds.ApplicableSafetyStandardAgency = "RESEARCH", "IEC"
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = ROWS, COLUMNS, 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
    ds.DimensionOrganizationSequence = items(DimensionOrganizationUID=uids["organization"])
    ds.DimensionIndexSequence = index(0x00209056) + index(0x00209057)
    ds.SharedFunctionalGroupsSequence = items(
        MRImageFrameTypeSequence=items(FrameType=image_type, **kind),
        FrameAnatomySequence=items(FrameLaterality="U", AnatomicRegionSequence=code("12738006", "Brain")),
        PixelMeasuresSequence=items(PixelSpacing=[10, 10], SliceThickness=10),
        PlaneOrientationSequence=items(ImageOrientationPatient=[0, 1, 0, 0, 0, -1]),
        PixelValueTransformationSequence=items(RescaleSlope=1, RescaleIntercept=0, RescaleType="US"),
    )
    groups, pixels = zip(*(frame(stored, k) for k in order), strict=True)
    ds.NumberOfFrames, ds.PerFrameFunctionalGroupsSequence, ds.PixelData = SLICES, list(groups), b"".join(pixels)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.parent.mkdir()
    ds.save_as(path, enforce_file_format=True)


def lesion(values, affine):
    """Where the brightest voxel lies, in millimetres to the right, the front and the top."""
    voxel = np.unravel_index(values.argmax(), values.shape)
    return [round(float(v), 3) for v in nib.affines.apply_affine(affine, voxel)]


def by_dicom2nifti(path, **how):
    dicom2nifti.dicom_series_to_nifti(path.parent, "out.nii.gz", **how)
    image = nib.load("out.nii.gz")
    return lesion(image.get_fdata(), image.affine)


def by_highdicom(path):
    volume = highdicom.imread(path).get_volume()
    return lesion(volume.array, np.diag([-1, -1, 1, 1]) @ volume.affine)


def by_simpleitk(path):
    image = sitk.ReadImage(path)
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return lesion(sitk.GetArrayFromImage(image).T, np.diag([-1, -1, 1, 1]) @ affine)


def sort_frames(path, target):
    ds = dcmread(path)
    groups = ds.PerFrameFunctionalGroupsSequence
    order = np.argsort([group.FrameContentSequence[0].InStackPositionNumber for group in groups])
    ds.PixelData = ds.pixel_array[order].tobytes()
    ds.PerFrameFunctionalGroupsSequence = [groups[i] for i in order]
    target.parent.mkdir()
    ds.save_as(target)


for name in ("dicom2nifti", "highdicom", "SimpleITK", "pydicom", "nibabel", "numpy"):
    print(name, version(name))
stored = np.zeros((SLICES, ROWS, COLUMNS), int)
stored[9, 3, 2] = 1000
expected = [-40, -20, -30]
print("lesion, expected: ", expected, "(left)")
forward, backward, sorted_again = Path("forward/mr.dcm"), Path("backward/mr.dcm"), Path("sorted/mr.dcm")
write(forward, stored, range(SLICES))
write(backward, stored, reversed(range(SLICES)))
sort_frames(backward, sorted_again)
found = {}
for path in (forward, backward, sorted_again):
    found[path] = (
        by_highdicom(path),
        by_simpleitk(path),
        by_dicom2nifti(path, reorient_nifti=False),
        by_dicom2nifti(path, reorient_nifti=True),
    )
    print(f"frames {path.parent}:")
    for name, place in zip(("highdicom", "SimpleITK", "dicom2nifti", "reoriented"), found[path], strict=True):
        print(f"  {name:<12} {place}", "(left)" if place[0] < 0 else "(RIGHT)")
mirrored = [40, -20, -30]
same = (
    found[forward] == found[sorted_again] == (expected,) * 4
    and found[backward] == (expected, expected, mirrored, mirrored)
)
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY
