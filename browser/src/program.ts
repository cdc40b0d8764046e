/**
 * An ONNX graph as a program for `kernels/kernels.ts`: convolutions with what follows them (limits, a sum with what was
 * there before), means of whole maps and linear layers, which are convolutions too.
 */
import type { Graph, GraphNode, Values } from "./onnx";

/** Maps: (channels, height, width) as ONNX has them; the last dimensions are 1 of what has no places. */
interface Maps {
  name: string;
  channels: number;
  height: number;
  width: number;
  frame: number[]; // zeros above, left, below, right
  used: number; // how many nodes take it
}

interface Step {
  depthwise: boolean;
  from: Maps;
  to: Maps;
  plus: Maps | null;
  kernel: [rows: number, columns: number];
  strides: number[];
  pads: number[];
  weights: Float32Array; // (outputs, inputs of each, rows, columns)
  bias: Float32Array | null;
  low: number;
  high: number;
}

export interface Place {
  channels: number;
  height: number;
  width: number;
  pixel: number; // values from a pixel to the next
  at: number; // of the first pixel, in values
  row: number; // values from a row to the next
}

export interface Program {
  pages: number; // of memory
  steps: number;
  lay: (memory: ArrayBufferLike) => void;
  input: Place;
  outputs: Map<string, Place>;
}

const FIVE = 5;
export const RECORD = 128;
export const FIRST = 192;
const PARTS = 16; // of a step, so that threads have something to share
const PAGE = 65536;
const TOGETHER = 8; // channels

/**
 * Null where the graph holds an operation that is not known here. together: whether maps that are not needed at the same
 * time share a place, so that it stays in the caches of a processor; their frames are cleared at each run then.
 */
export function programOf(graph: Graph, together = true): Program | null {
  const steps = stepsOf(graph);
  return steps && laidOut(graph, steps, together);
}

interface Read {
  steps: Step[];
  maps: Map<string, Maps>;
}

