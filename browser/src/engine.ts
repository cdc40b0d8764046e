/** The network of the page: ONNX Runtime as WebAssembly, and answers from what it gives. */
import * as ort from "onnxruntime-web/wasm";
import { answerOf, globalStatistics, preprocessed, type Answer } from "./answer";
import { asset } from "./assets";
import { lookOf, openEstimator, type Estimator } from "./looks";
import { opened, type Model, type ModelRecord } from "./model";
import type { Raster } from "./raster";

const BATCH = 4;

export interface EvidenceMap {
  width: number;
  height: number;
  values: Float32Array; // 0..1, in shares of its own maximum
}

export type Told = readonly [sequence: string, plane: string];

export class Engine {
  private constructor(
    readonly model: Model,
    readonly threads: number,
    private readonly session: ort.InferenceSession,
    private readonly estimator: Estimator,
  ) {}

  /** glue: the address of ONNX Runtime's own script; "" where it is inside. threads: 1 where pages share no memory with their workers. */
  static async start(glue: string, threads: number, onProgress: (part: string) => void = () => undefined): Promise<Engine> {
    const json = asset("model.json");
    const wasm = asset("ort.wasm");
    const estimator = asset("sequence.safetensors");
    const record = JSON.parse(new TextDecoder().decode(await json)) as ModelRecord;
    const network = asset(record.network);
    ort.env.logLevel = "error";
    ort.env.wasm.numThreads = threads;
    if (glue) ort.env.wasm.wasmPaths = { mjs: glue };
    ort.env.wasm.wasmBinary = (await wasm) as unknown as ArrayBuffer;
    onProgress("network");
    const session = await ort.InferenceSession.create(await network, {
      executionProviders: ["wasm"],
      graphOptimizationLevel: "all",
      extra: { session: { disable_quant_qdq: "1" } }, // weights of 8 bits become floats once, not at each run
    });
    return new Engine(opened(record), threads, session, openEstimator(await estimator));
  }

  /** told: sequence and plane of each image, as its file says them. */
  async judge(images: readonly Raster[], told: readonly Told[], map?: string): Promise<{ answer: Answer; map: EvidenceMap | null; milliseconds: number }[]> {
    const found = [];
    for (let at = 0; at < images.length; at += BATCH) {
      const some = images.slice(at, at + BATCH);
      const started = performance.now();
      const { width, height } = this.model.pixels;
      const pixels = new Float32Array(some.length * 3 * width * height);
      some.forEach((image, k) => pixels.set(preprocessed(image, this.model.pixels), k * 3 * width * height));
      const wanted = ["logits", ...(this.model.features ? ["features"] : []), ...(map !== undefined && this.model.maps ? ["maps"] : [])];
      const outputs = await this.session.run(
        { pixel_values: new ort.Tensor("float32", pixels, [some.length, 3, height, width]) },
        wanted,
      );
      const row = (name: string, k: number) => {
        const data = outputs[name]?.data as Float32Array | undefined;
        return data ? data.subarray((k * data.length) / some.length, ((k + 1) * data.length) / some.length) : null;
      };
      const answers = some.map((image, k) => {
        const look = lookOf(this.estimator, image, ...told[at + k]!);
        const answer = answerOf(this.model, row("logits", k)!, row("features", k), globalStatistics(image), look);
        const maps = outputs["maps"];
        return { answer, map: maps ? this.mapOf(row("maps", k)!, maps.dims, map || answer.label) : null };
      });
      const milliseconds = (performance.now() - started) / some.length;
      for (const one of answers) found.push({ ...one, milliseconds });
    }
    return found;
  }

  /** Null where nothing speaks for the class more than the rest of the slice. */
  private mapOf(maps: Float32Array, dims: readonly number[], label: string): EvidenceMap | null {
    const [height, width] = [dims[2]!, dims[3]!];
    const k = this.model.classes.indexOf(label);
    const values = maps.slice(k * width * height, (k + 1) * width * height);
    const [lowest, highest] = [Math.min(...values), Math.max(...values)];
    if (highest - lowest <= 1e-4 * highest) return null;
    return { width, height, values: values.map((value) => value / highest) };
  }
}

/** A map (h, w) over the whole image, bilinear: each place stands in the middle of its share. */
export function laidOver(map: EvidenceMap, width: number, height: number): Float32Array {
  const weights = (length: number, places: number) =>
    Array.from({ length }, (_, k) => {
      const at = Math.min(Math.max(((k + 0.5) / length) * places - 0.5, 0), places - 1);
      const low = Math.min(Math.floor(at), Math.max(places - 2, 0));
      return [low, Math.min(low + 1, places - 1), at - low] as const;
    });
  const [columns, rows] = [weights(width, map.width), weights(height, map.height)];
  const found = new Float32Array(width * height);
  let k = 0;
  for (const [top, bottom, down] of rows)
    for (const [left, right, across] of columns) {
      const value = (y: number, x: number) => map.values[y * map.width + x]!;
      const upper = value(top, left) * (1 - across) + value(top, right) * across;
      const lower = value(bottom, left) * (1 - across) + value(bottom, right) * across;
      found[k++] = upper * (1 - down) + lower * down;
    }
  const highest = found.reduce((a, b) => Math.max(a, b), 0) || 1;
  return found.map((value) => value / highest);
}
