/** Every sentence of the page, English and German, and the sentences of an answer (`brainmri.demo.response_text`). */
import { roundHalfEven, type Answer } from "./answer";
import { fewSeen, tumoursLike } from "./kinds";
import type { Look } from "./looks";
import type { Model } from "./model";
import { UNKNOWN } from "./sequence";

export const LANGUAGES = ["en", "de"] as const;
export type Language = (typeof LANGUAGES)[number];
type Text = readonly [en: string, de: string];

const EXPORT: Text = [
  "Export it uncompressed (Explicit VR Little Endian) or save the image as PNG.",
  "Exportieren Sie sie unkomprimiert (Explicit VR Little Endian) oder speichern Sie das Bild als PNG.",
];
const USE: Text = [
  "Use PNG, JPEG, TIFF, BMP, WebP, GIF, DICOM or NIfTI (.nii, .nii.gz).",
  "Möglich sind PNG, JPEG, TIFF, BMP, WebP, GIF, DICOM und NIfTI (.nii, .nii.gz).",
];
const with_ = ([a, b]: Text, [c, d]: Text): Text => [`${a} ${c}`, `${b} ${d}`];

const TABLE = {
  title: ["Brain MRI slices, classified in your browser", "MRT-Schichten des Gehirns, im Browser klassifiziert"],
  what: [
    "What is this? A neural network names what a brain MRI slice looks most like: {0}.",
    "Was ist das? Ein neuronales Netz sagt, wem eine MRT-Schicht des Gehirns am meisten gleicht: {0}.",
  ],
  trust: [
    "Can I trust it? It was right for {0} of the test images of {1}; on images from elsewhere expect less. It is research software, not a medical device: do not use it for decisions about anyone’s health.",
    "Kann ich ihm trauen? Auf {0} der Testbilder von {1} lag es richtig; auf Bildern anderer Herkunft ist mit weniger zu rechnen. Es ist Forschungssoftware, kein Medizinprodukt: Stützen Sie keine Entscheidung über die Gesundheit eines Menschen darauf.",
  ],
  trustUnknown: [
    "Can I trust it? Nobody has measured how often this model is right. It is research software, not a medical device: do not use it for decisions about anyone’s health.",
    "Kann ich ihm trauen? Niemand hat gemessen, wie oft dieses Modell recht hat. Es ist Forschungssoftware, kein Medizinprodukt: Stützen Sie keine Entscheidung über die Gesundheit eines Menschen darauf.",
  ],
  where: [
    "Where does my picture go? Nowhere. It is computed on this device; nothing is sent and nothing is kept.",
    "Wohin geht mein Bild? Nirgendwohin. Gerechnet wird auf diesem Gerät; nichts wird gesendet, nichts aufbewahrt.",
  ],
  simulated: [
    "This model was trained on simulated slices only: what it says of a real image means nothing.",
    "Dieses Modell hat nur simulierte Schichten gesehen: Was es über ein echtes Bild sagt, bedeutet nichts.",
  ],
  noRecord: [
    "This model comes without a record of how far it can be trusted: its percentages are not calibrated, and it gives one of its classes to any image.",
    "Zu diesem Modell gibt es keine Angaben, wie weit man ihm trauen kann: Seine Prozente sind nicht kalibriert, und es ordnet jedem Bild eine seiner Klassen zu.",
  ],
  drop: ["Drop slices, a series or a volume here", "Schichten, eine Serie oder ein Volumen hier ablegen"],
  choose: ["Choose files", "Dateien wählen"],
  folder: ["Choose a folder", "Ordner wählen"],
  camera: ["Camera", "Kamera"],
  kinds: [
    "PNG, JPEG, TIFF (16 bits too), DICOM, NIfTI, ZIP. You can paste an image too.",
    "PNG, JPEG, TIFF (auch 16 Bit), DICOM, NIfTI, ZIP. Sie können auch ein Bild einfügen.",
  ],
  clear: ["Start again", "Von vorn"],
  undo: ["Undo: bring back what was put away", "Rückgängig: Weggelegtes wiederholen"],
  print: ["Print", "Drucken"],
  csv: ["Table as CSV", "Tabelle als CSV"],
  stop: ["Stop", "Anhalten"],
  language: ["Language", "Sprache"],
  loading: ["The model is loading …", "Das Modell wird geladen …"],
  ready: ["Ready: the connection can be closed now.", "Bereit: Die Verbindung kann jetzt getrennt werden."],
  cannotStart: ["The model cannot be started in this browser: {0}", "Das Modell startet in diesem Browser nicht: {0}"],
  reading: ["Reading {0} …", "{0} wird gelesen …"],
  progress: ["Slice {0} of {1}", "Schicht {0} von {1}"],
  stopped: ["Stopped after {0} slices.", "Nach {0} Schichten angehalten."],
  results: ["Answer", "Antwort"],
  slice: ["Slice", "Schicht"],
  plane: ["Plane", "Ebene"],
  axial: ["axial", "axial"],
  coronal: ["coronal", "koronal"],
  sagittal: ["sagittal", "sagittal"],
  "plane.slice": ["slices", "Schichten"],
  map: ["Evidence map", "Evidenzkarte"],
  mapOpacity: ["Strength of the map", "Stärke der Karte"],
  mapWords: [
    "Bright places speak for {0}. A map shows what the network used, not where a tumour is.",
    "Helle Stellen sprechen für {0}. Eine Karte zeigt, worauf das Netz sah, nicht, wo ein Tumor sitzt.",
  ],
  noMap: ["There is no map: nothing in the slice speaks for this class more than the rest.", "Keine Karte: Nichts in der Schicht spricht mehr als der Rest für diese Klasse."],
  imageOf: ["{0}, as the network sees it", "{0}, wie das Netz sie sieht"],
  probabilities: ["Probabilities", "Wahrscheinlichkeiten"],
  patient: ["The patient’s answer, from {0} slices", "Antwort für den Patienten, aus {0} Schichten"],
  patientTumour: ["Probability of a tumour: {0}. The likeliest single class: {1}.", "Wahrscheinlichkeit eines Tumors: {0}. Die wahrscheinlichste einzelne Klasse: {1}."],
  patientMost: ["Most like {0}: {1}.", "Am ehesten {0}: {1}."],
  patientAbove: ["This is above the model’s threshold of {0}.", "Das liegt über der Schwelle des Modells von {0}."],
  patientBelow: ["This is not above the model’s threshold of {0}.", "Das liegt nicht über der Schwelle des Modells von {0}."],
  patientOut: ["{0} of {1} slices are not like the training images and do not count.", "{0} von {1} Schichten gleichen den Trainingsbildern nicht und zählen nicht."],
  patientAllOut: ["None of the slices is like the training images, so this answer should not be used.", "Keine der Schichten gleicht den Trainingsbildern; diese Antwort sollte nicht verwendet werden."],
  interval: ["95\u00a0% of the slices lie between {0} and {1}.", "95\u00a0% der Schichten liegen zwischen {0} und {1}."],
  suspicious: ["Most suspicious slices", "Die auffälligsten Schichten"],
  figures: ["What the figures mean", "Was die Zahlen bedeuten"],
  figureEce: ["On the test images the percentages differ from the share of right answers by {0} points on average.", "Auf den Testbildern weichen die Prozente im Mittel um {0} Punkte vom Anteil richtiger Antworten ab."],
  figureCoverage: ["The plausible classes held the right one for {0} of the test images.", "Die plausiblen Klassen enthielten bei {0} der Testbilder die richtige."],
  figureScore: ["This image is {0} away from those of the training; above {1} an image is refused. {2} of the test images are refused too, and some pass that should not.", "Dieses Bild liegt {0} von denen des Trainings entfernt; ab {1} wird eines zurückgewiesen. Auch {2} der Testbilder werden zurückgewiesen, und manche gehen durch, die es nicht sollten."],
  figureInt8: ["The network’s weights have 8 bits here: on {1} test images its accuracy changed by {0} points, and {2} % of them were refused or answered as before.", "Die Gewichte des Netzes haben hier 8 Bit: Auf {1} Testbildern änderte sich die Trefferquote um {0} Punkte, und {2} % wurden wie zuvor beantwortet oder zurückgewiesen."],
  figureTimeGpu: ["{0} ms for this slice, on the graphics processor.", "{0} ms für diese Schicht, auf dem Grafikprozessor."],
  figureTime: ["{0} ms for this slice, with {1} threads.", "{0} ms für diese Schicht, mit {1} Threads."],
  notUsed: ["Not used", "Nicht verwendet"],
  file: ["File", "Datei"],
  answer: ["Answer", "Antwort"],
  probability: ["Probability", "Wahrscheinlichkeit"],
  plausible: ["Plausible classes", "Plausible Klassen"],
  like: ["Like the training images", "Den Trainingsbildern ähnlich"],
  yes: ["yes", "ja"],
  no: ["no", "nein"],
  several: ["{0} images and scans", "{0} Bilder und Aufnahmen"],
  firstRows: ["The first {0} rows are shown; the CSV file holds all.", "Die ersten {0} Zeilen; die CSV-Datei enthält alle."],
  about: ["Model: {0}.", "Modell: {0}."],
  noCamera: ["The camera cannot be used: {0}", "Die Kamera ist nicht zu gebrauchen: {0}"],
  take: ["Take the picture", "Aufnehmen"],
  close: ["Close", "Schließen"],

  refused: ["This is not like the images that the model was trained on, so its answer should not be used. It would have been: {0}, {1}.", "Das gleicht nicht den Bildern, mit denen das Modell trainiert wurde; seine Antwort sollte nicht verwendet werden. Sie wäre gewesen: {0}, {1}."],
  mostLike: ["Most like {0}: {1} ({2}).", "Am ehesten {0}: {1} ({2})."],
  calibrated: ["calibrated", "kalibriert"],
  notCalibrated: ["not calibrated", "nicht kalibriert"],
  alone: ["With {0} coverage the answer is this one alone.", "Mit {0} Überdeckung kommt nur diese Antwort infrage."],
  anyOf: ["With {0} coverage the answer can be any of the {1} classes.", "Mit {0} Überdeckung kann es jede der {1} Klassen sein."],
  oneOf: ["With {0} coverage the answer is one of: {1}.", "Mit {0} Überdeckung kommen infrage: {1}."],
  moreThan: ["more than 99\u00a0%", "mehr als 99\u00a0%"],
  lessThan: ["less than 1\u00a0%", "weniger als 1\u00a0%"],
  without: ["a slice without a tumour", "eine Schicht ohne Tumor"],
  with: ["a slice with a tumour", "eine Schicht mit Tumor"],
  glioma: ["a glioma", "ein Gliom"],
  meningioma: ["a meningioma", "ein Meningeom"],
  pituitary: ["a pituitary tumour", "ein Hypophysentumor"],
  otherClass: ["the class “{0}”", "die Klasse „{0}“"],
  or: [" or ", " oder "],
  doubtOutside: [
    "The type of tumour is doubtful: the image is unlike those of the training.",
    "Die Art des Tumors ist zweifelhaft: Das Bild gleicht nicht denen des Trainings.",
  ],
  doubtMeasured: [
    "The type of tumour is doubtful: where the image comes from is not known, and of the tumours from sites that training lacked {0} % [{1}, {2}] were given the right type.",
    "Die Art des Tumors ist zweifelhaft: Woher das Bild stammt, ist nicht bekannt, und von den Tumoren aus Kliniken, die im Training fehlten, erhielten {0} % [{1}, {2}] die richtige Art.",
  ],
  doubtUnknown: [
    "The type of tumour is doubtful: where the image comes from is not known, and nothing shows that types hold on images from elsewhere.",
    "Die Art des Tumors ist zweifelhaft: Woher das Bild stammt, ist nicht bekannt, und nichts zeigt, dass die Art auf Bildern anderer Herkunft stimmt.",
  ],
  lookFile: ["By its file {0}", "Laut Datei {0}"],
  lookPicture: ["Looks like {0}", "Dem Bild nach {0}"],
  lookToo: ["looks like {0}", "dem Bild nach {0}"],
  lookUnknown: ["Neither its sequence nor its plane can be told", "Weder Sequenz noch Ebene sind zu erkennen"],
  lookFew: [
    "few tumours of this kind were seen in training ({0} of {1} that were looked at)",
    "Im Training kamen wenige solche Tumoren vor ({0} von {1} betrachteten)",
  ],
  lookSeen: [
    "tumours of this kind were seen ({0} of {1} that were looked at)",
    "Solche Tumoren kamen im Training vor ({0} von {1} betrachteten)",
  ],
  someLook: ["On {0} of {1} slices: {2}", "Bei {0} von {1} Schichten: {2}"],
  "T1 with contrast": ["T1 with contrast", "T1 mit Kontrastmittel"],
  "T1 without contrast": ["T1 without contrast", "T1 ohne Kontrastmittel"],
  other: ["no T1, T2/PD or FLAIR", "weder T1 noch T2/PD noch FLAIR"],
  type: ["Type of tumour", "Art des Tumors"],
  doubtful: ["doubtful", "zweifelhaft"],
  counts: ["counts", "zählt"],
  look: ["Sequence, plane", "Sequenz, Ebene"],

  empty: ["The file is empty. Use another one.", "Die Datei ist leer. Nehmen Sie eine andere."],
  unknownKind: with_(["This is no kind of file that is known here.", "Diese Art Datei ist hier nicht bekannt."], USE),
  refusedDocument: with_(["This is a document.", "Das ist ein Dokument."], USE),
  refusedProgram: with_(["This is a program or a script.", "Das ist ein Programm oder ein Skript."], USE),
  refusedArchive: ["This is an archive of a kind that is not opened; a ZIP file is.", "Dieses Archiv wird nicht geöffnet; eine ZIP-Datei schon."],
  refusedBigTiff: ["This is a BigTIFF file, which is not opened. Save it as a usual TIFF or as PNG.", "Das ist eine BigTIFF-Datei, die nicht geöffnet wird. Speichern Sie sie als gewöhnliches TIFF oder PNG."],
  refusedJpeg2000: ["This is a JPEG 2000 file, which is not opened in the browser. Save it as PNG, or use `brainmri predict`.", "JPEG 2000 wird im Browser nicht geöffnet. Speichern Sie das Bild als PNG oder nehmen Sie `brainmri predict`."],
  refusedNetpbm: ["This is a PPM or PGM file, which is not opened in the browser. Save it as PNG, or use `brainmri predict`.", "PPM und PGM werden im Browser nicht geöffnet. Speichern Sie das Bild als PNG oder nehmen Sie `brainmri predict`."],
  broken: ["This {0} file is broken or cut off. Save it again, or use another one.", "Diese {0}-Datei ist beschädigt oder abgeschnitten. Speichern Sie sie neu oder nehmen Sie eine andere."],
  cutOff: ["This file is broken or cut off. Save it again, or use another one.", "Diese Datei ist beschädigt oder abgeschnitten. Speichern Sie sie neu oder nehmen Sie eine andere."],
  tooManyPixels: ["This image has more than 16,777,216 pixels. Make it smaller.", "Dieses Bild hat mehr als 16.777.216 Pixel. Verkleinern Sie es."],
  tooLong: ["This image is too long: at most 8,192 pixels on a side, and 64 times as long as wide, are read. Crop it.", "Dieses Bild ist zu lang: höchstens 8.192 Pixel je Seite und 64-mal so lang wie breit. Schneiden Sie es zu."],
  tooSmall: ["This image is too small: at least 8 x 8 pixels are needed. Use a larger one.", "Dieses Bild ist zu klein: Mindestens 8 x 8 Pixel sind nötig."],
  noNumbers: ["This image holds values that are no numbers (NaN) or infinite. Replace them and save it again.", "Dieses Bild enthält Werte, die keine Zahlen oder unendlich sind. Ersetzen Sie sie."],
  blank: ["Every pixel of this image is the same. Use one that shows something.", "Alle Pixel dieses Bildes sind gleich. Nehmen Sie eines, das etwas zeigt."],
  tiffStored: ["This TIFF file stores its pixels in a way that is not opened in the browser. Save it with LZW, or as PNG.", "Diese TIFF-Datei ist auf eine Weise gespeichert, die im Browser nicht geöffnet wird. Speichern Sie sie mit LZW oder als PNG."],
  jpegInk: ["This JPEG file has four inks (CMYK), which is not opened in the browser. Save it as PNG.", "Diese JPEG-Datei hat vier Druckfarben (CMYK). Speichern Sie sie als PNG."],
  jpegKind: ["This JPEG file is of a kind that is not opened (12 bits or lossless). Save it as PNG.", "Diese Art JPEG (12 Bit oder verlustfrei) wird nicht geöffnet. Speichern Sie das Bild als PNG."],
  needsBrowser: ["This kind of image needs a browser.", "Diese Art Bild braucht einen Browser."],
  nested: ["This is a ZIP file that is not called .zip, or lies in another one. Unpack it.", "Das ist eine ZIP-Datei, die nicht .zip heißt oder in einer anderen liegt. Entpacken Sie sie."],
  fileTooLarge: ["This file is larger than 512 MB, more than a browser can hold. Use `brainmri predict`.", "Diese Datei hat mehr als 512 MB, zu viel für einen Browser. Nehmen Sie `brainmri predict`."],
  archiveTooLarge: ["This archive unpacks to more than a browser can hold. Use `brainmri predict`.", "Dieses Archiv ist entpackt zu groß für einen Browser. Nehmen Sie `brainmri predict`."],
  volumeTooLarge: ["This volume is too large: at most 512 MB and 2,048 slices along an axis. Crop or resample it, or use `brainmri predict`.", "Dieses Volumen ist zu groß: höchstens 512 MB und 2.048 Schichten je Achse. Verkleinern Sie es oder nehmen Sie `brainmri predict`."],
  volumeTooSmall: ["This volume is too small: slices of 8 x 8 voxels are needed. Use a larger one.", "Dieses Volumen ist zu klein: Schichten von 8 x 8 Voxeln sind nötig."],
  blankVolume: ["Every voxel of this volume is the same. Use one that shows something.", "Alle Voxel dieses Volumens sind gleich. Nehmen Sie eines, das etwas zeigt."],
  noVolumeNumbers: ["This volume holds no numbers at all (only NaN or infinite values). Use another one.", "Dieses Volumen enthält keine Zahlen (nur NaN oder unendlich)."],
  tooFar: ["The values of this volume are too far apart, or too close, to be drawn. Rescale them.", "Die Werte dieses Volumens liegen zu weit auseinander oder zu eng beisammen. Skalieren Sie sie neu."],
  niftiColours: ["This NIfTI file holds colours or complex numbers. Use one that holds plain intensities.", "Diese NIfTI-Datei enthält Farben oder komplexe Zahlen. Nehmen Sie eine mit einfachen Helligkeiten."],
  niftiPair: ["This is one half of a NIfTI pair (.hdr and .img). Save both as a single .nii.gz file.", "Das ist die Hälfte eines NIfTI-Paars (.hdr und .img). Speichern Sie beide als eine .nii.gz-Datei."],
  notNifti: with_(["This is neither a NIfTI file nor anything else that is known here.", "Das ist weder NIfTI noch sonst etwas hier Bekanntes."], USE),
  dicomNoImage: ["This DICOM file holds no image of a scan (it may be a report, a plan, a segmentation or an index). Use the images of its series.", "Diese DICOM-Datei enthält kein Bild (vielleicht einen Bericht, Plan, eine Segmentierung oder ein Verzeichnis). Nehmen Sie die Bilder der Serie."],
  dicomDeflated: with_(["This DICOM file is packed as a whole (deflated), which is not opened.", "Diese DICOM-Datei ist als Ganzes gepackt (deflated)."], EXPORT),
  dicomPacked: with_(["This DICOM file is compressed or stored in a way that is not opened in the browser (such as HTJ2K, 12-bit JPEG and packed colours).", "Diese DICOM-Datei ist auf eine Weise komprimiert oder gespeichert, die im Browser nicht geöffnet wird (etwa HTJ2K, JPEG mit 12 Bit, gepackte Farben)."], EXPORT),
  dicomPalette: with_(["This DICOM file has colours by a palette that is missing, broken or segmented.", "Die Farbpalette dieser DICOM-Datei fehlt, ist beschädigt oder segmentiert."], EXPORT),
  dicomFrames: ["This DICOM file has more than 2,048 frames. Export the ones that matter.", "Diese DICOM-Datei hat mehr als 2.048 Bilder. Exportieren Sie die wichtigen."],
  dicomMosaic: ["This DICOM file is a Siemens mosaic that does not say how many slices it holds. Use the NIfTI volume that dcm2niix makes of it.", "Dieses Siemens-Mosaik sagt nicht, wie viele Schichten es enthält. Nehmen Sie das NIfTI-Volumen, das dcm2niix daraus macht."],
  localizer: ["It is an overview image (localizer), by which a scan is planned.", "Es ist ein Übersichtsbild (Localizer), mit dem eine Aufnahme geplant wird."],
  deviceCT: ["It is a CT image, not an MRI, by what the file says of itself.", "Laut Datei ist es ein CT-Bild, kein MRT."],
  devicePT: ["It is a PET image, not an MRI, by what the file says of itself.", "Laut Datei ist es ein PET-Bild, kein MRT."],
  deviceNM: ["It is a nuclear medicine image, not an MRI, by what the file says of itself.", "Laut Datei ist es ein Bild der Nuklearmedizin, kein MRT."],
  deviceUS: ["It is an ultrasound image, not an MRI, by what the file says of itself.", "Laut Datei ist es ein Ultraschallbild, kein MRT."],
  deviceX: ["It is an X-ray image, not an MRI, by what the file says of itself.", "Laut Datei ist es ein Röntgenbild, kein MRT."],
  devicePhoto: ["It is a photograph or a microscope’s image, not an MRI, by what the file says of itself.", "Laut Datei ist es ein Foto oder Mikroskopbild, kein MRT."],
  failed: ["This file cannot be read: {0}", "Diese Datei ist nicht zu lesen: {0}"],

  noSizes: ["The file does not say how large its voxels are; sides that are missing are taken as the smallest other one.", "Die Datei nennt nicht alle Maße ihrer Voxel; fehlende gelten als das kleinste andere."],
  noDirections: ["The file does not say which side is left; it is drawn as its voxels are stored.", "Die Datei sagt nicht, welche Seite links ist; gezeigt wird, wie gespeichert."],
  falseSizes: ["The distance between slices that the file states cannot be true; they are drawn in the proportions of a head.", "Der Schichtabstand in der Datei kann nicht stimmen; gezeigt wird in den Maßen eines Kopfes."],
  severalVolumes: ["The file holds several volumes; the first of them is used.", "Die Datei enthält mehrere Volumen; das erste wird verwendet."],
  blankVolumes: ["The file holds several volumes, of which the first are blank; the first one that shows something is used.", "Die Datei enthält mehrere Volumen, deren erste leer sind; das erste, das etwas zeigt, wird verwendet."],
  likeAMask: ["The volume holds a few whole numbers only, as a mask of lesions does, and no scan.", "Das Volumen enthält nur wenige ganze Zahlen, wie eine Maske, und keine Aufnahme."],
  severalStacks: ["The file holds several stacks of slices in one plane; the one with the most slices is used.", "Die Datei enthält mehrere Stapel einer Ebene; der mit den meisten Schichten wird verwendet."],
  severalPlanes: ["The file holds slices in several planes; that with the most slices is the first.", "Die Datei enthält Schichten mehrerer Ebenen; die mit den meisten steht vorn."],
  severalImages: ["The file holds several images of each slice; the first of them is used.", "Die Datei enthält mehrere Bilder je Schicht; das erste wird verwendet."],
  severalAtOnePlace: ["The series holds several images of a slice (time points, echoes, …); all of them are used.", "Die Serie enthält mehrere Bilder einer Schicht; alle werden verwendet."],
  guessedMosaic: ["The file is a Siemens mosaic that does not say how many slices it holds; they were told by its pixels.", "Dieses Siemens-Mosaik sagt nicht, wie viele Schichten es enthält; sie wurden an den Pixeln erkannt."],
} as const satisfies Record<string, Text>;

