declare module "jpeg-lossless-decoder-js" {
  export class Decoder {
    decompress(packed: ArrayBuffer): ArrayBuffer;
  }
}
declare module "@cornerstonejs/codec-*";
