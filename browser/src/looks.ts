/** Which MRI sequence and plane a slice looks like, by its pixels: `brainmri.evaluation.sequence`, with its weights. */
import { roundHalfEven } from "./answer";
import { PLANES } from "./geometry";
import { runnerOf, type Runner } from "./network";
import type { GraphNode, Values } from "./onnx";
import { programOf } from "./program";
import { toGrey, type Raster } from "./raster";
import { triangle } from "./resize";
import { FLAIR, OTHER, T1, T2, UNKNOWN } from "./sequence";

const ESTIMATED_PLANES = ["axial", "coronal", "sagittal"];
const [SIDE, FRAME] = [64, 2];
const [EDGE, LEAST_SHARE, SURE] = [Math.fround(0.15), 0.03, 0.7];
const OUTPUTS = 5; // sequences, of which the first two are T1 with and without a contrast agent
const LAYERS = 4;

export interface Look {
  sequence: string;
  plane: string;
  sequenceFrom: "picture" | "file";
  planeFrom: "picture" | "file";
}

export type Estimator = Runner;

/** The network, from a safetensors file of 16-bit floats: convolutions of stride 2, and a linear layer over all that is left. */
export async function openEstimator(bytes: Uint8Array): Promise<Estimator> {
  const constants = weightsOf(bytes);
  const node = (op: string, inputs: string[], output: string, strides: number[] = [], pads: number[] = []): GraphNode => {
    const numbers = new Map(op === "Conv" ? Object.entries({ strides, pads }) : []);
    return { op, inputs, outputs: [output], numbers, words: new Map() };
  };
  const layers = Array.from({ length: LAYERS }, (_, k) => [
    node("Conv", [`x${k}`, `kernel${k}`, `bias${k}`], `sum${k}`, [2, 2], [1, 1, 1, 1]),
    node("Relu", [`sum${k}`], `x${k + 1}`),
  ]);
  const dense = constants.get("dense")!;
  const side = SIDE / 2 ** LAYERS;
  constants.set("dense", { ...dense, dims: [dense.dims[0]!, dense.dims[1]! / side ** 2, side, side] });
  const last = node("Conv", [`x${LAYERS}`, "dense", "dense_bias"], "outputs", [1, 1], [0, 0, 0, 0]);
  const program = programOf({ nodes: [...layers.flat(), last], constants, input: { name: "x0", dims: [1, 1, SIDE, SIDE] }, outputs: ["outputs"] });
  return runnerOf(program!, 1, () => undefined);
}

function weightsOf(bytes: Uint8Array): Map<string, Values> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = 8 + Number(view.getBigUint64(0, true));
  const head = JSON.parse(new TextDecoder().decode(bytes.subarray(8, start))) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const found = new Map<string, Values>();
  for (const [name, { dtype, shape, data_offsets }] of Object.entries(head)) {
    if (dtype !== "F16") throw new Error(`${name}: ${dtype} is not known here`);
    const [from, to] = data_offsets;
    found.set(name, { dims: shape, data: Float32Array.from({ length: (to - from) / 2 }, (_, k) => half(view.getUint16(start + from + 2 * k, true))) });
  }
  return found;
}

function half(bits: number): number {
  const [sign, exponent, rest] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  return exponent ? sign * 2 ** (exponent - 15) * (1 + rest / 1024) : sign * 2 ** -24 * rest;
}

/** The estimate, with what the file says in its place: sequence "" and plane "slice" say nothing. */
export function lookOf(estimator: Estimator, image: Raster, sequence: string, plane: string): Look {
  const [sequences, planes] = probabilities(estimator, headView(image));
  const [withAgent, without, ...others] = sequences as [number, number, ...number[]];
  const look: Look = {
    sequence: named([withAgent + without, ...others], [T1, T2, FLAIR, OTHER]),
    plane: named(planes, ESTIMATED_PLANES),
    sequenceFrom: "picture",
    planeFrom: "picture",
  };
  if (sequence) [look.sequence, look.sequenceFrom] = [sequence, "file"];
  if ((PLANES as readonly string[]).includes(plane)) [look.plane, look.planeFrom] = [plane, "file"];
  return look;
}