export type Key = keyof typeof TABLE;
export const texts: Record<string, Text> = TABLE;

export function say(language: Language, key: string, ...values: readonly string[]): string {
  const text = texts[key]?.[LANGUAGES.indexOf(language)] ?? key;
  return text.replace(/\{(\d)\}/g, (_, k: string) => values[Number(k)] ?? "");
}

/** What must be known of the model, which its file says in English; null where there is no translation. */
export function translated(language: Language, caution: string): string | null {
  return Object.values(texts).find(([english]) => english === caution)?.[LANGUAGES.indexOf(language)] ?? null;
}

const WITHOUT = new Set(["notumor", "notumour", "nontumor", "nontumour", "healthy", "normal", "no", "negative"]);
const OR = /(?:\s+|_|-)or(?:\s+|_|-)/i; // merged classes are called "a or b"
const ANY = new Set(["tumor", "tumour", "yes"]);

/** A class as one would say it: "a glioma", "a slice without a tumour", the class “astrocytoma T1”. */
export function inWords(language: Language, label: string): string {
  const parts = label.split(OR).map((part) => {
    const plain = part.trim().toLowerCase().replace(/[_-]/g, " ");
    if (WITHOUT.has(plain.replaceAll(" ", ""))) return say(language, "without");
    if (ANY.has(plain)) return say(language, "with");
    const known = plain.replace(/ tumou?r$/, "");
    return ["glioma", "meningioma", "pituitary"].includes(known)
      ? say(language, known)
      : say(language, "otherClass", part.trim());
  });
  return parts.length === 1 ? parts[0]! : parts.slice(0, -1).join(", ") + say(language, "or") + parts[parts.length - 1]!;
}

