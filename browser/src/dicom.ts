/** DICOM files and series: `brainmri.io.dicom` and `brainmri.io.scan.open_series`. */
import dicomParser, { type DataSet, type Element } from "dicom-parser";
import { Decoder as LosslessDecoder } from "jpeg-lossless-decoder-js";
import { asset } from "./assets";
import { headerOf, wordOf, words, type FileHeader, type FrameHeader } from "./dicomheader";
import { along, sameDirection, squareSize, turned, viewOf, type View } from "./geometry";
import { Tally, backgroundEdge, grey, type Numbers, type Range } from "./intensity";
import { jpegHeader, readJpeg } from "./jpeg";
import { MIN_SIDE, MOST_PIXELS, isBlank, isTooLong, type Raster } from "./raster";
import { Refusal } from "./refusal";
import { resize } from "./resize";
import { PLANE, type Slices } from "./slices";
import { packBits } from "./tiff";
import { checkSize } from "./png";

const [IMPLICIT, EXPLICIT, BIG, DEFLATED, RLE] = [
  "1.2.840.10008.1.2",
  "1.2.840.10008.1.2.1",
  "1.2.840.10008.1.2.2",
  "1.2.840.10008.1.2.1.99",
  "1.2.840.10008.1.2.5",
];
const JPEG = "1.2.840.10008.1.2.4.50";
const LOSSLESS = ["1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"];
const JPEG_LS = ["1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"];
const JPEG_2000 = ["1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"];
const SAME_PLACE = 0.01;
const MOST_FRAMES = 2048;
const NO_IMAGE = /^1\.2\.840\.10008\.(?:1\.3\.10$|5\.1\.4\.34\.|5\.1\.4\.1\.1\.(?:66|67|68\.1|4\.2|481\.[2-9]|11\.|88\.|104\.|9\.|78\.|79\.|80\.|200\.))/;

interface Stored {
  values: Numbers; // (H, W) or, for colours, (H, W, 3)
  colours: boolean;
}

export class DicomFile implements Slices {
  readonly kind = "DICOM";
  readonly notes: string[] = [];
  readonly header: FileHeader;
  private readonly rows: number;
  private readonly columns: number;
  private readonly samples: number;
  private readonly allocated: number;
  private readonly bits: number;
  private readonly lowest: number;
  private readonly signed: boolean;
  private readonly meaning: string;
  private readonly syntax: string;
  private readonly pixelData: Element;
  private readonly count: number;
  private readonly dataset: DataSet;
  private readonly kept = new Map<number, Stored>();
  private order: Map<string, number[]> = new Map();
  private side = 0;
  private range: Promise<Range | null> | null = null;

  private constructor(dataset: DataSet) {
    this.dataset = dataset;
    const number = (tag: string) => words(dataset, dataset.elements[tag], "US")[0];
    this.syntax = wordOf(dataset, "x00020010") || IMPLICIT;
    if (this.syntax === DEFLATED) throw new Refusal("dicomDeflated");
    if (NO_IMAGE.test(wordOf(dataset, "x00080016"))) throw new Refusal("dicomNoImage");
    const pixelData = dataset.elements["x7fe00010"] ?? dataset.elements["x7fe00008"] ?? dataset.elements["x7fe00009"];
    if (!pixelData) throw new Refusal("dicomNoImage");
    this.pixelData = pixelData;
    this.rows = number("x00280010") ?? 0;
    this.columns = number("x00280011") ?? 0;
    this.samples = number("x00280002") ?? 1;
    this.allocated = number("x00280100") ?? 0;
    this.bits = number("x00280101") || this.allocated;
    this.lowest = Math.max(0, (number("x00280102") ?? this.bits - 1) + 1 - this.bits);
    this.signed = number("x00280103") === 1;
    this.meaning = wordOf(dataset, "x00280004");
    const frames = Number.parseInt(wordOf(dataset, "x00280008") || "1");
    this.count = frames;
    if (!(frames >= 1) || !this.rows || !this.columns || !this.samples) throw new Refusal("broken", ["DICOM"]);
    if (frames > MOST_FRAMES) throw new Refusal("dicomFrames");
    if (dataset.elements["x00281221"] && this.meaning === "PALETTE COLOR") throw new Refusal("dicomPalette");
    checkSize(this.columns, this.rows, this.samples);
    this.header = headerOf(dataset, frames, this.signed);
    if (this.header.unsuited) throw new Refusal(this.header.unsuited);
  }

