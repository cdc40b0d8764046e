/** NIfTI volumes, drawn as `brainmri.io.nifti` draws them: the patient's left on the right-hand side. */
import { gunzip } from "./assets";
import { PLANES, orientationOf, squareSize, type Matrix } from "./geometry";
import { backgroundEdge, grey, headRange, type Numbers, type Range } from "./intensity";
import { MIN_SIDE, MOST_PIXELS, isTooLong, type Raster } from "./raster";
import { Refusal } from "./refusal";
import { resize } from "./resize";
import { ofDescription } from "./sequence";
import type { Slices } from "./slices";

const AXES: Record<string, number> = { axial: 2, coronal: 1, sagittal: 0 };
const MOST_BYTES = 512 * 2 ** 20;
const MOST_UNPACKED = 1024 * 2 ** 20; // of all volumes of a file
const MOST_SLICES = 2048;
const LARGEST_RATIO = 100;
const UNLIKE = 1.1;
const [THIN, WHOLE_HEAD, TAPERED] = [60, 150, 0.6];
const KINDS: Record<number, [number, (buffer: ArrayBuffer) => Numbers]> = {
  2: [1, (buffer) => new Uint8Array(buffer)],
  4: [2, (buffer) => new Int16Array(buffer)],
  8: [4, (buffer) => new Int32Array(buffer)],
  16: [4, (buffer) => new Float32Array(buffer)],
  64: [8, (buffer) => new Float64Array(buffer)],
  256: [1, (buffer) => new Int8Array(buffer)],
  512: [2, (buffer) => new Uint16Array(buffer)],
  768: [4, (buffer) => new Uint32Array(buffer)],
  1024: [8, (buffer) => Float64Array.from(new BigInt64Array(buffer), Number)],
  1280: [8, (buffer) => Float64Array.from(new BigUint64Array(buffer), Number)],
};
type Triple = [number, number, number];

interface Header {
  little: boolean;
  size: number;
  shape: Triple;
  several: number;
  kind: number;
  pixdim: number[]; // 0..3
  slope: number;
  intercept: number;
  offset: number;
  qform: number;
  sform: number;
  quaternion: Triple;
  srow: Matrix;
  description: string;
}

export async function openNifti(bytes: Uint8Array): Promise<Slices> {
  let plain = bytes;
  if (bytes[0] === 0x1f) {
    let unpacked: Uint8Array | null;
    try {
      unpacked = await gunzip(bytes, MOST_UNPACKED);
    } catch {
      throw new Refusal("broken", ["NIfTI"]);
    }
    if (!unpacked) throw new Refusal("volumeTooLarge");
    plain = unpacked;
  }
  let header: Header;
  try {
    header = headerOf(plain);
  } catch (error) {
    if (error instanceof RangeError) throw new Refusal("broken", ["NIfTI"]);
    throw error;
  }
  const known = KINDS[header.kind];
  if (!known) throw new Refusal("niftiColours");
  const count = header.shape[0] * header.shape[1] * header.shape[2];
  const [size, view] = known;
  if (count * size > MOST_BYTES) throw new Refusal("volumeTooLarge");
  if (Math.max(...header.shape) > MOST_SLICES) throw new Refusal("volumeTooLarge");
  if (header.offset < header.size) throw new Refusal("broken", ["NIfTI"]);
  for (let number = 0; number < header.several; number++) {
    const start = header.offset + number * count * size;
    if (start + count * size > plain.length) {
      if (number) break;
      throw new Refusal("broken", ["NIfTI"]);
    }
    const values = view(ordered(plain, start, count * size, size, header.little));
    const range = levels(values, header.slope, header.intercept);
    if (range) return volume(values, header, range, number);
  }
  throw new Refusal("blankVolume");
}

function ordered(plain: Uint8Array, start: number, length: number, size: number, little: boolean): ArrayBuffer {
  const found = plain.slice(start, start + length);
  if (!little && size > 1) for (let at = 0; at < length; at += size) found.subarray(at, at + size).reverse();
  return found.buffer;
}

