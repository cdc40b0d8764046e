/** What a DICOM file says of its frames: `brainmri.io.dicom_header`. The patient's data are never read. */
import dicomParser, { type DataSet, type Element } from "dicom-parser";
import { isPlausible } from "./geometry";
import { grey } from "./intensity";
import type { Raster } from "./raster";
import { ofDicom } from "./sequence";

const SPACINGS = ["x00280030", "x00181164", "x00182010"];
const GROUPS = ["x00289110", "x00209116", "x00209113", "x00289132", "x00289145", "x00209111", "x00189114"];
const DECIMALS = [...SPACINGS, "x00200037", "x00200032", "x00180088", "x00281053", "x00281052", "x00281050", "x00281051"];
type Values = Map<string, number[] | string>;

export interface FrameHeader {
  orientation: number[] | null;
  position: number[] | null;
  pixels: [number, number] | null;
  stretch: [number, number]; // rows, columns
  slope: number;
  intercept: number;
  window: Window | null;
  moment: [number, number];
}

export interface FileHeader {
  series: string;
  number: number | null;
  frames: FrameHeader[];
  modality: LookUpTable | null;
  voi: LookUpTable | null;
  palette: LookUpTable[] | null;
  padding: [number, number] | null;
  mosaic: number | null;
  sequence: string; // by what the file says, "" where it does not
  unsuited: string; // key of a sentence, "" for what may be an MRI
}

export function wordOf(dataset: DataSet, tag: string): string {
  const element = dataset.elements[tag];
  if (!element || element.length > 1024) return "";
  let text = "";
  for (let k = 0; k < element.length; k++) text += String.fromCharCode(dataset.byteArray[element.dataOffset + k]!);
  return text.replace(/^[\0 ]+|[\0 ]+$/g, "");
}

export function decimals(dataset: DataSet, tag: string): number[] {
  const text = wordOf(dataset, tag);
  if (!text) return [];
  const found = text.split("\\").map((part) => (part.trim() ? Number(part) : NaN));
  return found.every(Number.isFinite) ? found : [];
}

const little = (dataset: DataSet) => dataset.byteArrayParser === dicomParser.littleEndianByteArrayParser;

export function words(dataset: DataSet, element: Element | undefined, kind: "US" | "SS" | "UL" | "SL" | "FL" | "FD"): number[] {
  if (!element) return [];
  const size = { US: 2, SS: 2, UL: 4, SL: 4, FL: 4, FD: 8 }[kind];
  const bytes = dataset.byteArray;
  const view = new DataView(bytes.buffer, bytes.byteOffset + element.dataOffset, element.length);
  const order = little(dataset);
  return Array.from({ length: Math.floor(element.length / size) }, (_, k) => {
    const at = k * size;
    switch (kind) {
      case "US":
        return view.getUint16(at, order);
      case "SS":
        return view.getInt16(at, order);
      case "UL":
        return view.getUint32(at, order);
      case "SL":
        return view.getInt32(at, order);
      case "FL":
        return view.getFloat32(at, order);
      case "FD":
        return view.getFloat64(at, order);
    }
  });
}

export function headerOf(dataset: DataSet, count: number, signed: boolean): FileHeader {
  const top = valuesOf(dataset);
  const shared = groups(dataset.elements["x52009229"])[0] ?? new Map();
  const own = groups(dataset.elements["x52009230"]);
  const common: Values = new Map([...top, ...shared]);
  const aspect = decimals(dataset, "x00280034");
  const one = frameHeader(common, aspect);
  const palette = [0, 1, 2].map((k) =>
    table(dataset, dataset.elements[`x0028110${k + 1}`], dataset.elements[`x0028120${k + 1}`], signed),
  );
  const number = decimals(dataset, "x00200013");
  return {
    series: wordOf(dataset, "x0020000e"),
    number: number.length ? Math.trunc(number[0]!) : null,
    frames: Array.from({ length: count }, (_, k) =>
      own[k]?.size ? frameHeader(new Map([...common, ...own[k]]), aspect) : one,
    ),
    modality: sequenceTable(dataset.elements["x00283000"], signed),
    voi: sequenceTable(dataset.elements["x00283010"], signed),
    palette: palette.every((part) => part) ? (palette as LookUpTable[]) : null,
    padding: padding(dataset, signed),
    mosaic: count === 1 ? mosaic(dataset) : null,
    sequence: ofDicom((tag) => wordOf(dataset, tag), (tag) => decimals(dataset, tag)[0]),
    unsuited: unsuited(dataset),
  };
}

