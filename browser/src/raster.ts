/** An upright image of 8 bits: grey (one channel) or red, green and blue (three). */
export interface Raster {
  width: number;
  height: number;
  channels: 1 | 3;
  data: Uint8Array;
}

export const MIN_SIDE = 8;
const MAX_SIDE = 8192;
const MAX_RATIO = 64;
export const MOST_PIXELS = 4096 * 4096;

export function isTooLong(width: number, height: number): boolean {
  const longer = Math.max(width, height);
  return longer > MAX_SIDE || longer > MAX_RATIO * Math.max(Math.min(width, height), MIN_SIDE);
}

export function isBlank(image: Raster): boolean {
  const { data, channels } = image;
  for (let at = channels; at < data.length; at++) if (data[at] !== data[at % channels]) return false;
  return true;
}

/** Pillow's "L" of an RGB image; a grey one as it is. */
export function toGrey(image: Raster): Uint8Array {
  if (image.channels === 1) return image.data;
  const { data } = image;
  const grey = new Uint8Array(image.width * image.height);
  for (let k = 0, at = 0; k < grey.length; k++, at += 3)
    grey[k] = (data[at]! * 19595 + data[at + 1]! * 38470 + data[at + 2]! * 7471 + 0x8000) >> 16;
  return grey;
}

/** Turn an image upright, as EXIF and TIFF number its turns (1: it is upright). */
export function upright(image: Raster, turn: number): Raster {
  if (turn < 2 || turn > 8) return image;
  const { width, height, channels, data } = image;
  const swapped = turn > 4;
  const [w, h] = swapped ? [height, width] : [width, height];
  const found = new Uint8Array(data.length);
  for (let y = 0; y < h; y++)
    for (let x = 0; x < w; x++) {
      // Where the pixel stands in the file.
      const [a, b] = swapped ? [y, x] : [x, y];
      const column = turn === 2 || turn === 3 || turn === 7 || turn === 8 ? width - 1 - a : a;
      const row = turn === 3 || turn === 4 || turn === 6 || turn === 7 ? height - 1 - b : b;
      for (let c = 0; c < channels; c++)
        found[(y * w + x) * channels + c] = data[(row * width + column) * channels + c]!;
    }
  return { width: w, height: h, channels, data: found };
}

/** Lay colours (RGBA) on black with Pillow's arithmetic; one channel is left where `grey`. */
export function onBlack(rgba: Uint8Array, width: number, height: number, grey: boolean): Raster {
  const channels = grey ? 1 : 3;
  const data = new Uint8Array(width * height * channels);
  for (let k = 0; k < width * height; k++)
    for (let c = 0; c < channels; c++) {
      const value = rgba[4 * k + c]! * rgba[4 * k + 3]! * 128 + 0x4000;
      data[k * channels + c] = ((value >> 8) + value) >> 15;
    }
  return { width, height, channels, data };
}