export function share(language: Language, value: number): string {
  if (value > 0.99) return say(language, "moreThan");
  return value < 0.01 ? say(language, "lessThan") : whole(value);
}

/** A share as a column of figures has it: "< 1 %". */
export function shortShare(value: number): string {
  return value > 0.99 ? ">\u00a099\u00a0%" : value < 0.01 ? "<\u00a01\u00a0%" : whole(value);
}

export function decimal(language: Language, value: number, digits: number): string {
  const text = value.toFixed(digits);
  return language === "de" ? text.replace(".", ",") : text;
}

export function whole(value: number): string {
  return `${points(value)}\u00a0%`;
}

const points = (value: number) => String(roundHalfEven(100 * value));

/** What an answer leaves open: the type of the tumour, and what the image looks like, a sentence each. */
export function doubtsOf(language: Language, answer: Answer, model: Model): string[] {
  return [...(answer.typeDoubtful ? [doubtOf(language, answer.outOfDistribution, model)] : []), lookSentence(language, answer.look, model)];
}

/** Why the type of a tumour is doubtful. */
export function doubtOf(language: Language, outside: boolean | null, model: Model): string {
  if (outside) return say(language, "doubtOutside");
  const types = model.kinds?.types;
  if (!types) return say(language, "doubtUnknown");
  const [low, high] = types.right_ci95 ?? [types.right, types.right];
  return say(language, "doubtMeasured", ...[types.right, low!, high!].map(points));
}

