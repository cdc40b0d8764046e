/** PNG files, decoded here: a browser's own decoder changes colours by profile and keeps 8 bits only. */
import { unzlibSync } from "fflate";
import type { Deep } from "./deep";
import { MIN_SIDE, MOST_PIXELS, isTooLong, onBlack, upright, type Raster } from "./raster";
import { Refusal } from "./refusal";

const SAMPLES: Record<number, number> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const PASSES = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const;

export function checkSize(width: number, height: number, samples = 1): void {
  if (width * height * samples > MOST_PIXELS) throw new Refusal("tooManyPixels");
  if (isTooLong(width, height)) throw new Refusal("tooLong");
  if (Math.min(width, height) < MIN_SIDE) throw new Refusal("tooSmall");
}

export function readPng(bytes: Uint8Array): Raster | Deep {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [width, height] = [view.getUint32(16), view.getUint32(20)];
  const [bits, colour, interlaced] = [bytes[24]!, bytes[25]!, bytes[28]!];
  const samples = SAMPLES[colour];
  if (!samples || ![1, 2, 4, 8, 16].includes(bits)) throw new Refusal("broken", ["PNG"]);
  checkSize(width, height, bits === 16 ? samples : 1);
  const packed: Uint8Array[] = [];
  let palette: Uint8Array | null = null;
  let transparent: Uint8Array | null = null;
  let turn = 1;
  for (let at = 8; ; ) {
    if (at + 12 > bytes.length) throw new Refusal("broken", ["PNG"]);
    const length = view.getUint32(at);
    const name = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const content = bytes.subarray(at + 8, at + 8 + length);
    if (name === "IDAT") packed.push(content);
    else if (name === "PLTE") palette = content;
    else if (name === "tRNS") transparent = content;
    else if (name === "eXIf") turn = exifTurn(content);
    else if (name === "IEND") break;
    at += 12 + length;
  }
  const values = pixelsOf(joined(packed), width, height, bits, samples, interlaced === 1);
  const area = width * height;
  if (bits === 16) {
    const colours = samples >= 3 ? 3 : 1;
    const found = new Uint16Array(area * colours);
    for (let k = 0; k < area; k++)
      for (let c = 0; c < colours; c++) found[k * colours + c] = values[k * samples + c]!;
    let opacity: Float64Array | null = null;
    if (samples > colours) opacity = Float64Array.from({ length: area }, (_, k) => values[k * samples + colours]! / 65535);
    else if (transparent && transparent.length === 2 * colours) {
      const key = transparent;
      const is = (k: number, c: number) => values[k * samples + c] === ((key[2 * c]! << 8) | key[2 * c + 1]!);
      opacity = Float64Array.from({ length: area }, (_, k) => {
        for (let c = 0; c < colours; c++) if (!is(k, c)) return 1;
        return 0;
      });
    }
    return { width, height, values: found, opacity, turn, negated: false };
  }
  const scale = colour === 3 ? 1 : 255 / (2 ** bits - 1);
  const isGrey = colour === 0 || colour === 4;
  if (colour === 3 && !palette) throw new Refusal("broken", ["PNG"]);
  if (!transparent && samples !== 2 && samples !== 4) {
    const channels = isGrey ? 1 : 3;
    const data = new Uint8Array(area * channels);
    if (palette && colour === 3)
      for (let k = 0; k < area; k++) data.set(palette.subarray(3 * values[k]!, 3 * values[k]! + 3), 3 * k);
    else for (let k = 0; k < data.length; k++) data[k] = values[k]! * scale;
    return upright({ width, height, channels, data }, turn);
  }
  const rgba = new Uint8Array(4 * area);
  const key = transparent && colour !== 3 ? [0, 2, 4].map((at) => (transparent[at]! << 8) | transparent[at + 1]!) : null;
  for (let k = 0; k < area; k++) {
    const at = k * samples;
    if (colour === 3) {
      rgba.set(palette!.subarray(3 * values[k]!, 3 * values[k]! + 3), 4 * k);
      rgba[4 * k + 3] = transparent?.[values[k]!] ?? 255;
      continue;
    }
    for (let c = 0; c < 3; c++) rgba[4 * k + c] = values[at + (isGrey ? 0 : c)]! * scale;
    const alpha = samples === 2 || samples === 4 ? values[at + samples - 1]! : 255;
    const isKey = key && (isGrey ? values[at] === key[0] : key.every((one, c) => values[at + c] === one));
    rgba[4 * k + 3] = isKey ? 0 : alpha;
  }
  return upright(onBlack(rgba, width, height, isGrey), turn);
}