function levels(values: Numbers, slope: number, intercept: number): Range | null {
  const found = headRange(slope > 0 ? values : Float64Array.from(values, (value) => -value));
  if (!found) {
    if (values instanceof Float32Array || values instanceof Float64Array)
      if (!values.some(Number.isFinite)) throw new Refusal("noVolumeNumbers");
    return null;
  }
  const [low, high] = found.map((value) => value * Math.abs(slope) + intercept) as [number, number];
  if (!Number.isFinite(high - low) || !Number.isFinite(255 / (high - low))) throw new Refusal("tooFar");
  return [low, high];
}

function headerOf(bytes: Uint8Array): Header {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const little = view.getInt32(0, true) === 348 || view.getInt32(0, true) === 540;
  const size = view.getInt32(0, little);
  if (size !== 348 && size !== 540) throw new Refusal("notNifti");
  const two = size === 540;
  const magic = String.fromCharCode(...bytes.subarray(two ? 4 : 344, two ? 7 : 347));
  if (magic === "ni1" || magic === "ni2") throw new Refusal("niftiPair");
  if (magic !== (two ? "n+2" : "n+1")) throw new Refusal("notNifti");
  const long = (at: number) => Number(view.getBigInt64(at, little));
  const dim = Array.from({ length: 8 }, (_, k) => (two ? long(16 + 8 * k) : view.getInt16(40 + 2 * k, little)));
  const many = dim[0]!;
  if (many < 2 || many > 7 || dim.slice(1, many + 1).some((side) => side < 1)) throw new Refusal("broken", ["NIfTI"]);
  const real = (one: number, other: number, k = 0) =>
    two ? view.getFloat64(other + 8 * k, little) : view.getFloat32(one + 4 * k, little);
  const code = (one: number, other: number) => (two ? view.getInt32(other, little) : view.getInt16(one, little));
  const slope = real(112, 176);
  return {
    little,
    size,
    shape: [dim[1]!, dim[2]!, many >= 3 ? dim[3]! : 1],
    several: dim.slice(4, many + 1).reduce((product, side) => product * side, 1),
    kind: view.getInt16(two ? 12 : 70, little),
    pixdim: [0, 1, 2, 3].map((k) => real(76, 104, k)),
    slope: slope && Number.isFinite(slope) ? slope : 1,
    intercept: slope && Number.isFinite(slope) ? real(116, 184) : 0,
    offset: two ? long(168) : view.getFloat32(108, little),
    qform: code(252, 344),
    sform: code(254, 348),
    quaternion: [0, 1, 2].map((k) => real(256, 352, k)) as Triple,
    srow: [0, 1, 2].map((r) => [0, 1, 2].map((c) => real(280, 400, 4 * r + c))),
    description: String.fromCharCode(...bytes.subarray(two ? 240 : 148, two ? 320 : 228)),
  };
}

interface Orientation {
  order: [number, number][];
  sizes: Triple;
  known: [boolean, boolean, boolean];
  notes: string[];
}

/** By the sform, else by the qform, else by the sizes alone: the first of them that can be true. */
function orientation(header: Header): Orientation {
  const stated = header.pixdim.slice(1).map(Math.abs);
  const good = stated.map((side) => Number.isFinite(side) && side > 0);
  const smallest = Math.min(...stated.filter((_, k) => good[k]), Infinity);
  const sides = stated.map((side, k) => (good[k] ? side : Number.isFinite(smallest) ? smallest : 1));
  const missing = good.map((one, k) => !one && header.shape[k]! > 1);
  const none = [false, false, false];
  const candidates: [Matrix | null, boolean[], string[]][] = [
    [header.sform > 0 ? header.srow : null, none, []],
    [header.qform > 0 && header.quaternion.every(Number.isFinite) ? qform(header, sides) : null, missing, []],
    [[[-sides[0]!, 0, 0], [0, sides[1]!, 0], [0, 0, sides[2]!]], missing, ["noDirections"]],
  ];
  for (const [affine, lacks, notes] of candidates) {
    if (!affine || affine.flat().some((value) => !Number.isFinite(value))) continue;
    const lengths = [0, 1, 2].map((c) => Math.hypot(...affine.map((row) => row[c]!)));
    if (!(Math.max(...lengths) > 0 && Math.max(...lengths) <= LARGEST_RATIO * Math.min(...lengths))) continue;
    const order = orientationOf(affine);
    if (!order) continue;
    const from = [0, 1, 2].map((out) => order.findIndex(([axis]) => axis === out));
    return {
      order,
      sizes: from.map((axis) => lengths[axis]!) as Triple,
      known: from.map((axis) => !lacks[axis]) as [boolean, boolean, boolean],
      notes: [...notes, ...(lacks.some(Boolean) ? ["noSizes"] : [])],
    };
  }
  return {
    order: [[0, 1], [1, 1], [2, 1]],
    sizes: [1, 1, 1],
    known: [false, false, false],
    notes: ["noDirections", "noSizes"],
  };
}