function frameHeader(values: Values, aspect: number[]): FrameHeader {
  const numbers = (tag: string, length: number) => {
    const value = values.get(tag);
    return Array.isArray(value) && value.length >= length ? value.slice(0, length) : null;
  };
  const pixels = SPACINGS.map((tag) => numbers(tag, 2)).find((one) => one && isPlausible(one)) ?? null;
  const stretch = pixels ?? (aspect.length === 2 && isPlausible(aspect) ? aspect : [1, 1]);
  const [centre, width] = [numbers("x00281050", 1), numbers("x00281051", 1)];
  return {
    orientation: numbers("x00200037", 6),
    position: numbers("x00200032", 3),
    pixels: pixels as [number, number] | null,
    stretch: stretch as [number, number],
    slope: numbers("x00281053", 1)?.[0] || 1,
    intercept: numbers("x00281052", 1)?.[0] ?? 0,
    window: centre && width ? new Window(centre[0]!, width[0]!, String(values.get("x00281056") ?? "LINEAR")) : null,
    moment: [numbers("x00209128", 1)?.[0] ?? 0, numbers("x00189082", 1)?.[0] ?? 0],
  };
}

function valuesOf(dataset: DataSet): Values {
  const found: Values = new Map();
  for (const tag of DECIMALS) {
    const value = decimals(dataset, tag);
    if (value.length) found.set(tag, value);
  }
  const time = words(dataset, dataset.elements["x00209128"], "UL");
  if (time.length) found.set("x00209128", time);
  const echo = words(dataset, dataset.elements["x00189082"], "FD");
  if (echo.length) found.set("x00189082", echo);
  const form = wordOf(dataset, "x00281056");
  if (form) found.set("x00281056", form);
  return found;
}

function groups(sequence: Element | undefined): Values[] {
  return (sequence?.items ?? []).map((item) => {
    const values: Values = new Map();
    for (const tag of GROUPS) {
      const inner = item.dataSet?.elements[tag]?.items?.[0]?.dataSet;
      if (inner) for (const [key, value] of valuesOf(inner)) values.set(key, value);
    }
    return values;
  });
}

function padding(dataset: DataSet, signed: boolean): [number, number] | null {
  for (const [tag, kind] of [["x00280122", "FL"], ["x00280123", "FD"]] as const) {
    const value = words(dataset, dataset.elements[tag], kind);
    if (value.length) return [value[0]!, value[0]!];
  }
  const ends = ["x00280120", "x00280121"].flatMap((tag) => {
    const element = dataset.elements[tag];
    const kind = element && ({ 2: signed ? "SS" : "US", 4: signed ? "SL" : "UL" } as const)[element.length];
    return kind ? words(dataset, element, kind).slice(0, 1) : [];
  });
  return ends.length ? [Math.min(...ends), Math.max(...ends)] : null;
}

function mosaic(dataset: DataSet): number | null {
  if (!wordOf(dataset, "x00080008").split("\\").includes("MOSAIC")) return null;
  const stated = words(dataset, dataset.elements["x0019100a"], "US")[0];
  return stated && stated < 10_000 ? stated : csaCount(dataset);
}

/** NumberOfImagesInMosaic in Siemens' own header ("SV10"); 0 where it does not stand there. */
function csaCount(dataset: DataSet): number {
  const element = dataset.elements["x00291010"];
  if (!element) return 0;
  const bytes = dataset.byteArray.subarray(element.dataOffset, element.dataOffset + element.length);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    if (String.fromCharCode(...bytes.subarray(0, 4)) !== "SV10") return 0;
    const many = view.getUint32(8, true);
    for (let k = 0, at = 16; k < Math.min(many, 1000); k++) {
      const name = String.fromCharCode(...bytes.subarray(at, at + 64)).split("\0")[0];
      const items = view.getInt32(at + 76, true);
      at += 84;
      for (let n = 0; n < items; n++) {
        const length = view.getInt32(at + 4, true);
        const value = String.fromCharCode(...bytes.subarray(at + 16, at + 16 + Math.min(length, 32))).split("\0")[0]!.trim();
        if (name === "NumberOfImagesInMosaic" && value) return Number.parseInt(value) || 0;
        at += 16 + Math.ceil(Math.max(length, 0) / 4) * 4;
      }
    }
  } catch {
    return 0; // of another maker, or broken
  }
  return 0;
}

