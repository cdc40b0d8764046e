"""What a DICOM file says of its patient, its place and its series. Nothing of it may leave the program unhashed."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.datadict import tag_for_keyword
from pydicom.valuerep import TEXT_VR_DELIMS

from brainmri.io.dicom_elements import BROKEN, Element, Reader
from brainmri.io.limits import UploadError, reading
from brainmri.io.notes import STUDY

SCANNER = ("Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "StationName")
KEYWORDS = (
    *("PatientID", "SeriesInstanceUID", "StudyInstanceUID", "SOPInstanceUID", "InstitutionName", *SCANNER),
    *("SeriesDescription", "ProtocolName", "ImageType", "Modality", "SOPClassUID", "BurnedInAnnotation"),
    *("ConversionType", "SpecificCharacterSet"),
)
TAGS = {tag: name for name in KEYWORDS if (tag := tag_for_keyword(name))}
LAST = max(TAGS)  # elements stand in the order of their tags
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"  # and those of several frames below it
# ConversionType: of a workstation's screen, a scanned film or document, a drawing, a video. What else may be MRI.
CAPTURED = ("WSD", "DF", "SI", "SD", "DRW", "DV")
CAPTURE = (
    "It is a screen capture, or a picture that was scanned or converted (secondary capture), not a slice as the "
    "scanner made it. Use the series that it was made of; a slice that there is as such a picture only can be given as "
    "PNG."
)
LOCALIZER = "It is an overview image (localizer), by which a scan is planned."
# Other devices (DICOM PS3.3, C.7.3.1.1.1). Files without a code may be MRI.
DEVICES = {
    "CT": "a CT image",
    "PT": "a PET image",
    "NM": "a nuclear medicine image",
    "US": "an ultrasound image",
    **dict.fromkeys(("CR", "DX", "RG", "RF", "XA", "MG", "PX", "IO", "RTIMAGE"), "an X-ray image"),
    **dict.fromkeys(("OP", "OPT", "OAM", "ES", "GM", "SM", "XC"), "a photograph or a microscope's image"),
}
# What stands in the place of a PatientID that was removed: the same for different people.
PLACEHOLDERS = frozenset(
    {
        "",
        "0",
        "00000",
        "na",
        "n/a",
        "none",
        "null",
        "unknown",
        "anonymous",
        "anonymized",
        "anonymised",
        "anon",
        "removed",
    }
    | {"patient", "patientid", "deidentified", "de-identified", "redacted", "xxx", "xxxx", "test"}
)
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
ULTRASOUND = ("1.2.840.10008.5.1.4.1.1.6.1", "1.2.840.10008.5.1.4.1.1.3.1")


@dataclass(frozen=True)
class PatientHeader:
    """What is read beside the pixels. Its repr holds none of the texts.

    Attributes:
        patient, series, study, instance: identifiers; "" where the file has none.
        institution: its name, or "". scanner: maker, model and serial number, or the station's name; "" if none.
        descriptions: free texts by which a user may choose series.
        unsuited: why it is no slice of an MRI to classify, a sentence: an overview image by which a scan is planned
            (localizer), a screen capture, or another device's image. "" for what may be one.
        burnt_in: whether texts may stand in the pixels: the file says so, or it is a screenshot or ultrasound.
    """

    patient: str = field(repr=False)
    series: str = field(repr=False)
    study: str = field(repr=False)
    instance: str = field(repr=False)
    institution: str = field(repr=False)
    scanner: str = field(repr=False)
    descriptions: tuple[str, ...] = field(repr=False)
    unsuited: str = field(repr=False)
    burnt_in: bool

    @property
    def person(self) -> str:
        """What files of one patient share: the PatientID, or the study where that was removed; "" for nothing.

        Who gets it may hash it (`brainmri.data.pseudonyms`); it is never shown.
        """
        named = self.patient.casefold().strip(" .-_*") not in PLACEHOLDERS
        return self.patient if named else STUDY + self.study if self.study else ""


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
        unsuited=_unsuited(texts),
        burnt_in=texts["BurnedInAnnotation"].upper() == "YES"
        or _is_capture(kind)
        or kind in ULTRASOUND
        or texts["Modality"].upper() == "US"
        or bool(texts["ConversionType"]),
    )


def unsuited(data: bytes) -> str:
    """`PatientHeader.unsuited` of a DICOM file; "" for one whose header is broken, which may be drawn all the same."""
    try:
        return read_patient_header(data).unsuited
    except UploadError:
        return ""


def _unsuited(texts: dict[str, str]) -> str:
    words = [word.strip().replace("_", " ") for word in texts["ImageType"].upper().split("\\")]
    if "LOCALIZER" in words:
        return LOCALIZER
    kind, conversion = texts["SOPClassUID"], texts["ConversionType"].strip().upper()
    if "SCREEN SAVE" in words or conversion in CAPTURED or (_is_capture(kind) and texts["Modality"].upper() == "OT"):
        return CAPTURE
    device = "CT" if kind == CT_IMAGE or kind.startswith(CT_IMAGE + ".") else texts["Modality"].upper()
    return f"It is {DEVICES[device]}, not an MRI, by what the file says of itself." if device in DEVICES else ""


def _is_capture(kind: str) -> bool:
    return kind == SECONDARY_CAPTURE or kind.startswith(SECONDARY_CAPTURE + ".")


def _word(reader: Reader, found: dict[str, Element], name: str) -> str:
    return reader.word(found[name]) if name in found else ""