  static async open(bytes: Uint8Array): Promise<DicomFile> {
    const [whole, options] = withHead(bytes);
    let dataset: DataSet;
    try {
      dataset = dicomParser.parseDicom(whole, options as never);
    } catch (error) {
      // What stands behind the pixels does not matter: a file that is a TIFF too has its directory there.
      const read = (error as { dataSet?: DataSet }).dataSet;
      if (!read?.elements["x7fe00010"]) throw new Refusal("broken", ["DICOM"]);
      dataset = read;
      const head = dicomParser.readPart10Header(whole, options as never);
      if (head.elements["x00020010"]) dataset.elements["x00020010"] = head.elements["x00020010"];
    }
    const file = new DicomFile(dataset);
    await file.arrange();
    return file;
  }

  get sequence(): string {
    return this.header.sequence;
  }

  get planes(): { name: string; count: number }[] {
    return [...this.order].map(([name, frames]) => ({ name, count: frames.length }));
  }

  /** The frame header of the first slice. */
  get place(): FrameHeader {
    return this.header.frames[this.side ? 0 : [...this.order.values()][0]![0]!]!;
  }

  async draw(plane: string, index: number): Promise<Raster> {
    const image = await this.slice(plane, index);
    const all = [...this.order.values()].reduce((sum, frames) => sum + frames.length, 0);
    if (all === 1 && isBlank(image)) throw new Refusal("blank");
    return image;
  }

  /** As `draw`, also where all pixels are the same. range: of the series, in the place of the file's own. */
  async slice(plane: string, index: number, range?: () => Promise<Range | null>): Promise<Raster> {
    const frame = this.order.get(plane)![index]!;
    const header = this.header.frames[this.side ? 0 : frame]!;
    const view = viewOf(header.orientation);
    const image = await this.image(await this.tileOrFrame(frame), header, view, range ?? (() => this.ownRange()));
    let [rows, columns] = header.stretch;
    if (view?.transposed) [rows, columns] = [columns, rows];
    const size = squareSize(image.width, image.height, columns, rows);
    const same = size[0] === image.width && size[1] === image.height;
    return same || isTooLong(...size) || size[0] * size[1] > MOST_PIXELS ? image : resize(image, ...size);
  }

  /** Count the scaled values of all slices but padding. */
  async addTo(tally: Tally): Promise<void> {
    for (const frames of this.order.values())
      for (const frame of frames) {
        const { values, colours } = await this.tileOrFrame(frame);
        const header = this.header.frames[this.side ? 0 : frame]!;
        if (!colours) tally.add(values, this.brightness(header), (value) => this.isPadding(value));
      }
  }

  private ownRange(): Promise<Range | null> {
    this.range ??= (async () => {
      const tally = new Tally(this.inverted);
      await this.addTo(tally);
      return tally.range();
    })();
    return this.range;
  }

  private scale(header: FrameHeader): (value: number) => number {
    const { modality } = this.header;
    const isFloat = this.pixelData.tag !== "x7fe00010";
    if (modality && !isFloat) return (value) => modality.at(value);
    return (value) => value * header.slope + header.intercept;
  }

  /** Whether the lowest value is white. */
  get inverted(): boolean {
    return this.meaning === "MONOCHROME1";
  }

  /** As `scale`, or its negative where low values are bright. */
  private brightness(header: FrameHeader): (value: number) => number {
    const scaled = this.scale(header);
    return this.inverted ? (value) => -scaled(value) : scaled;
  }

  private isPadding(value: number): boolean {
    const { padding } = this.header;
    return padding !== null && value >= padding[0] && value <= padding[1];
  }

