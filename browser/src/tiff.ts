/** TIFF files: grey and colours of any depth, plain or packed by LZW, deflate or PackBits. */
import { unzlibSync } from "fflate";
import type { Deep } from "./deep";
import type { Numbers } from "./intensity";
import { onBlack, upright, type Raster } from "./raster";
import { checkSize } from "./png";
import { Refusal } from "./refusal";

const [WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, OFFSETS, TURN, SAMPLES, ROWS, COUNTS] = [
  256, 257, 258, 259, 262, 273, 274, 277, 278, 279,
] as const;
const [PLANAR, PREDICTOR, PALETTE, TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_COUNTS, EXTRA, FORMAT] = [
  284, 317, 320, 322, 323, 324, 325, 338, 339,
] as const;
const SIZES: Record<number, number> = { 1: 1, 3: 2, 4: 4 };
const MOST_PAGES = 2048;
type Tags = Map<number, number[]>;

export class TiffFile {
  private readonly little: boolean;
  private readonly view: DataView;
  private readonly pages: Tags[] = [];

  constructor(private readonly bytes: Uint8Array) {
    this.little = bytes[0] === 0x49;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    try {
      const seen = new Set<number>();
      for (let at = this.view.getUint32(4, this.little); at; ) {
        if (seen.has(at) || this.pages.length >= MOST_PAGES) throw new Refusal("broken", ["TIFF"]);
        seen.add(at);
        const many = this.view.getUint16(at, this.little);
        this.pages.push(this.tags(at + 2, many));
        at = this.view.getUint32(at + 2 + 12 * many, this.little);
      }
    } catch (error) {
      if (error instanceof RangeError) throw new Refusal("broken", ["TIFF"]);
      throw error;
    }
    if (!this.pages.length) throw new Refusal("broken", ["TIFF"]);
  }

  get count(): number {
    return this.pages.length;
  }

  private tags(start: number, many: number): Tags {
    const found: Tags = new Map();
    for (let k = 0; k < many; k++) {
      const at = start + 12 * k;
      const kind = this.view.getUint16(at + 2, this.little);
      const size = SIZES[kind];
      const count = this.view.getUint32(at + 4, this.little);
      if (!size || count > 1_000_000) continue;
      const place = size * count <= 4 ? at + 8 : this.view.getUint32(at + 8, this.little);
      if (place + size * count > this.bytes.length) throw new RangeError();
      const values = Array.from({ length: count }, (_, n) => {
        const here = place + n * size;
        if (size === 1) return this.view.getUint8(here);
        return size === 2 ? this.view.getUint16(here, this.little) : this.view.getUint32(here, this.little);
      });
      found.set(this.view.getUint16(at, this.little), values);
    }
    return found;
  }

  read(page: number): Raster | Deep {
    const tags = this.pages[page]!;
    const one = (tag: number, otherwise: number) => tags.get(tag)?.[0] ?? otherwise;
    const [width, height, samples] = [one(WIDTH, 0), one(LENGTH, 0), one(SAMPLES, 1)];
    const bits = one(BITS, 1);
    const form = one(FORMAT, 1);
    const meaning = one(PHOTOMETRIC, 1);
    const extra = tags.get(EXTRA) ?? [];
    const colours = { 0: 1, 1: 1, 2: 3, 3: 1 }[meaning];
    if (!width || !height) throw new Refusal("broken", ["TIFF"]);
    checkSize(width, height, bits > 8 ? samples : 1);
    const same = (values: number[] | undefined) => !values || values.every((value) => value === values[0]);
    if (!colours || samples !== colours + extra.length || extra.length > 1 || !same(tags.get(BITS)) || !same(tags.get(FORMAT)))
      throw new Refusal("tiffStored");
    const values = this.values(tags, width, height, samples, bits, form);
    const area = width * height;
    const turn = one(TURN, 1);
    if (bits <= 8 && form === 1) {
      const most = 2 ** bits - 1;
      const palette = tags.get(PALETTE);
      if (meaning === 3 && (!palette || palette.length < 3 * (most + 1))) throw new Refusal("broken", ["TIFF"]);
      const channels = colours === 1 && meaning !== 3 ? 1 : 3;
      const rgba = new Uint8Array(4 * area);
      for (let k = 0; k < area; k++) {
        for (let c = 0; c < 3; c++) {
          const value = values[k * samples + (colours === 3 ? c : 0)]!;
          rgba[4 * k + c] =
            meaning === 3 ? palette![c * (most + 1) + value]! >> 8 : ((meaning === 0 ? most - value : value) * 255) / most;
        }
        rgba[4 * k + 3] = extra.length ? values[k * samples + colours]! : 255;
      }
      return upright(onBlack(rgba, width, height, channels === 1), turn);
    }
    const found = meaning === 0 || extra.length ? new Float64Array(area * colours) : (values as Numbers);
    let opacity: Float64Array | null = null;
    if (found !== values)
      for (let k = 0; k < area; k++)
        for (let c = 0; c < colours; c++)
          found[k * colours + c] = (meaning === 0 ? -1 : 1) * values[k * samples + c]!;
    if (extra.length) {
      const most = form === 3 ? 1 : 2 ** (form === 2 ? bits - 1 : bits) - 1;
      opacity = Float64Array.from({ length: area }, (_, k) => values[k * samples + colours]! / most);
    }
    return { width, height, values: found, opacity, turn, negated: meaning === 0 };
  }

