/** JPEG 2000 by OpenJPEG, which is Pillow's decoder too, and JPEG-LS by CharLS: fetched beside the worker. */
import charls from "@cornerstonejs/codec-charls/decodewasmjs";
import openjpeg from "@cornerstonejs/codec-openjpeg/decodewasmjs";

interface Decoder {
  getEncodedBuffer(length: number): Uint8Array;
  getDecodedBuffer(): Uint8Array;
  getFrameInfo(): { width: number; height: number; bitsPerSample: number; componentCount: number };
  decode(): void;
  delete(): void;
}
type Module = Record<string, new () => Decoder>;
type Start = (options: { wasmBinary: Uint8Array; print: () => void; printErr: () => void }) => Promise<Module>;

const KINDS = { jpeg2000: [openjpeg, "J2KDecoder"], jpegls: [charls, "JpegLSDecoder"] } as unknown as Record<Codec, [Start, string]>;
const ready = new Map<Codec, Promise<Module>>();
export type Codec = "jpeg2000" | "jpegls";

/** One grey frame: whole numbers of 8 or 16 bits, negative ones as two's complement; null for a broken one. */
export async function decode(codec: Codec, wasmBinary: Uint8Array, packed: Uint8Array, width: number, height: number): Promise<Uint8Array | Uint16Array | null> {
  const [start, name] = KINDS[codec];
  const silent = () => undefined;
  if (!ready.has(codec)) ready.set(codec, start({ wasmBinary, print: silent, printErr: silent }));
  const module = await ready.get(codec)!;
  const decoder = new module[name]!();
  try {
    decoder.getEncodedBuffer(packed.length).set(packed);
    decoder.decode();
    const frame = decoder.getFrameInfo();
    const bytes = decoder.getDecodedBuffer().slice();
    const wide = frame.bitsPerSample > 8;
    const fits = frame.width === width && frame.height === height && frame.componentCount === 1;
    if (!fits || frame.bitsPerSample > 16 || bytes.length !== width * height * (wide ? 2 : 1)) return null;
    return wide ? new Uint16Array(bytes.buffer) : bytes;
  } catch {
    return null;
  } finally {
    decoder.delete();
  }
}
