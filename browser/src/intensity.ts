/** Which values are drawn black and white, and the drawing: `brainmri.io.intensity`, function by function. */
import type { Raster } from "./raster";

const BLACK = 0.5;
const SPARED = 0.001;
const SPARED_PIXELS = 8;
const SPARED_MOST = 0.005;
const HEAD = 0.1;
const DARK = 2;
const BRIGHT = 98;
const GAP = 0.1;
const CLOSE = 1e-6;
const TIE = 1e-4;

export type Numbers =
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | Float32Array
  | Float64Array;
export type Range = readonly [number, number];

/** How many pixels have each value. */
export class Tally {
  private readonly counts = new Map<number, number>();

  /** negated: whether the values are negatives, because low ones are bright in the file. */
  constructor(private readonly negated = false) {}

  /** Count values, on another scale; those that are no finite numbers are left out. */
  add(values: Numbers, scaled: (value: number) => number, without?: (value: number) => boolean): void {
    const own = new Map<number, number>();
    if (values instanceof Uint16Array || values instanceof Int16Array || values instanceof Uint8Array || values instanceof Int8Array) {
      const shift = values instanceof Int16Array ? 32768 : values instanceof Int8Array ? 128 : 0;
      const numbers = new Float64Array(values.BYTES_PER_ELEMENT === 2 ? 65536 : 256);
      for (let k = 0; k < values.length; k++) numbers[values[k]! + shift]!++;
      numbers.forEach((number, k) => number && own.set(k - shift, number));
    } else for (const value of values) if (Number.isFinite(value)) own.set(value, (own.get(value) ?? 0) + 1);
    for (const [value, number] of own)
      if (!without?.(value)) {
        const place = scaled(value);
        this.counts.set(place, (this.counts.get(place) ?? 0) + number);
      }
  }

  range(): Range | null {
    const ordered = Float64Array.from(this.counts.keys()).sort();
    let sum = 0;
    const upto = Float64Array.from(ordered, (value) => (sum += this.counts.get(value)!));
    const shift = (this.negated && ordered[0]) || 0; // a negative value may be padding, but not a negated one
    const range = rangeOf(shift ? ordered.map((value) => value - shift) : ordered, upto, (edge) => edge);
    return range && [range[0] + shift, range[1] + shift];
  }
}

/** The values to draw black and white: robust percentiles of the head. Null if there are not two different ones. */
export function headRange(values: Numbers): Range | null {
  if (values.BYTES_PER_ELEMENT <= 2) {
    const tally = new Tally();
    tally.add(values, (value) => value);
    return tally.range();
  }
  let ordered: Numbers = values.slice().sort(); // NaN come last
  let first = 0;
  let last = ordered.length;
  if (ordered instanceof Float32Array || ordered instanceof Float64Array) {
    while (last > 0 && !(ordered[last - 1]! < Infinity)) last--;
    while (first < last && ordered[first] === -Infinity) first++;
  }
  ordered = ordered.subarray(first, last);
  return rangeOf(ordered, null, ordered instanceof Float32Array ? Math.fround : (edge) => edge);
}

function rangeOf(ordered: Numbers, upto: Float64Array | null, rounded: (edge: number) => number): Range | null {
  const length = ordered.length;
  if (!length || ordered[0] === ordered[length - 1]) return null;
  const start = afterPadding(ordered, upto);
  const [darkest, dark, bright] = [BLACK, DARK, BRIGHT].map((percent) => percentile(ordered, upto, start, percent)) as [
    number,
    number,
    number,
  ];
  const edge = rounded(dark + (HEAD + CLOSE) * (bright - dark));
  const head = Math.max(start, after(ordered, edge));
  const whitest = white(ordered, upto, head === length ? start : head);
  return darkest < whitest ? [darkest, whitest] : [ordered[0]!, ordered[length - 1]!];
}

/** The value up to which there is background around a head. */
export function backgroundEdge(values: Numbers): number {
  const ordered = Float64Array.from(values).sort();
  const at = (percent: number) => {
    const place = (percent / 100) * (ordered.length - 1);
    const low = Math.floor(place);
    const [a, b] = [ordered[low]!, ordered[Math.min(low + 1, ordered.length - 1)]!];
    return a + (b - a) * (place - low);
  };
  return at(DARK) + HEAD * (at(BRIGHT) - at(DARK));
}

/** Values as a grey image: `low` and below is 0, `high` and above 255, linear between; no number is 0. */
export function grey(values: ArrayLike<number>, width: number, height: number, low: number, high: number): Raster {
  const data = new Uint8Array(values.length);
  if (high > low) {
    const factor = 255 / (high - low);
    for (let k = 0; k < data.length; k++) {
      const scaled = (values[k]! - low) * factor;
      data[k] = scaled > 0 ? (scaled < 255 ? scaled + 0.5 + TIE : 255) : 0;
    }
  }
  return { width, height, channels: values.length === 3 * width * height ? 3 : 1, data };
}

function afterPadding(ordered: Numbers, upto: Float64Array | null): number {
  if (ordered[0]! >= 0) return 0;
  const start = after(ordered, ordered[0]!);
  const most = white(ordered, upto, start);
  const following = ordered[start]!;
  return following - ordered[0]! > GAP * (most - following) ? start : 0;
}

function white(ordered: Numbers, upto: Float64Array | null, start: number): number {
  const spared = Math.min(Math.max(SPARED, SPARED_PIXELS / count(ordered, upto, start)), SPARED_MOST);
  return percentile(ordered, upto, start, 100 * (1 - spared));
}

function count(ordered: Numbers, upto: Float64Array | null, start: number): number {
  return upto ? upto[upto.length - 1]! - (start ? upto[start - 1]! : 0) : ordered.length - start;
}

function percentile(ordered: Numbers, upto: Float64Array | null, start: number, percent: number): number {
  const many = count(ordered, upto, start);
  const rank = Math.max(1, Math.ceil((percent / 100) * many - CLOSE));
  if (!upto) return ordered[start + rank - 1]!;
  return ordered[notBefore(upto, upto[upto.length - 1]! - many + rank)]!;
}

/** The first place whose value is larger. */
function after(ordered: ArrayLike<number>, value: number): number {
  let [low, high] = [0, ordered.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ordered[middle]! <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The first place whose value is not smaller. */
function notBefore(ordered: ArrayLike<number>, value: number): number {
  let [low, high] = [0, ordered.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ordered[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