function unsuited(dataset: DataSet): string {
  if (wordOf(dataset, "x00080008").toUpperCase().split("\\").includes("LOCALIZER")) return "localizer";
  const kind = wordOf(dataset, "x00080016");
  const ct = "1.2.840.10008.5.1.4.1.1.2";
  const device = kind === ct || kind.startsWith(`${ct}.`) ? "CT" : wordOf(dataset, "x00080060").toUpperCase();
  if (["CT", "PT", "NM", "US"].includes(device)) return `device${device}`;
  if (["CR", "DX", "RG", "RF", "XA", "MG", "PX", "IO", "RTIMAGE"].includes(device)) return "deviceX";
  return ["OP", "OPT", "OAM", "ES", "GM", "SM", "XC"].includes(device) ? "devicePhoto" : "";
}

export class LookUpTable {
  readonly ends: [number, number];

  constructor(
    private readonly entries: ArrayLike<number>,
    private readonly first: number,
    private readonly bits: number,
  ) {
    const all = Array.from(entries);
    this.ends = [all.reduce((a, b) => Math.min(a, b)), all.reduce((a, b) => Math.max(a, b))];
  }

  at(value: number): number {
    return this.entries[Math.min(Math.max(Math.round(value) - this.first, 0), this.entries.length - 1)]!;
  }

  /** As 8 bits. Some files state 16 bits for entries of 8. */
  level(value: number): number {
    const shift = this.ends[1] > 255 ? Math.max(0, this.bits - 8) : 0;
    return Math.min(Math.max(this.at(value) >> shift, 0), 255);
  }
}

function table(dataset: DataSet, descriptor: Element | undefined, data: Element | undefined, signed: boolean): LookUpTable | null {
  if (!descriptor || !data || !data.length || data.length > 2 ** 18) return null;
  const [stated, start, bits] = words(dataset, descriptor, "US");
  if (bits === undefined || bits < 1 || bits > 16) return null;
  const count = stated || 65536;
  const first = start! >= 32768 && (signed || descriptor.vr === "SS") ? start! - 65536 : start!;
  let entries: number[];
  if (data.length >= 2 * count) entries = words(dataset, data, "US").slice(0, count);
  else if (data.length >= count && bits <= 8) entries = words(dataset, data, "US").flatMap((word) => [word & 255, word >> 8]);
  else return null;
  entries = entries.slice(0, count);
  if (entries.length < count || entries.every((entry) => entry === entries[0])) return null;
  return new LookUpTable(entries, first, bits);
}

function sequenceTable(sequence: Element | undefined, signed: boolean): LookUpTable | null {
  const item = sequence?.items?.[0]?.dataSet;
  return item ? table(item, item.elements["x00283002"], item.elements["x00283006"], signed) : null;
}

/** What is shown between black and white (DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3). */
export class Window {
  constructor(
    private readonly centre: number,
    private readonly width: number,
    private readonly form: string,
  ) {}

  private get ends(): [number, number] | null {
    const { centre, width } = this;
    if (this.form === "LINEAR_EXACT" || this.form === "SIGMOID") return width > 0 ? [centre - width / 2, centre + width / 2] : null;
    return width > 1 ? [centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2] : null;
  }

  shows(lowest: number, highest: number): boolean {
    if (!this.ends) return false;
    const [low, high] =
      this.form === "SIGMOID" ? [this.centre - 2 * this.width, this.centre + 2 * this.width] : this.ends;
    return Math.max(low, lowest) < Math.min(high, highest);
  }

  image(values: Float64Array, width: number, height: number): Raster {
    if (this.form === "SIGMOID")
      return grey(values.map((value) => 1 / (1 + Math.exp((-4 * (value - this.centre)) / this.width))), width, height, 0, 1);
    return grey(values, width, height, ...(this.ends ?? [0, 0]));
  }
}
