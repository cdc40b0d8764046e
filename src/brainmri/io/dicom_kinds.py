"""DICOM files that hold no picture of a scan, told by what they say that they are (SOP class)."""

from __future__ import annotations

STORAGE = "1.2.840.10008.5.1.4.1.1."
USE_IMAGES = "Use the images of the series that it belongs to."
USE_DRAWN_ON = "Use the images that it was drawn on."
SEGMENTATION = f"a segmentation (regions, no intensities). {USE_DRAWN_ON}"
STRUCTURES = f"an RT structure set (outlines, no image). {USE_DRAWN_ON}"
DOSE = f"a radiotherapy dose distribution, no image of the patient. {USE_IMAGES}"
PLAN = f"a radiotherapy plan or its record, no image. {USE_IMAGES}"
STATE = f"a presentation state (how to show images, no image itself). {USE_IMAGES}"
REPORT = f"a report (structured text, no image). {USE_IMAGES}"
DOCUMENT = f"a document in a DICOM wrapper (PDF, CDA or a 3D model). {USE_IMAGES}"
WAVEFORM = f"a recording of a waveform (ECG or sound, no image). {USE_IMAGES}"
RAW = f"raw data of the scanner, no image. {USE_IMAGES}"
SPECTRUM = f"MR spectroscopy (spectra, no image). {USE_IMAGES}"
REGISTRATION = f"a registration (how series fit together, no image). {USE_IMAGES}"
SURFACE = f"a surface or a set of tracks, no image. {USE_DRAWN_ON}"
MEASUREMENT = f"a list of measurements, no image. {USE_IMAGES}"
INDEX = "an index of other files (DICOMDIR), no image. Use the files beside it."
PHYSICS = f"a description of the device or procedure, no image. {USE_IMAGES}"

WHOLE = {
    STORAGE + "66": RAW,
    STORAGE + "66.1": REGISTRATION,
    STORAGE + "66.2": MEASUREMENT,
    STORAGE + "66.3": REGISTRATION,
    STORAGE + "66.4": SEGMENTATION,
    STORAGE + "66.5": SURFACE,
    STORAGE + "66.6": SURFACE,
    STORAGE + "66.7": SEGMENTATION,
    STORAGE + "67": PHYSICS,
    STORAGE + "68.1": SURFACE,
    STORAGE + "68.2": SURFACE,
    STORAGE + "4.2": SPECTRUM,
    STORAGE + "481.2": DOSE,
    STORAGE + "481.3": STRUCTURES,
    "1.2.840.10008.1.3.10": INDEX,
}
BEGINNINGS = {
    STORAGE + "481.": PLAN,
    STORAGE + "11.": STATE,
    STORAGE + "88.": REPORT,
    STORAGE + "104.": DOCUMENT,
    STORAGE + "9.": WAVEFORM,
    STORAGE + "78.": MEASUREMENT,
    STORAGE + "79.": MEASUREMENT,
    STORAGE + "80.": MEASUREMENT,
    STORAGE + "200.": PHYSICS,
    "1.2.840.10008.5.1.4.34.": PLAN,
}


RT_IMAGES = (STORAGE + "481.1", STORAGE + "481.23", STORAGE + "481.24")


def no_image(sop_class: str) -> str:
    """What to say about a file of this SOP class that is never drawn; "" for classes that may hold an image."""
    if sop_class in RT_IMAGES:
        return ""
    found = WHOLE.get(sop_class) or next((BEGINNINGS[one] for one in BEGINNINGS if sop_class.startswith(one)), "")
    return f"This DICOM file is {found}" if found else ""
