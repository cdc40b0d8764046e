"""What a DICOM file says of its patient, its place and its series. Nothing of it may leave the program unhashed."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.datadict import tag_for_keyword
from pydicom.valuerep import TEXT_VR_DELIMS

from brainmri.io.dicom_elements import BROKEN, Element, Reader
from brainmri.io.limits import reading

SCANNER = ("Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "StationName")
KEYWORDS = (
    *("PatientID", "SeriesInstanceUID", "StudyInstanceUID", "SOPInstanceUID", "InstitutionName", *SCANNER),
    *("SeriesDescription", "ProtocolName", "ImageType", "Modality", "SOPClassUID", "BurnedInAnnotation"),
    *("ConversionType", "SpecificCharacterSet"),
)
TAGS = {tag: name for name in KEYWORDS if (tag := tag_for_keyword(name))}
LAST = max(TAGS)  # elements stand in the order of their tags
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"  # and those that begin so, of several frames
ULTRASOUND = ("1.2.840.10008.5.1.4.1.1.6.1", "1.2.840.10008.5.1.4.1.1.3.1")


@dataclass(frozen=True)
class PatientHeader:
    """What is read beside the pixels. Its repr holds none of the texts.

    Attributes:
        patient, series, study, instance: identifiers; "" where the file has none.
        institution: its name, or "". scanner: maker, model and serial number, or the station's name; "" if none.
        descriptions: free texts by which a user may choose series.
        localizer: whether it is an overview image, by which a scan is planned.
        burnt_in: whether texts may stand in the pixels: the file says so, or it is a screenshot or ultrasound.
    """

    patient: str = field(repr=False)
    series: str = field(repr=False)
    study: str = field(repr=False)
    instance: str = field(repr=False)
    institution: str = field(repr=False)
    scanner: str = field(repr=False)
    descriptions: tuple[str, ...] = field(repr=False)
    localizer: bool
    burnt_in: bool


def read_patient_header(data: bytes) -> PatientHeader:
    """The header of a DICOM file.

    Raises:
        UploadError: if it is broken.
    """
    with reading(BROKEN):
        reader = Reader(data)
        found: dict[str, Element] = {}
        for element in reader.elements(reader.start(), len(data)):
            if element.tag > LAST:
                break
            if element.tag in TAGS:
                found.setdefault(TAGS[element.tag], element)
        encodings = convert_encodings(_word(reader, found, "SpecificCharacterSet").split("\\"))
        texts = dict.fromkeys(KEYWORDS, "")
        for name, element in found.items():
            texts[name] = decode_bytes(reader.raw(element), encodings, TEXT_VR_DELIMS).strip(" \0")
    maker, model, serial, station = (texts[name] for name in SCANNER)
    kind = texts["SOPClassUID"]
    return PatientHeader(
        patient=texts["PatientID"],
        series=texts["SeriesInstanceUID"],
        study=texts["StudyInstanceUID"],
        instance=texts["SOPInstanceUID"],
        institution=texts["InstitutionName"],
        scanner="\\".join([maker, model, serial or station]).strip("\\"),
        descriptions=tuple(text for text in (texts["SeriesDescription"], texts["ProtocolName"]) if text),
        localizer="LOCALIZER" in texts["ImageType"].upper().split("\\"),
        burnt_in=texts["BurnedInAnnotation"].upper() == "YES"
        or kind.startswith(SECONDARY_CAPTURE)
        or kind in ULTRASOUND
        or texts["Modality"].upper() == "US"
        or bool(texts["ConversionType"]),
    )


def _word(reader: Reader, found: dict[str, Element], name: str) -> str:
    return reader.word(found[name]) if name in found else ""
