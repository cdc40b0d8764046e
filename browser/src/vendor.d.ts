declare module "jpeg-lossless-decoder-js" {
  export class Decoder {
    decompress(packed: ArrayBuffer): ArrayBuffer;
  }
}
declare module "@cornerstonejs/codec-*";
declare module "virtual:kernels" {
  // Of kernels/kernels.ts, in base64: with fused multiplications and additions, which not every browser knows, and without.
  export const relaxed: string;
  export const plain: string;
}
// Of WebGPU, which the library of the compiler knows without its constants.
declare const GPUBufferUsage: Record<"STORAGE" | "UNIFORM" | "COPY_DST" | "COPY_SRC" | "MAP_READ", number>;
declare const GPUShaderStage: { COMPUTE: number };
declare const GPUMapMode: { READ: number };