  private async image(
    stored: Stored,
    header: FrameHeader,
    view: View | null,
    range: () => Promise<Range | null>,
  ): Promise<Raster> {
    const channels = stored.colours ? 3 : 1;
    let { values } = stored;
    let [width, height] = this.side ? [this.columns / this.side, this.rows / this.side] : [this.columns, this.rows];
    if (view) {
      const make = (length: number) => new (values.constructor as new (length: number) => Numbers)(length);
      ({ values, width, height } = turned<Numbers>(values, width, height, channels, view, make));
    }
    if (stored.colours) {
      const unit = 2 ** Math.max(0, this.bits - 8);
      const data = Uint8Array.from(values, (value) => Math.min(Math.max(Math.floor(value / unit), 0), 255));
      return { width, height, channels: 3, data };
    }
    if (this.meaning === "PALETTE COLOR") {
      const { palette } = this.header;
      if (!palette) throw new Refusal("dicomPalette");
      const data = new Uint8Array(3 * width * height);
      for (let k = 0; k < values.length; k++) palette.forEach((part, c) => (data[3 * k + c] = part.level(values[k]!)));
      return { width, height, channels: 3, data };
    }
    const scaled = Float64Array.from(values, this.scale(header));
    let [lowest, highest] = [Infinity, -Infinity];
    for (let k = 0; k < scaled.length; k++)
      if (!this.isPadding(values[k]!)) {
        if (!Number.isFinite(scaled[k]!)) throw new Refusal("noNumbers");
        lowest = Math.min(lowest, scaled[k]!);
        highest = Math.max(highest, scaled[k]!);
      }
    const image = await this.grey(scaled, width, height, lowest, highest, header, range);
    if (this.header.padding) values.forEach((value, k) => this.isPadding(value) && (image.data[k] = 0));
    return image;
  }

  private async grey(
    scaled: Float64Array,
    width: number,
    height: number,
    lowest: number,
    highest: number,
    header: FrameHeader,
    range: () => Promise<Range | null>,
  ): Promise<Raster> {
    const { voi } = this.header;
    if (voi && lowest <= highest) {
      const entries = scaled.map((value) => voi.at(value));
      if (entries.some((entry) => entry !== entries[0])) return this.positive(grey(entries, width, height, ...voi.ends));
    }
    if (lowest <= highest && header.window?.shows(lowest, highest))
      return this.positive(header.window.image(scaled, width, height));
    const bright = this.inverted ? scaled.map((value) => -value) : scaled;
    return grey(bright, width, height, ...((await range()) ?? ([0, 0] as const)));
  }

  /** With white for the highest brightness. */
  private positive(image: Raster): Raster {
    if (this.inverted) image.data.forEach((value, k) => (image.data[k] = 255 - value));
    return image;
  }

  private async tileOrFrame(index: number): Promise<Stored> {
    if (!this.side) return this.frame(index);
    const { values } = await this.frame(0);
    return { values: tile(values, this.columns, this.rows, this.side, index), colours: false };
  }

  private async frame(index: number): Promise<Stored> {
    const known = this.kept.get(index);
    if (known) return known;
    const found = await this.decoded(index);
    if (this.kept.size < 256) this.kept.set(index, found);
    return found;
  }

