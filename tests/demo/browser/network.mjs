// node network.mjs PAGE FILE SIDE THREADS RUNS < pixels: what the page's network gives for images of SIDE by SIDE, a JSON
// object each, one a line. The pixels are float32; each image is computed RUNS times, which must give the same values.
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { Worker, isMainThread, workerData } from "node:worker_threads";

const [page, file, side, threads, runs] = isMainThread ? process.argv.slice(2) : [workerData.page];
const core = await import(pathToFileURL(resolve(page, "worker.js")));
if (isMainThread) {
  core.readAssetsBy(async (name) => new Uint8Array(readFileSync(join(page, name))));
  const model = { pixels: { width: Number(side), height: Number(side) } };
  const helper = (help) => new Worker(new URL(import.meta.url), { workerData: { page, ...help } });
  const glue = pathToFileURL(resolve(page, "ort.mjs")).href;
  const network = await core.openNetwork(new Uint8Array(readFileSync(file)), model, glue, Number(threads), helper);
  const bytes = readFileSync(0);
  const size = 3 * side * side;
  const pixels = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  const images = Array.from({ length: pixels.length / size }, (_, k) => pixels.subarray(k * size, (k + 1) * size));
  const words = (found) => found.map(({ logits, features, maps }) => JSON.stringify({ runtime: network.runtime, logits: Array.from(logits), features: features && Array.from(features), maps: maps && Array.from(maps.values) })).join("\n");
  const first = words(await network.run(images, true));
  for (let run = 1; run < runs; run++) if (words(await network.run(images, true)) !== first) throw new Error(`run ${run} gives other values`);
  console.log(first);
  await new Promise((done) => process.stdout.write("", done));
  process.exit(0);
} else (await core.kernelsOf(workerData)).help();
