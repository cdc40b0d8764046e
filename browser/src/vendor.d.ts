declare module "jpeg-lossless-decoder-js" {
  export class Decoder {
    decompress(packed: ArrayBuffer): ArrayBuffer;
  }
}
