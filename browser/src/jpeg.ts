/** JPEG files by libjpeg's own arithmetic (mozjpeg as WebAssembly), which is Pillow's too. */
import decoder from "@jsquash/jpeg/codec/dec/mozjpeg_dec.js";
import { asset } from "./assets";
import { checkSize, exifTurn } from "./png";
import { upright, type Raster } from "./raster";
import { Refusal } from "./refusal";

interface Decoded {
  width: number;
  height: number;
  data: Uint8ClampedArray;
}
const [LS_FRAME, LS_PRESET, LARGER_SIZE] = [0xf7, 0xf8, 4]; // of JPEG-LS; a preset may state another size
let ready: Promise<{ decode(bytes: Uint8Array, preserveOrientation: boolean): Decoded | null }> | null = null;

interface Header {
  width: number;
  height: number;
  channels: number;
  bits: number;
  process: number;
  turn: number;
}

/** What the file says before its first scan. */
export function jpegHeader(bytes: Uint8Array): Header {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let turn = 1;
  for (let at = 2; at + 9 < bytes.length; ) {
    if (bytes[at] !== 0xff) break;
    const kind = bytes[at + 1]!;
    if (kind === 0xff || (kind >= 0xd0 && kind <= 0xd8) || kind === 1) {
      at += kind === 0xff ? 1 : 2;
      continue;
    }
    const length = view.getUint16(at + 2);
    if (kind === 0xe1 && String.fromCharCode(...bytes.subarray(at + 4, at + 8)) === "Exif")
      turn = exifTurn(bytes.subarray(at + 10, at + 2 + length));
    if (kind === LS_PRESET && bytes[at + 4] === LARGER_SIZE) break;
    if (kind === LS_FRAME || (kind >= 0xc0 && kind <= 0xcf && kind !== 0xc4 && kind !== 0xc8 && kind !== 0xcc))
      return {
        bits: bytes[at + 4]!,
        height: view.getUint16(at + 5),
        width: view.getUint16(at + 7),
        channels: bytes[at + 9]!,
        process: kind,
        turn,
      };
    at += 2 + length;
  }
  throw new Refusal("broken", ["JPEG"]);
}

export async function readJpeg(bytes: Uint8Array): Promise<Raster> {
  const header = jpegHeader(bytes);
  checkSize(header.width, header.height);
  if (header.channels !== 1 && header.channels !== 3) throw new Refusal("jpegInk");
  if (header.bits !== 8 || header.process > 0xc2) throw new Refusal("jpegKind");
  ready ??= asset("jpeg.wasm").then((wasmBinary) => decoder({ noInitialRun: true, wasmBinary } as never) as never);
  const module = await ready;
  let found: Decoded | null = null;
  try {
    found = module.decode(bytes, false);
  } catch {
    throw new Refusal("broken", ["JPEG"]);
  }
  if (!found) throw new Refusal("broken", ["JPEG"]);
  const channels = header.channels;
  const area = found.width * found.height;
  const data = new Uint8Array(area * channels);
  for (let k = 0; k < area; k++) for (let c = 0; c < channels; c++) data[k * channels + c] = found.data[4 * k + c]!;
  return upright({ width: found.width, height: found.height, channels, data }, header.turn);
}