  /** The samples of a page, (H, W, samples). */
  private values(tags: Tags, width: number, height: number, samples: number, bits: number, form: number): Numbers {
    const one = (tag: number, otherwise: number) => tags.get(tag)?.[0] ?? otherwise;
    const tiled = tags.has(TILE_WIDTH);
    const across = tiled ? one(TILE_WIDTH, 0) : width;
    const down = tiled ? one(TILE_LENGTH, 0) : Math.min(one(ROWS, height), height);
    const offsets = tags.get(tiled ? TILE_OFFSETS : OFFSETS);
    const counts = tags.get(tiled ? TILE_COUNTS : COUNTS);
    if (!offsets || !counts || !across || !down || across > 16384) throw new Refusal("broken", ["TIFF"]);
    const separate = one(PLANAR, 1) === 2;
    const [planes, inside] = separate ? [samples, 1] : [1, samples];
    const found = holder(bits, form, width * height * samples);
    const columns = Math.ceil(width / across);
    const rows = Math.ceil(height / down);
    const line = Math.ceil((across * inside * bits) / 8);
    for (let plane = 0; plane < planes; plane++)
      for (let r = 0; r < rows; r++)
        for (let c = 0; c < columns; c++) {
          const k = (plane * rows + r) * columns + c;
          const start = offsets[k];
          if (start === undefined) throw new Refusal("broken", ["TIFF"]);
          const many = tiled ? down : Math.min(down, height - r * down);
          const coded = this.bytes.subarray(start, start + (counts[k] ?? 0));
          const raw = unpacked(coded, one(COMPRESSION, 1), line * many);
          const read = this.reader(raw, one(PREDICTOR, 1), across, inside, bits, form, line, many);
          for (let y = 0; y < many && r * down + y < height; y++)
            for (let x = 0; x < across && c * across + x < width; x++)
              for (let s = 0; s < inside; s++)
                found[((r * down + y) * width + c * across + x) * samples + plane + s] = read(y, x * inside + s);
        }
    return found;
  }

  private reader(
    raw: Uint8Array,
    predictor: number,
    across: number,
    inside: number,
    bits: number,
    form: number,
    line: number,
    rows: number,
  ): (y: number, k: number) => number {
    const size = bits >> 3;
    let { little } = this;
    if (predictor === 3) {
      // The differences of the bytes, the highest ones first.
      const plain = new Uint8Array(raw.length);
      for (let y = 0; y < rows; y++) {
        const row = raw.subarray(y * line, (y + 1) * line);
        for (let k = inside; k < row.length; k++) row[k] = row[k]! + row[k - inside]!;
        for (let k = 0; k < across * inside; k++)
          for (let b = 0; b < size; b++) plain[y * line + k * size + b] = row[b * across * inside + k]!;
      }
      raw = plain;
      little = false;
    } else if (predictor === 2) {
      if (bits !== 8 && bits !== 16 && bits !== 32) throw new Refusal("tiffStored");
      const words = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
      for (let y = 0; y < rows; y++)
        for (let k = inside; k < across * inside; k++) {
          const [at, before] = [y * line + k * size, y * line + (k - inside) * size];
          if (size === 1) raw[at] = raw[at]! + raw[before]!;
          else if (size === 2) words.setUint16(at, words.getUint16(at, little) + words.getUint16(before, little), little);
          else words.setUint32(at, words.getUint32(at, little) + words.getUint32(before, little), little);
        }
    }
    const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
    const kind = `${form} ${bits}`;
    if (form === 1 && bits < 16 && bits !== 8)
      return (y, k) => {
        let value = 0;
        for (let b = 0, at = 8 * y * line + k * bits; b < bits; b++, at++)
          value = (value << 1) | ((raw[at >> 3]! >> (7 - (at & 7))) & 1);
        return value;
      };
    const get: ((at: number) => number) | undefined = {
      "1 8": (at: number) => view.getUint8(at),
      "2 8": (at: number) => view.getInt8(at),
      "1 16": (at: number) => view.getUint16(at, little),
      "2 16": (at: number) => view.getInt16(at, little),
      "1 32": (at: number) => view.getUint32(at, little),
      "2 32": (at: number) => view.getInt32(at, little),
      "3 16": (at: number) => half(view.getUint16(at, little)),
      "3 32": (at: number) => view.getFloat32(at, little),
      "3 64": (at: number) => view.getFloat64(at, little),
      "1 64": (at: number) => Number(view.getBigUint64(at, little)),
      "2 64": (at: number) => Number(view.getBigInt64(at, little)),
    }[kind];
    if (!get) throw new Refusal("tiffStored");
    return (y, k) => get(y * line + k * size);
  }
}

