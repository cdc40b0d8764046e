/** Images of more than 8 bits, and how they become 8-bit images: `brainmri.io.deep`. */
import { grey, headRange, type Numbers, type Range } from "./intensity";
import { upright, type Raster } from "./raster";
import { Refusal } from "./refusal";

const SAMPLED = 2 ** 22;

export interface Deep {
  width: number;
  height: number;
  values: Numbers; // one or three for each pixel; larger is brighter
  opacity: Float64Array | null;
  turn: number;
  negated: boolean;
}

export function rangeOfDeep(images: readonly Deep[]): Range {
  const parts = images.map((image) => {
    const shown = seen(image);
    if (images.length === 1) return shown;
    const step = 1 + Math.floor((shown.length * images.length) / SAMPLED);
    return shown.filter((_, k) => k % step === 0);
  });
  const negated = images.some((image) => image.negated);
  let values: Numbers = parts[0] ?? new Float64Array();
  if (parts.length > 1 || negated) {
    const all = new Float64Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      all.set(part, at);
      at += part.length;
    }
    values = all;
  }
  // Negative values may be padding, but not those that were not negative in the file.
  const shift = negated ? (values as Float64Array).reduce((a, b) => Math.min(a, b), Infinity) : 0;
  const [low, high] = headRange(shift && Number.isFinite(shift) ? values.map((value) => value - shift) : values) ?? [0, 0];
  return [low + shift, high + shift];
}

export function drawnDeep(image: Deep, range?: Range): Raster {
  const shown = seen(image);
  if (shown instanceof Float32Array || shown instanceof Float64Array)
    for (const value of shown) if (!Number.isFinite(value)) throw new Refusal("noNumbers");
  const [low, high] = range ?? rangeOfDeep([image]);
  const found = grey(image.values, image.width, image.height, low, high);
  const { opacity } = image;
  if (opacity)
    for (let k = 0; k < found.data.length; k++)
      found.data[k] = roundEven(found.data[k]! * opacity[Math.floor(k / found.channels)]!);
  return upright(found, image.turn);
}

function seen({ values, opacity }: Deep): Numbers {
  if (!opacity) return values;
  const channels = values.length / opacity.length;
  return values.filter((_, k) => opacity[Math.floor(k / channels)]! > 0);
}

function roundEven(value: number): number {
  const whole = Math.round(value);
  return value - Math.floor(value) === 0.5 && whole % 2 ? whole - 1 : whole;
}