function named(shares: number[], names: readonly string[]): string {
  const best = shares.indexOf(Math.max(...shares));
  return shares[best]! >= SURE ? names[best]! : UNKNOWN;
}

/** The head in an image, on a black square of 64 by 64 pixels. */
function headView(image: Raster): Uint8Array {
  const { width, height } = image;
  const grey = toGrey(image);
  const least = Math.fround(EDGE * quantile(grey, 0.99));
  const [rows, columns] = [new Uint32Array(height), new Uint32Array(width)];
  for (let y = 0, k = 0; y < height; y++)
    for (let x = 0; x < width; x++, k++)
      if (grey[k]! > least) {
        rows[y]!++;
        columns[x]!++;
      }
  const ends = (counts: Uint32Array, of: number): [number, number] => {
    const lit = Array.from(counts, (count) => count / of > LEAST_SHARE);
    return [lit.indexOf(true), lit.lastIndexOf(true)];
  };
  let [[top, bottom], [left, right]] = [ends(rows, width), ends(columns, height)];
  if (bottom <= top || right <= left) [top, bottom, left, right] = [0, height - 1, 0, width - 1];
  const [w, h] = [right - left + 1, bottom - top + 1];
  const side = Math.max(w, h);
  const square = new Float32Array(side * side);
  const [down, across] = [Math.floor((side - h) / 2), Math.floor((side - w) / 2)];
  for (let y = 0; y < h; y++)
    square.set(grey.subarray((top + y) * width + left, (top + y) * width + right + 1), (down + y) * side + across);
  const inner = SIDE - 2 * FRAME;
  const small = shrunk(shrunk(square, side, inner), side, inner);
  const found = new Uint8Array(SIDE * SIDE);
  for (let y = 0; y < inner; y++)
    for (let x = 0; x < inner; x++)
      found[(FRAME + y) * SIDE + FRAME + x] = Math.min(Math.max(roundHalfEven(small[y * inner + x]!), 0), 255);
  return found;
}

/** Pillow's bilinear resize of floats along the rows (.., before) to `after`, turned: the second call does the columns. */
function shrunk(values: Float32Array, before: number, after: number): Float32Array {
  const { starts, shares, count } = triangle(before, after);
  const rows = values.length / before;
  const found = new Float32Array(after * rows);
  for (let y = 0; y < rows; y++)
    for (let x = 0; x < after; x++) {
      let sum = 0;
      for (let j = 0; j < count; j++) {
        const share = shares[x * count + j]!;
        if (share) sum += share * values[y * before + starts[x]! + j]!;
      }
      found[x * rows + y] = sum;
    }
  return found;
}

/** numpy's linear quantile of whole numbers 0..255. */
function quantile(values: Uint8Array, share: number): number {
  const counts = new Uint32Array(256);
  for (const value of values) counts[value]!++;
  const at = (rank: number) => {
    let level = 0;
    for (let sum = counts[0]!; sum <= rank; sum += counts[++level]!);
    return level;
  };
  const place = share * (values.length - 1);
  const low = Math.floor(place);
  const a = at(low);
  return Math.fround(a + (at(Math.min(low + 1, values.length - 1)) - a) * (place - low));
}

function probabilities(estimator: Estimator, view: Uint8Array): [number[], number[]] {
  const mean = view.reduce((sum, value) => sum + value, 0) / view.length;
  const deviation = Math.sqrt(view.reduce((sum, value) => sum + (value - mean) ** 2, 0) / view.length);
  estimator.run(Float32Array.from(view, (value) => (value - mean) / (deviation + 1)));
  const outputs = Array.from(estimator.output("outputs")!.values);
  return [softmax(outputs.slice(0, OUTPUTS)), softmax(outputs.slice(OUTPUTS))];
}

function softmax(values: number[]): number[] {
  const largest = Math.max(...values);
  const powers = values.map((value) => Math.exp(value - largest));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}