function stepsOf(graph: Graph): Read | null {
  const [, channels, height, width] = graph.input.dims;
  if (!channels || !height || !width) return null;
  const constants = new Map(graph.constants);
  const used = (name: string) => graph.nodes.filter(({ inputs }) => inputs.includes(name)).length + Number(graph.outputs.includes(name));
  const made = (name: string, channels: number, height: number, width: number): Maps => ({ name, channels, height, width, frame: [0, 0, 0, 0], used: used(name) });
  const maps = new Map([[graph.input.name, made(graph.input.name, channels, height, width)]]);
  const steps: Step[] = [];
  const floats = (name: string | undefined) => {
    const data = constants.get(name ?? "")?.data;
    return data instanceof Float32Array ? data : null;
  };
  /** The step that makes these maps, if nothing else has seen them. */
  const lastOf = (name: string) => {
    const step = steps.find(({ to }) => to.name === name);
    return step && step.to.used === 1 && step.low === -Infinity && step.high === Infinity ? step : null;
  };
  const renamed = (step: Step, name: string) => {
    maps.delete(step.to.name);
    step.to.name = name;
    step.to.used = used(name);
    maps.set(name, step.to);
  };
  const push = (step: Pick<Step, "from" | "to" | "kernel" | "weights" | "bias"> & Partial<Step>) => {
    steps.push({ depthwise: false, plus: null, strides: [1, 1], pads: [0, 0, 0, 0], low: -Infinity, high: Infinity, ...step });
    maps.set(step.to.name, step.to);
    return true;
  };

  const known = ({ op, inputs, outputs, numbers, words }: GraphNode): boolean => {
    const [name, second, third] = inputs;
    const output = outputs[0]!;
    if (op === "DequantizeLinear") {
      const values = dequantized(constants, inputs, numbers.get("axis")?.[0] ?? 1);
      if (values) constants.set(output, values);
      return values !== null;
    }
    const from = maps.get(name!);
    if (!from) return false;
    const weights = floats(second);
    const shape = constants.get(second ?? "")?.dims ?? [];
    const single = from.height === 1 && from.width === 1;
    if (op === "Conv") {
      const bias = third ? floats(third) : null;
      const [kernel, strides, pads] = [shape.slice(2), numbers.get("strides") ?? [1, 1], numbers.get("pads") ?? [0, 0, 0, 0]];
      const group = numbers.get("group")?.[0] ?? 1;
      const depthwise = group > 1;
      const fits = depthwise ? group === from.channels && shape[0] === group && shape[1] === 1 : shape[1] === from.channels;
      const plain = (numbers.get("dilations") ?? []).every((one) => one === 1) && [undefined, "NOTSET"].includes(words.get("auto_pad"));
      if (!weights || (third && !bias) || !fits || !plain || kernel.length !== 2) return false;
      const size = (axis: 0 | 1, length: number) => Math.floor((length + pads[axis]! + pads[axis + 2]! - kernel[axis]!) / strides[axis]!) + 1;
      const to = made(output, shape[0]!, size(0, from.height), size(1, from.width));
      return push({ from, to, depthwise, kernel: kernel as [number, number], strides, pads, weights, bias });
    }
    if (op === "Clip" || op === "Relu") {
      const step = lastOf(from.name);
      const [low, high] = op === "Relu" ? [0, Infinity] : [floats(second)?.[0], floats(third)?.[0]];
      if (!step || low === undefined || high === undefined) return false;
      [step.low, step.high] = [low, high];
      renamed(step, output);
      return true;
    }
    if (op === "Add") {
      const pairs = [[name!, second!], [second!, name!]] as const;
      for (const [last, before] of pairs) {
        const [step, other] = [lastOf(last), maps.get(before)];
        // What is added must be there when the step is done.
        if (!step || !other || step.plus || steps.findIndex(({ to }) => to === other) >= steps.indexOf(step)) continue;
        if (other.channels !== step.to.channels || other.height !== step.to.height || other.width !== step.to.width) continue;
        step.plus = other;
        renamed(step, output);
        return true;
      }
      return false;
    }
    if (op === "ReduceMean" || op === "GlobalAveragePool") {
      const axes = op === "ReduceMean" ? (constants.get(second ?? "")?.data ?? numbers.get("axes") ?? []) : [2, 3];
      const flat = Array.from(axes, (axis) => (axis + 4) % 4).sort().join() === "2,3";
      const places = from.height * from.width;
      if (!flat) return false;
      const share = new Float32Array(from.channels * places).fill(1 / places);
      return push({ from, to: made(output, from.channels, 1, 1), depthwise: true, kernel: [from.height, from.width], weights: share, bias: null });
    }
    if ((op === "Reshape" || op === "Flatten") && single) {
      maps.set(output, from); // the same values
      from.used += used(output) - 1;
      return true;
    }
    if (op === "Gemm" && single) {
      const [a, b, turned] = ["transA", "transB", ""].map((key) => numbers.get(key)?.[0] ?? 0);
      const ones = ["alpha", "beta"].every((key) => (numbers.get(key)?.[0] ?? 1) === 1);
      const bias = third ? floats(third) : null;
      if (!weights || (third && !bias) || a !== 0 || turned !== 0 || !ones || shape.length !== 2 || shape[b ? 1 : 0] !== from.channels) return false;
      const outs = shape[b ? 0 : 1]!;
      const own = b ? weights : weights.map((_, k) => weights[(k % from.channels) * outs + Math.floor(k / from.channels)]!);
      return push({ from, to: made(output, outs, 1, 1), kernel: [1, 1], weights: own, bias });
    }
    if (op === "Einsum" && words.get("equation") === "bkhw,ck->bchw") {
      if (!weights || shape[1] !== from.channels) return false;
      return push({ from, to: made(output, shape[0]!, from.height, from.width), kernel: [1, 1], weights, bias: null });
    }
    return false;
  };
  if (!graph.nodes.every(known) || !graph.outputs.every((name) => maps.has(name))) return null;
  return { steps, maps };
}