  private async decoded(index: number): Promise<Stored> {
    const { rows, columns, samples, allocated, dataset, pixelData } = this;
    const area = rows * columns;
    if (pixelData.tag !== "x7fe00010") {
      const size = pixelData.tag === "x7fe00008" ? 4 : 8;
      const bytes = this.plain(index * area * size, area * size);
      return { values: size === 4 ? new Float32Array(bytes) : new Float64Array(bytes), colours: false };
    }
    if (this.syntax === JPEG || LOSSLESS.includes(this.syntax) || this.syntax === RLE) {
      const packed = this.packed(index);
      if (this.syntax === RLE) return this.sampled(runLengths(packed, area, samples, allocated), true);
      const head = jpegHeader(packed);
      if (head.width !== columns || head.height !== rows || head.channels !== samples) throw new Refusal("broken", ["DICOM"]);
      if (this.syntax === JPEG) {
        // Red, green and blue as they are, which the decoder would take for other colours.
        if (samples === 3 && this.meaning === "RGB") throw new Refusal("dicomPacked");
        const { data, channels } = await readJpeg(packed);
        return { values: data, colours: channels === 3 };
      }
      if (samples !== 1) throw new Refusal("dicomPacked");
      let raw: ArrayBuffer;
      try {
        raw = new LosslessDecoder().decompress(packed.slice().buffer) as ArrayBuffer;
      } catch {
        throw new Refusal("broken", ["DICOM"]);
      }
      if (raw.byteLength < area * (head.bits > 8 ? 2 : 1)) throw new Refusal("broken", ["DICOM"]);
      const read = head.bits > 8 ? new Uint16Array(raw, 0, area) : new Uint8Array(raw, 0, area);
      return { values: this.ownBits(read), colours: false };
    }
    const isLs = JPEG_LS.includes(this.syntax);
    if (isLs || JPEG_2000.includes(this.syntax)) {
      const packed = this.packed(index);
      const head = isLs ? jpegHeader(packed) : jpeg2000Header(packed);
      if (head.width !== columns || head.height !== rows || head.channels !== samples) throw new Refusal("broken", ["DICOM"]);
      if (samples !== 1) throw new Refusal("dicomPacked");
      const codec = isLs ? "jpegls" : "jpeg2000";
      const { decode } = await import("brainmri-codecs");
      const read = await decode(codec, await asset(`${codec}.wasm`), packed, columns, rows);
      if (!read || 8 * read.BYTES_PER_ELEMENT > allocated) throw new Refusal("broken", ["DICOM"]);
      return { values: this.ownBits(allocated > 8 && read.BYTES_PER_ELEMENT === 1 ? Uint16Array.from(read) : read), colours: false };
    }
    if (![IMPLICIT, EXPLICIT, BIG].includes(this.syntax)) throw new Refusal("dicomPacked");
    if (allocated === 1) throw new Refusal("dicomPacked");
    const size = allocated / 8;
    if (![1, 2, 4].includes(size)) throw new Refusal("dicomPacked");
    if (this.meaning === "YBR_FULL_422") throw new Refusal("dicomPacked");
    const bytes = new Uint8Array(this.plain(index * area * samples * size, area * samples * size));
    const isPlanar = words(dataset, dataset.elements["x00280006"], "US")[0] === 1;
    return this.sampled(bytes, isPlanar);
  }

  private sampled(bytes: Uint8Array, isPlanar: boolean): Stored {
    const { samples, allocated } = this;
    const area = this.rows * this.columns;
    const { buffer } = bytes as Uint8Array<ArrayBuffer>;
    const words = allocated === 8 ? new Uint8Array(buffer) : allocated === 16 ? new Uint16Array(buffer) : new Uint32Array(buffer);
    if (samples === 1) return { values: this.ownBits(words), colours: false };
    if (samples !== 3) throw new Refusal("dicomPacked");
    const found = isPlanar ? words.map((_, k) => words[(k % 3) * area + Math.floor(k / 3)]!) : words;
    if (this.meaning === "YBR_FULL") {
      const held = (value: number) => Math.min(Math.max(Math.floor(value + 0.5), 0), 255);
      for (let k = 0; k < found.length; k += 3) {
        const [y, b, r] = [found[k]!, found[k + 1]! - 128, found[k + 2]! - 128];
        found[k] = held(y + 1.402 * r);
        found[k + 1] = held(y - (0.114 * 1.772 / 0.587) * b - (0.299 * 1.402 / 0.587) * r);
        found[k + 2] = held(y + 1.772 * b);
      }
    }
    return { values: found, colours: true };
  }

