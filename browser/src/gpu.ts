/**
 * The program of `program.ts` on the graphics processor (WebGPU): the same memory, each step a dispatch, a thread for
 * each value. https://www.w3.org/TR/webgpu/
 */
import { put, valuesOf, type Network, type Outputs } from "./network";
import { readGraph } from "./onnx";
import { FIRST, RECORD, programOf, type Place } from "./program";

const THREADS = 64;
const UNIFORM = 256; // bytes from a step's number to the next

// The fields of a record are those of kernels/kernels.ts.
const SHADER = `
@group(0) @binding(0) var<storage, read_write> memory: array<u32>;
@group(0) @binding(1) var<uniform> step: vec4<u32>; // where its record begins

fn number(at: u32) -> f32 { return bitcast<f32>(memory[at]); }

@compute @workgroup_size(${THREADS})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let depthwise = memory[step.x] == 1u;
  let lanes = select(8u, 4u, depthwise);
  let channels = memory[step.x + 5u] * lanes;
  let pixel = id.x / channels;
  let channel = id.x % channels;
  if (pixel >= 5u * memory[step.x + 4u]) { return; }
  let rows = memory[step.x + 11u];
  let length = memory[step.x + 12u];
  let row = memory[step.x + 13u] / 4u;
  var sum = number(memory[step.x + 10u] / 4u + channel);
  let plus = memory[step.x + 3u] / 4u;
  if (plus != 0u) { sum += number(memory[plus + pixel] / 4u + channel); }
  var weight = memory[step.x + 9u] / 4u + (channel / lanes) * rows * length * lanes + channel % lanes;
  let values = memory[memory[step.x + 1u] / 4u + pixel] / 4u + select(0u, channel, depthwise);
  let next = select(1u, memory[step.x + 14u] / 4u, depthwise);
  for (var y = 0u; y < rows; y++) {
    for (var k = 0u; k < length; k++) {
      sum += number(values + y * row + k * next) * number(weight);
      weight += lanes;
    }
  }
  let place = memory[memory[step.x + 2u] / 4u + pixel] / 4u + channel;
  memory[place] = bitcast<u32>(clamp(sum, number(step.x + 15u), number(step.x + 16u)));
}`;

/** Null where there is no graphics processor that WebGPU knows, only one in software, or too small a one. */
export async function openByGpu(file: () => Promise<Uint8Array>, software = false): Promise<Network | null> {
  const adapter = await globalThis.navigator?.gpu?.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter || (adapter.info.isFallbackAdapter && !software)) return null;
  const graph = readGraph(await file());
  const program = graph && programOf(graph, false);
  if (!program) return null;
  const size = program.pages * 65536;
  const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
  if (size > Math.min(maxBufferSize, maxStorageBufferBindingSize)) return null;
  const device = await adapter.requestDevice({ requiredLimits: { maxBufferSize: Math.max(size, 2 ** 28), maxStorageBufferBindingSize: Math.max(size, 2 ** 27) } });

  const memory = device.createBuffer({ size, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC, mappedAtCreation: true });
  const image = memory.getMappedRange();
  program.lay(image);
  const words = new Uint32Array(image.slice(0, FIRST + RECORD * program.steps));
  memory.unmap();
  const records = Array.from({ length: program.steps }, (_, k) => (FIRST + RECORD * k) / 4);
  const numbers = new Uint32Array((UNIFORM / 4) * program.steps);
  records.forEach((record, k) => (numbers[(UNIFORM / 4) * k] = record));
  const uniform = device.createBuffer({ size: numbers.byteLength, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
  device.queue.writeBuffer(uniform, 0, numbers);
  const layout = device.createBindGroupLayout({
    entries: [
      { binding: 0, visibility: GPUShaderStage.COMPUTE, buffer: { type: "storage" } },
      { binding: 1, visibility: GPUShaderStage.COMPUTE, buffer: { type: "uniform", hasDynamicOffset: true, minBindingSize: 16 } },
    ],
  });
  const pipeline = await device.createComputePipelineAsync({
    layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
    compute: { module: device.createShaderModule({ code: SHADER }), entryPoint: "main" },
  });
  const group = device.createBindGroup({
    layout,
    entries: [
      { binding: 0, resource: { buffer: memory } },
      { binding: 1, resource: { buffer: uniform, size: 16 } },
    ],
  });
  const groups = records.map((record) => {
    const [depthwise, fives, wide] = [words[record]!, words[record + 4]!, words[record + 5]!];
    return Math.ceil((5 * fives * wide * (depthwise ? 4 : 8)) / THREADS);
  });

  const length = ({ height, row }: Place) => height * row;
  const input = new Float32Array(length(program.input));
  const wanted = [...program.outputs];
  const starts = wanted.map((_, k) => wanted.slice(0, k).reduce((sum, [, place]) => sum + length(place), 0));
  const all = wanted.reduce((sum, [, place]) => sum + length(place), 0);
  const read = device.createBuffer({ size: 4 * all, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });

  const one = async (pixels: Float32Array, withMaps: boolean): Promise<Outputs> => {
    put(input, { ...program.input, at: 0 }, pixels);
    device.queue.writeBuffer(memory, 4 * program.input.at, input);
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    groups.forEach((count, k) => {
      pass.setBindGroup(0, group, [UNIFORM * k]);
      pass.dispatchWorkgroups(count);
    });
    pass.end();
    wanted.forEach(([, place], k) => encoder.copyBufferToBuffer(memory, 4 * place.at, read, 4 * starts[k]!, 4 * length(place)));
    device.queue.submit([encoder.finish()]);
    await read.mapAsync(GPUMapMode.READ);
    const found = new Float32Array(read.getMappedRange().slice(0));
    read.unmap();
    const output = (name: string) => {
      const k = wanted.findIndex(([known]) => known === name);
      if (k < 0) return null;
      const place = { ...wanted[k]![1], at: starts[k]! };
      return { width: place.width, height: place.height, values: valuesOf(found, place) };
    };
    return { logits: output("logits")!.values, features: output("features")?.values ?? null, maps: withMaps ? output("maps") : null };
  };
  const several = async (images: readonly Float32Array[], withMaps: boolean) => {
    const found: Outputs[] = [];
    for (const pixels of images) found.push(await one(pixels, withMaps));
    return found;
  };
  let before: Promise<unknown> = Promise.resolve(); // one thing after the other: they share the memory
  return {
    runtime: "WebGPU",
    run: (images, withMaps) => {
      const found = before.then(() => several(images, withMaps));
      before = found.catch(() => undefined);
      return found;
    },
  };
}