/** Weights of 8 bits as floats: a scale for all, or one for each along the axis. */
function dequantized(constants: Map<string, Values>, [whole, scale, zero]: string[], axis: number): Values | null {
  const [values, scales, zeros] = [whole, scale, zero].map((name) => constants.get(name ?? ""));
  if (!values || !(scales?.data instanceof Float32Array) || (zero && !zeros)) return null;
  const inner = values.dims.slice(axis + 1).reduce((all, one) => all * one, 1);
  const many = scales.data.length;
  if (many !== 1 && many !== values.dims[axis]) return null;
  const { data } = values;
  const found = new Float32Array(data.length);
  for (let k = 0; k < found.length; k++) {
    const place = many === 1 ? 0 : Math.floor(k / inner) % many;
    found[k] = (data[k]! - (zeros?.data[place] ?? 0)) * scales.data[place]!;
  }
  return { dims: values.dims, data: found };
}

/** Where everything lies, and how it comes there. */
function laidOut(graph: Graph, { steps, maps }: Read, together: boolean): Program {
  const input = maps.get(graph.input.name)!;
  for (const { from, to, kernel, strides, pads } of steps) {
    // Kernels may look past the last pixel of a row less far than the pads say, never further.
    const last = (axis: 0 | 1, made: number, length: number) => Math.max(0, (made - 1) * strides[axis]! + kernel[axis]! - pads[axis]! - length);
    const needed = [pads[0]!, pads[1]!, last(0, to.height, from.height), last(1, to.width, from.width)];
    from.frame = from.frame.map((one, k) => Math.max(one, needed[k]!));
  }
  let end = (FIRST + RECORD * steps.length) / 4;
  const take = (size: number) => {
    const at = end;
    end = at + whole(size);
    return at;
  };
  const all = [...new Set(maps.values())].map((one) => {
    const pixel = one === input ? one.channels : up(one.channels);
    const [above, left, below, right] = one.frame as [number, number, number, number];
    const row = (left + one.width + right) * pixel;
    const made = steps.findIndex(({ to }) => to === one);
    const last = steps.findLastIndex(({ from, plus }) => from === one || plus === one);
    const kept = !together || one === input || graph.outputs.some((name) => maps.get(name) === one);
    return { one, pixel, row, size: (above + one.height + below) * row + TOGETHER, first: above * row + left * pixel, made, last: kept ? steps.length : last, begin: 0 };
  });
  const laidBefore: typeof all = [];
  for (const each of all.sort((a, b) => a.made - b.made)) {
    const live = laidBefore.filter((other) => other.last >= each.made).sort((a, b) => a.begin - b.begin);
    for (const other of live) {
      if (other.begin >= each.begin + whole(each.size)) break;
      each.begin = other.begin + whole(other.size);
    }
    laidBefore.push(each);
  }
  const shared = take(Math.max(...all.map(({ begin, size }) => begin + whole(size))));
  const places = new Map<Maps, Place>();
  for (const { one, pixel, row, first, begin } of all)
    places.set(one, { channels: one.channels, height: one.height, width: one.width, pixel, at: shared + begin + first, row });
  const laid = steps.map((step) => {
    const [from, to] = [places.get(step.from)!, places.get(step.to)!];
    const fives = Math.ceil((to.height * to.width) / FIVE);
    const weights = step.depthwise ? withChannelsInside(step, to.pixel) : inEights(step, from.pixel);
    const table = () => take(FIVE * fives);
    return { step, from, to, fives, weights, tables: [table(), table(), step.plus ? table() : 0], at: take(weights.length), bias: take(to.pixel) };
  });
  const lay = (memory: ArrayBufferLike) => {
    const [words, floats] = [new Int32Array(memory), new Float32Array(memory)];
    words[128 / 4] = steps.length;
    laid.forEach(({ step, from, to, fives, weights, tables, at, bias }, k) => {
      floats.set(weights, at);
      if (step.bias) floats.set(step.bias, bias);
      const [above, left] = step.pads as [number, number];
      for (let p = 0; p < FIVE * fives; p++) {
        const pixel = Math.min(p, to.height * to.width - 1);
        const [y, x] = [Math.floor(pixel / to.width), pixel % to.width];
        const first = from.at + (y * step.strides[0]! - above) * from.row + (x * step.strides[1]! - left) * from.pixel;
        words[tables[0]! + p] = 4 * first;
        words[tables[1]! + p] = 4 * (to.at + y * to.row + x * to.pixel);
        const plus = step.plus && places.get(step.plus);
        if (plus) words[tables[2]! + p] = 4 * (plus.at + y * plus.row + x * plus.pixel);
      }
      const groups = step.depthwise ? to.pixel / 4 : to.pixel / TOGETHER;
      // Threads share the pixels, or the channels where their weights are more than the values.
      const byPixels = fives >= PARTS;
      const [many, wide] = byPixels ? [Math.ceil(fives / PARTS), groups] : [fives, Math.ceil(groups / PARTS)];
      const parts = Math.ceil(fives / many) * Math.ceil(groups / wide);
      const [rows, columns] = step.kernel;
      const length = step.depthwise ? columns : columns * from.pixel;
      const record = [Number(step.depthwise), ...tables.map((one) => 4 * one), fives, groups, many, wide, parts, 4 * at, 4 * bias, rows, length, 4 * from.row, 4 * from.pixel];
      const start = (FIRST + RECORD * k) / 4;
      words.set(record, start);
      floats.set([step.low, step.high], start + record.length);
      words.set(frameOf(step.to, to), start + record.length + 2);
    });
  };
  const outputs = new Map(graph.outputs.map((name) => [name, places.get(maps.get(name)!)!]));
  return { pages: Math.ceil((4 * end) / PAGE), steps: steps.length, lay, input: places.get(input)!, outputs };
}