/** The turn that EXIF notes state, 1 to 8; 1 where they do not. */
export function exifTurn(exif: Uint8Array): number {
  const little = exif[0] === 0x49;
  const view = new DataView(exif.buffer, exif.byteOffset, exif.byteLength);
  try {
    const at = view.getUint32(4, little);
    for (let k = 0; k < view.getUint16(at, little); k++) {
      const entry = at + 2 + 12 * k;
      if (view.getUint16(entry, little) === 274) return view.getUint16(entry + 8, little);
    }
  } catch {
    return 1; // cut off: as if there were none
  }
  return 1;
}

function joined(parts: Uint8Array[]): Uint8Array {
  const found = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    found.set(part, at);
    at += part.length;
  }
  return found;
}

/** The samples, (H, W, samples), unpacked. */
function pixelsOf(
  packed: Uint8Array,
  width: number,
  height: number,
  bits: number,
  samples: number,
  interlaced: boolean,
): Uint8Array | Uint16Array {
  const passes = (interlaced ? PASSES : [[0, 0, 1, 1] as const])
    .map(([left, top, across, down]) => ({
      left,
      top,
      across,
      down,
      columns: Math.ceil((width - left) / across),
      rows: Math.ceil((height - top) / down),
    }))
    .filter((pass) => pass.columns > 0 && pass.rows > 0);
  const size = passes.reduce((sum, { columns, rows }) => sum + rows * (1 + Math.ceil((columns * samples * bits) / 8)), 0);
  let raw: Uint8Array;
  try {
    raw = unzlibSync(packed, { out: new Uint8Array(size) }); // never more than the header promises
  } catch {
    throw new Refusal("broken", ["PNG"]);
  }
  if (raw.length < size) throw new Refusal("broken", ["PNG"]);
  const found = bits === 16 ? new Uint16Array(width * height * samples) : new Uint8Array(width * height * samples);
  const step = Math.max(1, (samples * bits) >> 3);
  let at = 0;
  for (const { left, top, across, down, columns, rows } of passes) {
    const line = Math.ceil((columns * samples * bits) / 8);
    let above = new Uint8Array(line);
    for (let y = 0; y < rows; y++) {
      const filter = raw[at]!;
      const row = raw.subarray(at + 1, at + 1 + line);
      at += 1 + line;
      unfilter(filter, row, above, step);
      above = row as Uint8Array<ArrayBuffer>;
      for (let x = 0; x < columns; x++)
        for (let c = 0; c < samples; c++) {
          const place = ((top + y * down) * width + left + x * across) * samples + c;
          const k = x * samples + c;
          if (bits === 8) found[place] = row[k]!;
          else if (bits === 16) found[place] = (row[2 * k]! << 8) | row[2 * k + 1]!;
          else found[place] = (row[(k * bits) >> 3]! >> (8 - bits - ((k * bits) & 7))) & (2 ** bits - 1);
        }
    }
  }
  return found;
}

function unfilter(filter: number, row: Uint8Array, above: Uint8Array, step: number): void {
  if (filter > 4) throw new Refusal("broken", ["PNG"]);
  for (let k = 0; k < row.length; k++) {
    const [a, b, c] = [k >= step ? row[k - step]! : 0, above[k]!, k >= step ? above[k - step]! : 0];
    let guess = 0;
    if (filter === 1) guess = a;
    else if (filter === 2) guess = b;
    else if (filter === 3) guess = (a + b) >> 1;
    else if (filter === 4) {
      const [p, q, r] = [Math.abs(b - c), Math.abs(a - c), Math.abs(a + b - 2 * c)];
      guess = p <= q && p <= r ? a : q <= r ? b : c;
    }
    row[k] = row[k]! + guess;
  }
}