  /** Without the bits above and below those stored, in which old files keep overlays; with their sign. */
  private ownBits(read: Uint8Array | Uint16Array | Uint32Array): Numbers {
    const width = 8 * read.BYTES_PER_ELEMENT;
    const { buffer, byteOffset, length } = read as Uint8Array<ArrayBuffer>;
    const kinds = { 8: [Uint8Array, Int8Array], 16: [Uint16Array, Int16Array], 32: [Uint32Array, Int32Array] } as const;
    const [plain, negative] = kinds[width as 8 | 16 | 32];
    const values = new (this.signed ? negative : plain)(buffer, byteOffset, length);
    const above = width - this.bits - this.lowest;
    if (above < 0 || this.bits >= width) return values;
    const most = 2 ** this.bits;
    for (let k = 0; k < values.length; k++) {
      let value = Math.floor((read[k]! >>> 0) / 2 ** this.lowest) % most;
      if (this.signed && value >= most / 2) value -= most;
      values[k] = value;
    }
    return values;
  }

  /** Uncompressed bytes, little-endian. */
  private plain(start: number, length: number): ArrayBuffer {
    const { pixelData, dataset } = this;
    if (pixelData.encapsulatedPixelData || start + length > pixelData.length) throw new Refusal("broken", ["DICOM"]);
    const at = pixelData.dataOffset + start;
    if (at + length > dataset.byteArray.length) throw new Refusal("broken", ["DICOM"]);
    const found = dataset.byteArray.slice(at, at + length);
    const size = pixelData.tag === "x7fe00008" ? 4 : pixelData.tag === "x7fe00009" ? 8 : this.allocated / 8;
    if (this.syntax === BIG && size > 1)
      for (let k = 0; k < length; k += size) found.subarray(k, k + size).reverse();
    return found.buffer as ArrayBuffer;
  }

  private packed(index: number): Uint8Array {
    const { dataset, pixelData, count } = this;
    const fragments = pixelData.fragments ?? [];
    try {
      if (pixelData.basicOffsetTable?.length)
        return dicomParser.readEncapsulatedImageFrame(dataset, pixelData, index) as Uint8Array;
      if (count === 1) return dicomParser.readEncapsulatedPixelDataFromFragments(dataset, pixelData, 0, fragments.length) as Uint8Array;
      if (fragments.length === count) return dicomParser.readEncapsulatedPixelDataFromFragments(dataset, pixelData, index) as Uint8Array;
    } catch {
      throw new Refusal("broken", ["DICOM"]);
    }
    throw new Refusal("broken", ["DICOM"]);
  }

  /** Which frames are the slices of which plane, in their order: `brainmri.io.dicom_stacks`. */
  private async arrange(): Promise<void> {
    const { frames, mosaic } = this.header;
    const views = frames.map((one) => viewOf(one.orientation));
    const first = views[0] ?? null;
    if (mosaic !== null) {
      await this.asMosaic(mosaic, first);
      return;
    }
    if (frames.length === 1 || views.some((view, k) => !view || !frames[k]!.position)) {
      const same = first && frames.every((one) => sameDirection(frames[0]!.orientation, one.orientation));
      this.order.set(first && same ? first.plane : PLANE, frames.map((_, k) => k));
      return;
    }
    const stacks = new Map<string, number[][]>();
    views.forEach((view, frame) => {
      const known = stacks.get(view!.plane) ?? [];
      stacks.set(view!.plane, known);
      const fits = known.find((stack) => sameDirection(frames[stack[0]!]!.orientation, frames[frame]!.orientation));
      if (fits) fits.push(frame);
      else known.push([frame]);
    });
    const planes: [string, number[]][] = [];
    for (const [plane, found] of stacks) {
      const largest = found.reduce((a, b) => (b.length > a.length ? b : a));
      if (found.length > 1) this.notes.push("severalStacks");
      const [chosen, several] = await this.oneVolume(largest);
      planes.push([plane, chosen]);
      if (several) this.notes.push("severalImages");
    }
    if (planes.length > 1) this.notes.push("severalPlanes");
    this.order = new Map(planes.sort((a, b) => b[1].length - a[1].length));
  }