/** So that vectors lie in one line of the cache. */
const whole = (size: number) => Math.ceil(size / 16) * 16;
const up = (channels: number) => Math.ceil(channels / TOGETHER) * TOGETHER;

/** The bytes of the frame of zeros around maps. */
function frameOf({ frame, height, width }: Maps, { at, row, pixel }: Place): number[] {
  const [above, left, below, right] = frame as [number, number, number, number];
  if (!above && !left && !below && !right) return [];
  const before = above * row + left * pixel;
  return [at - before, before, row - width * pixel, row, height, right * pixel + below * row].map((one, k) => (k === 4 ? one : 4 * one));
}

/** (groups of eight outputs, rows, columns, inputs with those that fill up, eight outputs). */
function inEights({ from, to, kernel, weights }: Step, inputs: number): Float32Array {
  const places = kernel[0] * kernel[1];
  const found = new Float32Array(up(to.channels) * places * inputs);
  for (let o = 0; o < to.channels; o++)
    for (let c = 0; c < from.channels; c++)
      for (let place = 0; place < places; place++)
        found[((Math.floor(o / TOGETHER) * places + place) * inputs + c) * TOGETHER + (o % TOGETHER)] = weights[(o * from.channels + c) * places + place]!;
  return found;
}

/** (groups of four channels, rows, columns, four channels). */
function withChannelsInside({ to, kernel, weights }: Step, channels: number): Float32Array {
  const places = kernel[0] * kernel[1];
  const found = new Float32Array(channels * places);
  for (let c = 0; c < to.channels; c++)
    for (let place = 0; place < places; place++)
      found[(Math.floor(c / 4) * places + place) * 4 + (c % 4)] = weights[c * places + place]!;
  return found;
}