function qform(header: Header, sides: number[]): Matrix | null {
  const [x, y, z] = header.quaternion;
  const rest = 1 - (x * x + y * y + z * z);
  if (rest < -3 * 1.1920929e-7) return null;
  const w = Math.sqrt(Math.max(rest, 0));
  const [qfac, norm] = [header.pixdim[0] === -1 ? -1 : 1, w * w + x * x + y * y + z * z];
  const s = 2 / norm;
  const turn = [
    [1 - s * (y * y + z * z), s * (x * y - w * z), s * (x * z + w * y)],
    [s * (x * y + w * z), 1 - s * (x * x + z * z), s * (y * z - w * x)],
    [s * (x * z - w * y), s * (y * z + w * x), 1 - s * (x * x + y * y)],
  ];
  return turn.map((row) => row.map((value, c) => value * sides[c]! * (c === 2 ? qfac : 1)));
}

function volume(values: Numbers, header: Header, [low, high]: Range, number: number): Slices {
  const { order, sizes: stated, known: knownSides, notes } = orientation(header);
  // Where each axis to the right, front and top begins in the file, and how far its steps are.
  const strides = [1, header.shape[0], header.shape[0] * header.shape[1]];
  const shape: Triple = [0, 0, 0];
  const step: Triple = [0, 0, 0];
  let first = 0;
  order.forEach(([axis, direction], k) => {
    shape[axis] = header.shape[k]!;
    step[axis] = strides[k]! * direction;
    if (direction < 0) first += strides[k]! * (header.shape[k]! - 1);
  });
  const at = (x: number, y: number, z: number) => values[first + x * step[0] + y * step[1] + z * step[2]]!;
  const sizes = trueSizes(at, shape, stated);
  const known = [...knownSides];
  sizes.forEach((size, k) => {
    if (size !== stated[k]) known[k] = false;
  });
  const isFalse = sizes.some((size, k) => size !== stated[k]);
  const sideways = (plane: string) => [0, 1, 2].filter((axis) => axis !== AXES[plane]) as [number, number];
  const planes = Object.keys(AXES).filter((plane) => Math.min(...sideways(plane).map((axis) => shape[axis]!)) >= MIN_SIDE);
  if (!planes.length) throw new Refusal("volumeTooSmall");
  const unknown = known.filter((one) => !one).length;
  const acquiredPlane = unknown === 1 ? PLANES[known.indexOf(false)]! : acquired(sizes, shape);
  planes.sort((a, b) => Number(a !== acquiredPlane) - Number(b !== acquiredPlane));
  const square = (plane: string): [number, number] => {
    const [across, down] = sideways(plane);
    return squareSize(shape[across]!, shape[down]!, sizes[across]!, sizes[down]!);
  };
  const drawn = planes.filter((plane) => !isTooLong(...square(plane)));
  if (!drawn.length) throw new Refusal("tooLong");
  if (drawn.some((plane) => square(plane)[0] * square(plane)[1] > MOST_PIXELS)) throw new Refusal("tooManyPixels");
  return {
    kind: "NIfTI",
    sequence: ofDescription(header.description),
    planes: drawn.map((name) => ({ name, count: shape[AXES[name]!]! })),
    notes: [
      ...notes,
      ...(number ? ["blankVolumes"] : header.several > 1 ? ["severalVolumes"] : []),
      ...(isMask(values) ? ["likeAMask"] : []),
      ...(isFalse ? ["falseSizes"] : []),
    ],
    draw(plane, index): Raster {
      const [across, down] = sideways(plane);
      const [columns, rows] = [shape[across]!, shape[down]!];
      const start = first + index * step[AXES[plane]!]!;
      const found = new Float64Array(columns * rows);
      for (let y = 0, k = 0; y < rows; y++)
        for (let x = 0; x < columns; x++, k++)
          found[k] =
            values[start + (columns - 1 - x) * step[across]! + (rows - 1 - y) * step[down]!]! * header.slope +
            header.intercept;
      return resize(grey(found, columns, rows, low, high), ...square(plane));
    },
  };
}

