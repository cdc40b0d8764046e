/** A network that runs: by this page's own runtime where it knows all operations, else by ONNX Runtime. */
import { plain, relaxed } from "virtual:kernels";
import { asset } from "./assets";
import type { EvidenceMap } from "./engine";
import type { Model } from "./model";
import { readGraph } from "./onnx";
import { programOf, type Place, type Program } from "./program";

export interface Outputs {
  logits: Float32Array;
  features: Float32Array | null;
  maps: EvidenceMap | null; // (classes, height, width)
}

export interface Network {
  readonly runtime: "own" | "ONNX Runtime" | "WebGPU";
  /** pixels: (3, height, width) of each image. */
  run(pixels: readonly Float32Array[], withMaps: boolean): Promise<Outputs[]>;
}

/** What a thread that helps is handed. */
export interface Help {
  kernels: WebAssembly.Module;
  memory: WebAssembly.Memory;
}

export interface Kernels {
  run(): void;
  help(): void;
}

/** glue: the address of ONNX Runtime's own script; "" where it is inside. helper: starts a thread that calls `help`. */
export async function openNetwork(file: Uint8Array, model: Model, glue: string, threads: number, helper: (help: Help) => void): Promise<Network> {
  const graph = readGraph(file);
  const program = graph && programOf(graph);
  if (program) return ownNetwork(program, threads, helper);
  const { openByOnnxRuntime } = await import("brainmri-ort");
  return openByOnnxRuntime(file, model, await asset("ort.wasm"), glue, threads);
}

/** Runs a program: takes (channels, height, width), and tells each output once it has run, (channels, height, width) too. */
export interface Runner {
  run(values: Float32Array): void;
  output(name: string): EvidenceMap | null;
}

export async function runnerOf(program: Program, threads: number, helper: (help: Help) => void): Promise<Runner> {
  const memory = new WebAssembly.Memory({ initial: program.pages, maximum: program.pages, shared: true });
  program.lay(memory.buffer);
  const fused = bytesOf(relaxed);
  const kernels = await WebAssembly.compile(WebAssembly.validate(fused) ? fused : bytesOf(plain));
  const { run } = await kernelsOf({ kernels, memory });
  for (let k = 1; k < threads; k++) helper({ kernels, memory });
  const own = new Float32Array(memory.buffer);
  return {
    run: (values) => {
      put(own, program.input, values);
      run();
    },
    output: (name) => {
      const place = program.outputs.get(name);
      return place ? { width: place.width, height: place.height, values: valuesOf(own, place) } : null;
    },
  };
}

async function ownNetwork(program: Program, threads: number, helper: (help: Help) => void): Promise<Network> {
  const { run, output } = await runnerOf(program, threads, helper);
  const judged = (pixels: Float32Array, withMaps: boolean): Outputs => {
    run(pixels);
    return { logits: output("logits")!.values, features: output("features")?.values ?? null, maps: withMaps ? output("maps") : null };
  };
  return { runtime: "own", run: (images, withMaps) => Promise.resolve(images.map((pixels) => judged(pixels, withMaps))) };
}

export async function kernelsOf({ kernels, memory }: Help): Promise<Kernels> {
  return (await WebAssembly.instantiate(kernels, { env: { memory } })).exports as unknown as Kernels;
}

/** (channels, height, width) into a place. */
export function put(values: Float32Array, { channels, height, width, at, row, pixel }: Place, from: Float32Array): void {
  for (let c = 0, k = 0; c < channels; c++)
    for (let y = 0; y < height; y++)
      for (let x = 0, to = at + y * row + c; x < width; x++, k++, to += pixel) values[to] = from[k]!;
}

/** And out of it. */
export function valuesOf(values: Float32Array, { channels, height, width, at, row, pixel }: Place): Float32Array {
  const found = new Float32Array(channels * height * width);
  for (let c = 0, k = 0; c < channels; c++)
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++, k++) found[k] = values[at + y * row + x * pixel + c]!;
  return found;
}

function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(base64), (one) => one.charCodeAt(0));
}