  private async oneVolume(frames: number[]): Promise<[number[], boolean]> {
    const headers = this.header.frames;
    const view = viewOf(headers[frames[0]!]!.orientation)!;
    const at = (frame: number) => along(view, headers[frame]!.position!);
    const places: number[][] = [];
    for (const frame of [...frames].sort((a, b) => at(a) - at(b))) {
      const last = places[places.length - 1];
      if (last && at(frame) - at(last[0]!) < SAME_PLACE) last.push(frame);
      else places.push([frame]);
    }
    const most = Math.max(...places.map((place) => place.length));
    if (most === 1) return [places.map((place) => place[0]!), false];
    if (places.length === 1) return [[...frames].sort((a, b) => a - b), false];
    const moment = (frame: number) => headers[frame]!.moment;
    for (const place of places)
      place.sort((a, b) => moment(a)[0] - moment(b)[0] || moment(a)[1] - moment(b)[1] || a - b);
    for (let number = 0; number < most; number++) {
      const chosen = places.map((place) => place[Math.min(number, place.length - 1)]!);
      for (const frame of chosen) {
        const { values } = await this.frame(frame);
        if (values.some((value) => value !== values[0])) return [chosen, true];
      }
    }
    return [places.map((place) => place[0]!), true];
  }

  private async asMosaic(stated: number, view: View | null): Promise<void> {
    const { values, colours } = await this.frame(0);
    const [side, count] = colours ? [0, 0] : tiles(values, this.columns, this.rows, stated, backgroundEdge(values));
    if (!count || Math.min(this.columns, this.rows) / side < MIN_SIDE) throw new Refusal("dicomMosaic");
    this.side = side;
    const order = Array.from({ length: count }, (_, k) => k);
    const orientation = this.header.frames[0]!.orientation;
    if (view && orientation) {
      const [a, b] = [orientation.slice(0, 3), orientation.slice(3)];
      const normal = [0, 1, 2].map((k) => a[(k + 1) % 3]! * b[(k + 2) % 3]! - a[(k + 2) % 3]! * b[(k + 1) % 3]!);
      if (along(view, normal) < 0) order.reverse();
    }
    this.order.set(view?.plane ?? PLANE, order);
    if (!stated) this.notes.push("guessedMosaic");
  }
}

/** The files of a series of single frames as one scan, in the order of its slices and drawn in one range. */
export function seriesOf(files: { name: string; file: DicomFile }[]): Slices & { names: string[] } {
  const first = files[0]!.file.place;
  const view = viewOf(first.orientation);
  const common = view && files.every(({ file }) => sameDirection(first.orientation, file.place.orientation));
  const placed = common && files.every(({ file }) => file.place.position);
  const numbers = files.map(({ file }) => file.header.number);
  const known = numbers.every((number) => number !== null) && new Set(numbers).size === files.length;
  const natural = new Intl.Collator("en", { numeric: true });
  const ordered = files
    .map((one, k) => ({ ...one, number: numbers[k] ?? 0, at: placed ? along(view!, one.file.place.position!) : 0 }))
    .sort((a, b) => {
      const [p, q] = [a.file.place.moment, b.file.place.moment];
      const byName = natural.compare(a.name, b.name);
      if (placed) return a.at - b.at || p[0] - q[0] || p[1] - q[1] || a.number - b.number || byName;
      return (known ? a.number - b.number : 0) || byName;
    });
  const plane = common ? view!.plane : PLANE;
  const together = placed && ordered.some((one, k) => k > 0 && one.at - ordered[k - 1]!.at < SAME_PLACE);
  const sequences = new Set(files.map(({ file }) => file.sequence));
  let range: Promise<Range | null> | null = null;
  const shared = () =>
    (range ??= (async () => {
      const tally = new Tally(ordered.some(({ file }) => file.inverted));
      for (const { file } of ordered) await file.addTo(tally);
      return tally.range();
    })());
  return {
    kind: "DICOM",
    planes: [{ name: plane, count: ordered.length }],
    notes: together ? ["severalAtOnePlace"] : [],
    sequence: sequences.size === 1 ? files[0]!.file.sequence : "",
    names: ordered.map(({ name }) => name),
    draw(_, index) {
      const { file } = ordered[index]!;
      return file.slice(file.planes[0]!.name, 0, shared);
    },
  };
}