function holder(bits: number, form: number, length: number): Numbers {
  if (form === 1 && bits <= 8) return new Uint8Array(length);
  if (form === 1 && bits <= 16) return new Uint16Array(length);
  if (form === 2 && bits <= 16) return new Int16Array(length);
  if (form === 3 && bits <= 32) return new Float32Array(length);
  return new Float64Array(length);
}

export function half(word: number): number {
  const sign = word & 0x8000 ? -1 : 1;
  const exponent = (word >> 10) & 31;
  const rest = word & 1023;
  if (exponent === 31) return rest ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 25) * (1024 + rest) : 2 ** -24 * rest);
}

function unpacked(coded: Uint8Array, compression: number, size: number): Uint8Array {
  let found: Uint8Array;
  if (compression === 1) found = coded.slice(0, size);
  else if (compression === 5) found = lzw(coded, size);
  else if (compression === 8 || compression === 32946) {
    try {
      found = unzlibSync(coded, { out: new Uint8Array(size) });
    } catch {
      throw new Refusal("broken", ["TIFF"]);
    }
  } else if (compression === 32773) found = packBits(coded, size);
  else throw new Refusal("tiffStored");
  if (found.length < size) throw new Refusal("broken", ["TIFF"]);
  return found;
}

export function packBits(coded: Uint8Array, size: number): Uint8Array {
  const found = new Uint8Array(size);
  let at = 0;
  for (let k = 0; k < coded.length && at < size; ) {
    const head = coded[k++]!;
    if (head < 128) {
      const part = coded.subarray(k, k + Math.min(head + 1, size - at));
      found.set(part, at);
      at += head + 1;
      k += head + 1;
    } else if (head > 128) {
      found.fill(coded[k++] ?? 0, at, at + 257 - head);
      at += 257 - head;
    }
  }
  if (at < size) throw new Refusal("cutOff");
  return found;
}

function lzw(coded: Uint8Array, size: number): Uint8Array {
  const found = new Uint8Array(size);
  const [starts, lengths] = [new Int32Array(4097), new Int32Array(4097)];
  let [at, bit, width, next, previous] = [0, 0, 9, 258, -1];
  while (at < size) {
    if (bit + width > 8 * coded.length) break;
    const byte = bit >> 3;
    const word = (coded[byte]! << 16) | ((coded[byte + 1] ?? 0) << 8) | (coded[byte + 2] ?? 0);
    const code = (word >> (24 - width - (bit & 7))) & ((1 << width) - 1);
    bit += width;
    if (code === 257) break;
    if (code === 256) {
      [width, next, previous] = [9, 258, -1];
      continue;
    }
    const start = at;
    if (code < 256) found[at++] = code;
    else if (previous < 0 || code > next) throw new Refusal("broken", ["TIFF"]);
    else {
      const [from, length] = code < next ? [starts[code]!, lengths[code]!] : [previous, start - previous + 1];
      for (let k = 0; k < length && at < size; k++) found[at++] = found[from + k]!;
    }
    if (previous >= 0 && next < 4096) {
      starts[next] = previous;
      lengths[next] = start - previous + 1;
      next++;
    }
    previous = start;
    if (next >= (1 << width) - 1 && width < 12) width++;
  }
  return found.subarray(0, at);
}
