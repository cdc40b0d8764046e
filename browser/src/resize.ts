/** The bilinear, antialiased resizing of Pillow, and of torchvision on 8 bits, to the last bit. */
import type { Raster } from "./raster";

export type Resampling = "pillow" | "torchvision";

interface Weights {
  starts: Int32Array;
  weights: Int32Array; // (after, count)
  count: number;
  bits: number;
}

const kept = new Map<string, Weights>();

/** Of Pillow's triangle filter: the first value that each new one is made of, and the shares of it and those behind it. */
export function triangle(before: number, after: number): { starts: Int32Array; shares: Float64Array; count: number } {
  const scale = before / after;
  const reach = Math.max(scale, 1);
  const count = 2 * Math.ceil(reach) + 1;
  const starts = new Int32Array(after);
  const shares = new Float64Array(after * count);
  for (let k = 0; k < after; k++) {
    const centre = scale * (k + 0.5);
    const first = Math.max(Math.trunc(centre - reach + 0.5), 0);
    const many = Math.min(Math.max(Math.min(Math.trunc(centre + reach + 0.5), before) - first, 0), count);
    starts[k] = first;
    let sum = 0;
    for (let j = 0; j < many; j++) {
      const share = Math.max(0, 1 - Math.abs((first + j - centre + 0.5) / reach));
      shares[k * count + j] = share;
      sum += share;
    }
    for (let j = 0; j < many; j++) shares[k * count + j]! /= sum;
  }
  return { starts, shares, count };
}

function weightsOf(before: number, after: number, resampling: Resampling): Weights {
  const key = `${before} ${after} ${resampling}`;
  const known = kept.get(key);
  if (known) return known;
  const { starts, shares, count } = triangle(before, after);
  const largest = shares.reduce((one, other) => Math.max(one, other));
  let bits = 22;
  if (resampling === "torchvision") {
    bits = 0;
    while (bits < 22 && Math.trunc(0.5 + largest * 2 ** (bits + 1)) < 1 << 15) bits++;
  }
  const weights = Int32Array.from(shares, (share) => Math.floor(0.5 + share * 2 ** bits));
  const found = { starts, weights, count, bits };
  if (kept.size > 64) kept.clear();
  kept.set(key, found);
  return found;
}

/** Resize an image: its rows first, then its columns, each with whole weights and a result of 8 bits. */
export function resize(image: Raster, width: number, height: number, resampling: Resampling = "pillow"): Raster {
  const { channels } = image;
  let data = image.data;
  if (image.width !== width) {
    const { starts, weights, count, bits } = weightsOf(image.width, width, resampling);
    const found = new Uint8Array(width * image.height * channels);
    const last = image.width - 1;
    for (let y = 0; y < image.height; y++) {
      const row = y * image.width * channels;
      for (let x = 0; x < width; x++)
        for (let c = 0; c < channels; c++) {
          let sum = 1 << (bits - 1);
          for (let j = 0; j < count; j++) {
            const weight = weights[x * count + j]!;
            if (weight) sum += weight * data[row + Math.min(starts[x]! + j, last) * channels + c]!;
          }
          found[(y * width + x) * channels + c] = clip8(sum >> bits);
        }
    }
    data = found;
  }
  if (image.height !== height) {
    const { starts, weights, count, bits } = weightsOf(image.height, height, resampling);
    const line = width * channels;
    const found = new Uint8Array(line * height);
    const sums = new Int32Array(line);
    const last = image.height - 1;
    for (let y = 0; y < height; y++) {
      sums.fill(1 << (bits - 1));
      for (let j = 0; j < count; j++) {
        const weight = weights[y * count + j]!;
        if (!weight) continue;
        const row = Math.min(starts[y]! + j, last) * line;
        for (let x = 0; x < line; x++) sums[x]! += weight * data[row + x]!;
      }
      for (let x = 0; x < line; x++) found[y * line + x] = clip8(sums[x]! >> bits);
    }
    data = found;
  }
  return { width, height, channels, data };
}

function clip8(value: number): number {
  return value < 0 ? 0 : value > 255 ? 255 : value;
}