/** Size and channels of a JPEG 2000 codestream (ISO 15444-1, A.5.1), which comes first in it. */
function jpeg2000Header(packed: Uint8Array): { width: number; height: number; channels: number } {
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength);
  if (packed.length < 42 || view.getUint32(0) !== 0xff4fff51) throw new Refusal("broken", ["DICOM"]);
  const [right, bottom, left, top] = [8, 12, 16, 20].map((at) => view.getUint32(at)) as [number, number, number, number];
  return { width: right - left, height: bottom - top, channels: view.getUint16(40) };
}

/** Files without their preamble get one, as the parser wants it. */
function withHead(bytes: Uint8Array): [Uint8Array, { TransferSyntaxUID?: string; untilTag?: string }] {
  if (String.fromCharCode(...bytes.subarray(128, 132)) === "DICM") return [bytes, {}];
  if (bytes[0] === 2) {
    const found = new Uint8Array(bytes.length + 132);
    found.set([0x44, 0x49, 0x43, 0x4d], 128);
    found.set(bytes, 132);
    return [found, {}];
  }
  const isBig = bytes[0] === 0;
  const isExplicit = bytes[4]! >= 65 && bytes[4]! <= 90 && bytes[5]! >= 65 && bytes[5]! <= 90;
  return [bytes, { TransferSyntaxUID: isBig ? BIG : isExplicit ? EXPLICIT : IMPLICIT }];
}

function runLengths(packed: Uint8Array, area: number, samples: number, allocated: number): Uint8Array {
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength);
  const size = allocated / 8;
  const many = view.getUint32(0, true);
  if (many !== size * samples) throw new Refusal("broken", ["DICOM"]);
  const found = new Uint8Array(area * samples * size);
  for (let k = 0; k < many; k++) {
    const start = view.getUint32(4 + 4 * k, true);
    const stop = k + 1 < many ? view.getUint32(8 + 4 * k, true) : packed.length;
    const plane = packBits(packed.subarray(start, stop), area);
    const [sample, byte] = [Math.floor(k / size), size - 1 - (k % size)]; // the highest byte comes first
    for (let n = 0; n < area; n++) found[(sample * area + n) * size + byte] = plane[n]!;
  }
  return found;
}

function tiles(values: Numbers, columns: number, rows: number, stated: number, edge: number): [number, number] {
  if (stated) {
    const side = Math.floor(Math.sqrt(stated - 1)) + 1;
    return rows % side === 0 && columns % side === 0 ? [side, stated] : [0, 0];
  }
  for (let side = 16; side > 1; side--) {
    if (rows % side || columns % side || Math.floor(Math.min(rows, columns) / side) < 16) continue;
    const [down, across] = [rows / side, columns / side];
    let largest = -Infinity;
    for (let k = 1; k < side; k++)
      for (const step of [-1, 0]) {
        let [a, b] = [0, 0];
        for (let x = 0; x < columns; x++) a += values[(k * down + step) * columns + x]!;
        for (let y = 0; y < rows; y++) b += values[y * columns + k * across + step]!;
        largest = Math.max(largest, a / columns, b / rows);
      }
    if (largest > edge) continue;
    let last = -1;
    for (let k = 0; k < side * side; k++) {
      const part = tile(values, columns, rows, side, k);
      if ((part as Float64Array).reduce((sum, value) => sum + Number(value > edge), 0) / part.length > 0.01) last = k;
    }
    return [side, last + 1];
  }
  return [0, 0];
}

function tile(values: Numbers, columns: number, rows: number, side: number, index: number): Numbers {
  const [width, height] = [columns / side, rows / side];
  const [down, across] = [Math.floor(index / side), index % side];
  const found = new (values.constructor as new (length: number) => Numbers)(width * height);
  for (let y = 0; y < height; y++) {
    const from = (down * height + y) * columns + across * width;
    found.set(values.subarray(from, from + width) as never, y * width);
  }
  return found;
}