/** What a slice looks like, and how many tumours of this kind were seen in training (nothing without counts). */
export function lookSentence(language: Language, look: Look, model: Model): string {
  const told = lookInWords(language, look);
  const found = tumoursLike(model, look);
  if (!found) return `${told}.`;
  const count = (value: number) => value.toLocaleString(language);
  return `${told}: ${say(language, fewSeen(model, look) ? "lookFew" : "lookSeen", ...found.map(count))}.`;
}

/** "Looks like T2/PD, axial"; what the file says is not said to be an estimate. */
function lookInWords(language: Language, look: Look): string {
  const parts = (source: Look["planeFrom"]) =>
    ([[look.sequence, look.sequenceFrom], [look.plane, look.planeFrom]] as const)
      .filter(([value, from]) => value !== UNKNOWN && from === source)
      .map(([value]) => say(language, value))
      .join(", ");
  const [file, picture] = [parts("file"), parts("picture")];
  if (!file) return picture ? say(language, "lookPicture", picture) : say(language, "lookUnknown");
  return [say(language, "lookFile", file), ...(picture ? [say(language, "lookToo", picture)] : [])].join("; ");
}

/** The answer in one or two sentences, what matters most first. */
export function sentencesOf(language: Language, answer: Answer, model: Model): string {
  const what = inWords(language, answer.label);
  const p = share(language, answer.probabilities[model.classes.indexOf(answer.label)]!);
  if (answer.outOfDistribution) return say(language, "refused", what, p);
  const first = say(language, "mostLike", what, p, say(language, model.temperature === null ? "notCalibrated" : "calibrated"));
  return [first, setInWords(language, answer, model)].filter(Boolean).join(" ");
}

export function setInWords(language: Language, { predictionSet }: Answer, model: Model): string {
  if (!predictionSet || !model.conformal) return "";
  const coverage = whole(model.conformal.coverage);
  if (predictionSet.length === 1) return say(language, "alone", coverage);
  if (predictionSet.length === model.classes.length) return say(language, "anyOf", coverage, String(model.classes.length));
  return say(language, "oneOf", coverage, predictionSet.map((label) => inWords(language, label)).join(", "));
}
