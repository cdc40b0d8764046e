/** The graph of an ONNX file, as far as this page's own runtime needs it. https://onnx.ai/onnx/repo-docs/IR.html */

export interface Values {
  dims: number[];
  data: Float32Array | Int8Array | Uint8Array | number[]; // whole numbers of 64 bits as numbers
}

export interface GraphNode {
  op: string;
  inputs: string[];
  outputs: string[];
  numbers: Map<string, number[]>; // attributes
  words: Map<string, string>;
}

export interface Graph {
  nodes: GraphNode[];
  constants: Map<string, Values>;
  input: { name: string; dims: number[] }; // 0 for any
  outputs: string[];
}

type Field = { number: number; bytes: Uint8Array; value: bigint };
const FLOAT = 1;
const UINT8 = 2;
const INT8 = 3;
const INT64 = 7;

/** Null where it has several inputs, values that are not known here, or is no graph at all. */
export function readGraph(file: Uint8Array): Graph | null {
  const graph = [...fields(file)].find(({ number }) => number === 7)?.bytes;
  if (!graph) return null;
  const found: Graph = { nodes: [], constants: new Map(), input: { name: "", dims: [] }, outputs: [] };
  const inputs: Graph["input"][] = [];
  for (const { number, bytes } of fields(graph))
    if (number === 1) found.nodes.push(nodeOf(bytes));
    else if (number === 5) {
      const values = valuesOf(bytes);
      if (!values) return null;
      found.constants.set(...values);
    } else if (number === 11) inputs.push(inputOf(bytes));
    else if (number === 12) found.outputs.push(inputOf(bytes).name);
  const own = inputs.filter(({ name }) => !found.constants.has(name));
  if (own.length !== 1) return null;
  return { ...found, input: own[0]! };
}

/** What a message of protocol buffers holds: whole numbers, and the bytes of everything else. */
function* fields(bytes: Uint8Array): Generator<Field> {
  let at = 0;
  const whole = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined) throw new Error("the ONNX file ends too early");
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = Number(whole());
    const kind = key & 7;
    const value = kind === 0 ? whole() : 0n;
    const size = kind === 2 ? Number(whole()) : kind === 5 ? 4 : kind === 1 ? 8 : 0;
    yield { number: key >> 3, bytes: bytes.subarray(at, at + size), value };
    at += size;
  }
}

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const signed = (value: bigint) => Number(BigInt.asIntN(64, value));

/** Whole numbers of a repeated field, which stand together or one by one. */
function* numbers({ bytes, value }: Field): Generator<number> {
  if (!bytes.length) return yield signed(value);
  let sum = 0n;
  let shift = 0n;
  for (const byte of bytes) {
    sum |= BigInt(byte & 127) << shift;
    shift += 7n;
    if (byte >= 128) continue;
    yield signed(sum);
    [sum, shift] = [0n, 0n];
  }
}

function nodeOf(message: Uint8Array): GraphNode {
  const node: GraphNode = { op: "", inputs: [], outputs: [], numbers: new Map(), words: new Map() };
  for (const { number, bytes } of fields(message))
    if (number === 1) node.inputs.push(text(bytes));
    else if (number === 2) node.outputs.push(text(bytes));
    else if (number === 4) node.op = text(bytes);
    else if (number === 7 && bytes.length) node.op = `${text(bytes)}.${node.op}`; // of another domain
    else if (number === 5) {
      let name = "";
      const found: number[] = [];
      for (const field of fields(bytes))
        if (field.number === 1) name = text(field.bytes);
        else if (field.number === 2) found.push(new DataView(field.bytes.slice().buffer).getFloat32(0, true));
        else if (field.number === 3 || field.number === 8) found.push(...numbers(field));
        else if (field.number === 4) node.words.set(name, text(field.bytes));
      node.numbers.set(name, found);
    }
  return node;
}

function valuesOf(message: Uint8Array): [string, Values] | null {
  let [name, type, raw] = ["", 0, new Uint8Array()];
  const dims: number[] = [];
  const whole: number[] = [];
  for (const field of fields(message))
    if (field.number === 1) dims.push(...numbers(field));
    else if (field.number === 2) type = Number(field.value);
    else if (field.number === 4 || field.number === 9) raw = field.bytes.slice(); // at a place that arrays can begin
    else if (field.number === 7) whole.push(...numbers(field));
    else if (field.number === 8) name = text(field.bytes);
    else if (![12, 16].includes(field.number)) return null; // of another kind, or in another file; those are notes
  const size = dims.reduce((all, one) => all * one, 1);
  const data =
    type === FLOAT ? new Float32Array(raw.buffer)
    : type === INT8 ? new Int8Array(raw.buffer)
    : type === UINT8 ? raw
    : type === INT64 ? (whole.length ? whole : Array.from(new BigInt64Array(raw.buffer), Number))
    : null;
  return data?.length === size ? [name, { dims, data }] : null;
}

function inputOf(message: Uint8Array): Graph["input"] {
  const inside = (bytes: Uint8Array | undefined, wanted: number) => (bytes ? [...fields(bytes)].filter(({ number }) => number === wanted) : []);
  const [name] = inside(message, 1);
  const [type] = inside(message, 2);
  const [tensor] = inside(type?.bytes, 1);
  const [shape] = inside(tensor?.bytes, 2);
  const dims = inside(shape?.bytes, 1).map(({ bytes }) => Number(inside(bytes, 1)[0]?.value ?? 0));
  return { name: text(name?.bytes ?? new Uint8Array()), dims };
}
