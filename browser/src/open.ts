/** From files to scans: each file by its content, DICOM files of one series together, ZIP files unpacked. */
import { unzipSync } from "fflate";
import { drawnDeep, rangeOfDeep, type Deep } from "./deep";
import { DicomFile, seriesOf } from "./dicom";
import type { Range } from "./intensity";
import { readJpeg } from "./jpeg";
import { openNifti } from "./nifti";
import { readPng } from "./png";
import { isBlank, onBlack, type Raster } from "./raster";
import { Refusal, Stopped } from "./refusal";
import { byWords } from "./sequence";
import { kindOf } from "./sniff";
import { PLANE, type Slices } from "./slices";
import { TiffFile } from "./tiff";

const MOST_BYTES = 512 * 2 ** 20;
const MOST_UNPACKED = 1024 * 2 ** 20;
const MOST_MEMBERS = 20_000;

export interface NamedFile {
  name: string;
  size: number;
  bytes(): Promise<Uint8Array>;
}

export interface Scan {
  name: string; // of the file, or of the folder of a series
  files: string[]; // one for each slice of a series; else one
  slices: Slices;
}

export interface Refused {
  name: string;
  key: string;
  values: readonly string[];
}

/** name: of the file, which may say the sequence of a NIfTI volume, as BIDS has it. */
export async function openOne(bytes: Uint8Array, name: string): Promise<Slices> {
  const kind = kindOf(bytes);
  if (kind === "DICOM") return DicomFile.open(bytes);
  if (kind === "NIfTI" || kind === "gzip") {
    const volume = await openNifti(bytes);
    return { ...volume, sequence: volume.sequence || byWords(name.split("/").pop()!.split(".")[0]!) };
  }
  if (kind === "ZIP") throw new Refusal("nested");
  if (kind === "TIFF") return tiff(bytes);
  const found = kind === "PNG" ? readPng(bytes) : kind === "JPEG" ? await readJpeg(bytes) : await byBrowser(bytes, kind);
  const image = "opacity" in found ? drawnDeep(found) : found;
  if (isBlank(image)) throw new Refusal("blank");
  return { kind, planes: [{ name: PLANE, count: 1 }], notes: [], sequence: "", draw: () => image };
}

function tiff(bytes: Uint8Array): Slices {
  const file = new TiffFile(bytes);
  let range: Range | undefined;
  const pages = () => Array.from({ length: file.count }, (_, k) => file.read(k)).filter((page): page is Deep => "opacity" in page);
  const draw = (index: number): Raster => {
    const page = file.read(index);
    if (!("opacity" in page)) return page;
    if (file.count > 1) range ??= rangeOfDeep(pages());
    return drawnDeep(page, range);
  };
  if (file.count === 1 && isBlank(draw(0))) throw new Refusal("blank");
  return { kind: "TIFF", planes: [{ name: PLANE, count: file.count }], notes: [], sequence: "", draw: (_, index) => draw(index) };
}

/** BMP, GIF and WebP by the browser, without its colour management. */
async function byBrowser(bytes: Uint8Array, kind: string): Promise<Raster> {
  if (typeof createImageBitmap === "undefined") throw new Refusal("needsBrowser");
  let bitmap: ImageBitmap;
  try {
    const blob = new Blob([bytes as BlobPart], { type: `image/${kind.toLowerCase()}` });
    bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  } catch {
    throw new Refusal("broken", [kind]);
  }
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true })!;
  context.drawImage(bitmap, 0, 0);
  return onBlack(new Uint8Array(context.getImageData(0, 0, width, height).data.buffer), width, height, false);
}

/**
 * The scans in files, in the order of their names; what cannot be used is listed. DICOM files of one frame and one
 * series are one scan.
 */
export async function openMany(
  files: NamedFile[],
  onScan: (scan: Scan) => Promise<void>,
  onRefused: (refused: Refused) => void,
): Promise<void> {
  const series = new Map<string, { name: string; file: DicomFile }[]>();
  const natural = new Intl.Collator("en", { numeric: true });
  const refuse = (name: string, error: unknown) => {
    if (error instanceof Stopped) throw error;
    if (error instanceof Refusal) onRefused({ name, key: error.key, values: error.values });
    else onRefused({ name, key: "failed", values: [error instanceof Error ? error.message : String(error)] });
  };
  // Pixels are decoded when they are drawn: what cannot be is known then only, and the other files go on.
  const take = async (scan: Scan) => {
    try {
      await onScan(scan);
    } catch (error) {
      refuse(scan.name, error);
    }
  };
  for (const { name, bytes, size } of (await unpacked(files, refuse)).sort((a, b) => natural.compare(a.name, b.name))) {
    let slices: Slices;
    try {
      if (size > MOST_BYTES) throw new Refusal("fileTooLarge");
      slices = await openOne(await bytes(), name);
    } catch (error) {
      refuse(name, error);
      continue;
    }
    if (slices instanceof DicomFile && slices.header.frames.length === 1 && slices.header.series && slices.header.mosaic === null) {
      const key = slices.header.series;
      series.set(key, [...(series.get(key) ?? []), { name, file: slices }]);
    } else await take({ name, files: [name], slices });
  }
  for (const parts of series.values()) {
    if (parts.length === 1) await take({ name: parts[0]!.name, files: [parts[0]!.name], slices: parts[0]!.file });
    else {
      const slices = seriesOf(parts);
      await take({ name: commonFolder(slices.names), files: slices.names, slices });
    }
  }
}

async function unpacked(files: NamedFile[], refuse: (name: string, error: unknown) => void): Promise<NamedFile[]> {
  const found: NamedFile[] = [];
  for (const file of files) {
    if (/(?:^|\/)(?:\.|__MACOSX|Thumbs\.db|DICOMDIR$)/.test(file.name)) continue;
    if (!/\.zip$/i.test(file.name)) {
      found.push(file);
      continue;
    }
    try {
      if (file.size > MOST_BYTES) throw new Refusal("fileTooLarge");
      const bytes = await file.bytes();
      if (kindOf(bytes) !== "ZIP") throw new Refusal("broken", ["ZIP"]);
      let [members, sum] = [0, 0];
      const parts = unzipSync(bytes, {
        filter({ name, originalSize }) {
          if (name.endsWith("/") || /(?:^|\/)(?:\.|__MACOSX|Thumbs\.db|DICOMDIR$)/.test(name)) return false;
          sum += originalSize;
          if (++members > MOST_MEMBERS || sum > MOST_UNPACKED || originalSize > MOST_BYTES) throw new Refusal("archiveTooLarge");
          return true;
        },
      });
      for (const [name, part] of Object.entries(parts))
        found.push({ name: `${file.name}/${name}`, size: part.length, bytes: () => Promise.resolve(part) });
    } catch (error) {
      refuse(file.name, error instanceof Refusal ? error : new Refusal("broken", ["ZIP"]));
    }
  }
  return found;
}

function commonFolder(names: string[]): string {
  const folders = names.map((name) => name.split("/").slice(0, -1).join("/"));
  return folders.every((folder) => folder === folders[0]) && folders[0] ? folders[0] : `${names[0]!} …`;
}