function isMask(values: Numbers): boolean {
  for (const many of [10_000, 2_000_000]) {
    const step = 1 + Math.floor(values.length / many);
    const found = new Set<number>();
    for (let k = 0; k < values.length; k += step) {
      found.add(values[k]!);
      if (found.size > 12 || !Number.isInteger(values[k]!)) return false;
    }
  }
  return true;
}

export function acquired(sizes: readonly number[], shape: readonly number[]): string {
  for (const [values, most] of [
    [sizes, UNLIKE],
    [shape.map((count) => 1 / count), 2],
  ] as const) {
    const longest = values.indexOf(Math.max(...values));
    if (values[longest]! >= most * [...values].sort((a, b) => a - b)[1]!) return PLANES[longest]!;
  }
  return "axial";
}

/** The sides of a voxel, one of them changed where it cannot be true; see `brainmri.io.nifti`. */
function trueSizes(at: (x: number, y: number, z: number) => number, shape: Triple, sizes: Triple): Triple {
  const extents = sizes.map((size, k) => size * shape[k]!);
  const through = extents.indexOf(Math.min(...extents));
  const others = [0, 1, 2].filter((axis) => axis !== through) as [number, number];
  const isCube = Math.max(...sizes) < 1.5 * Math.min(...sizes);
  if (!isCube || extents[through]! > THIN || Math.min(...others.map((axis) => extents[axis]!)) < WHOLE_HEAD) return sizes;
  if (shape[through]! < MIN_SIDE) return sizes;
  const counts = [0, 1, 2].map((axis) => (axis === through ? shape[axis]! : Math.ceil(shape[axis]! / 2))) as Triple;
  const values = new Float32Array(counts[0] * counts[1] * counts[2]);
  let k = 0;
  const place: Triple = [0, 0, 0];
  const inner = (axis: number, n: number) => (axis === through ? n : 2 * n);
  for (place[0] = 0; place[0] < counts[0]; place[0]++)
    for (place[1] = 0; place[1] < counts[1]; place[1]++)
      for (place[2] = 0; place[2] < counts[2]; place[2]++, k++) {
        const value = at(inner(0, place[0]), inner(1, place[1]), inner(2, place[2]));
        values[k] = Number.isFinite(value) ? value : Number.isNaN(value) ? 0 : value > 0 ? 3.4028235e38 : -3.4028235e38;
      }
  const edge = backgroundEdge(values);
  const areas = new Float64Array(counts[through]!);
  const shownAlong = others.map((axis) => new Uint8Array(counts[axis]!));
  k = 0;
  for (place[0] = 0; place[0] < counts[0]; place[0]++)
    for (place[1] = 0; place[1] < counts[1]; place[1]++)
      for (place[2] = 0; place[2] < counts[2]; place[2]++, k++)
        if (values[k]! > edge) {
          areas[place[through]!]!++;
          others.forEach((axis, n) => (shownAlong[n]![place[axis]!] = 1));
        }
  const largest = Math.max(...areas);
  if (Math.min(areas[0]!, areas[areas.length - 1]!) > TAPERED * largest) return sizes;
  const lengths = others.map((axis, n) => 2 * sizes[axis]! * shownAlong[n]!.reduce((a, b) => a + b, 0));
  const shown = Math.max(1, areas.filter((area) => area > 0.02 * largest).length);
  const changed: Triple = [...sizes];
  changed[through] = (lengths[0]! + lengths[1]!) / 2 / shown;
  return changed;
}
