/** ONNX Runtime as WebAssembly, for networks with operations that `program.ts` does not know: fetched where it is needed. */
import * as ort from "onnxruntime-web/wasm";
import type { Model } from "./model";
import type { Network, Outputs } from "./network";

const BATCH = 4;

/** wasm: its program. glue: the address of its own script; "" where it is inside. */
export async function openByOnnxRuntime(file: Uint8Array, model: Model, wasm: Uint8Array, glue: string, threads: number): Promise<Network> {
  ort.env.logLevel = "error";
  ort.env.wasm.numThreads = threads;
  if (glue) ort.env.wasm.wasmPaths = { mjs: glue };
  ort.env.wasm.wasmBinary = wasm as unknown as ArrayBuffer;
  const session = await ort.InferenceSession.create(file, {
    executionProviders: ["wasm"],
    graphOptimizationLevel: "all",
    extra: { session: { disable_quant_qdq: "1" } }, // weights of 8 bits become floats once, not at each run
  });
  const { width, height } = model.pixels;
  const size = 3 * width * height;
  const some = async (images: readonly Float32Array[], withMaps: boolean): Promise<Outputs[]> => {
    const pixels = new Float32Array(images.length * size);
    images.forEach((image, k) => pixels.set(image, k * size));
    const names = session.outputNames.filter((name) => withMaps || name !== "maps");
    const outputs = await session.run({ pixel_values: new ort.Tensor("float32", pixels, [images.length, 3, height, width]) }, names);
    const row = (name: string, k: number) => {
      const data = outputs[name]?.data as Float32Array | undefined;
      return data ? data.slice((k * data.length) / images.length, ((k + 1) * data.length) / images.length) : null;
    };
    const dims = outputs["maps"]?.dims;
    return images.map((_, k) => ({
      logits: row("logits", k)!,
      features: row("features", k),
      maps: dims ? { height: dims[2]!, width: dims[3]!, values: row("maps", k)! } : null,
    }));
  };
  return {
    runtime: "ONNX Runtime",
    run: async (images, withMaps) => {
      const found: Outputs[] = [];
      for (let at = 0; at < images.length; at += BATCH) found.push(...(await some(images.slice(at, at + BATCH), withMaps)));
      return found;
    },
  };
}
