/** The thread that reads files and runs the network, so that the page never waits. */
import { Engine, Refusal, asset, laidOver, openMany, patientAnswer, readAssetsBy } from "./core";
import { kernelsOf, type Help } from "./network";
import { Stopped } from "./refusal";
import type { Scan } from "./open";
import type { Raster } from "./raster";
import type { Reply, Request, ScanResult, SliceResult } from "./protocol";

const BATCH = 4;
const DECODERS = ["jpeg.wasm", "jpeg2000.wasm", "jpegls.wasm"];
const MOST_KEPT = 200; // scans that the page may look at again; single slices are small

let engine: Engine | null = null;
let stopped = false;
let nextId = 1;
const scans = new Map<number, Scan>();
let line: Promise<unknown> = Promise.resolve(); // one thing after the other

// Tests import this file in Node, for what the core exports.
export * from "./core";

const say = (reply: Reply, transfer: Transferable[] = []) => self.postMessage(reply, { transfer });
const pause = () => new Promise((done) => setTimeout(done)); // lets "stop" in

if ("WorkerGlobalScope" in globalThis)
  self.addEventListener("message", ({ data }: MessageEvent<Request>) => {
  if (data.do === "stop") stopped = true;
  else if (data.do === "forget") for (const id of data.scans) scans.delete(id);
  else if (data.do === "help") void kernelsOf(data).then(({ help }) => help()); // for ever
  else if (data.do === "view") void view(data); // between the slices of a scan
  else line = line.then(() => (data.do === "start" ? start(data) : open(data)));
});

async function start({ glue, threads, files }: Extract<Request, { do: "start" }>): Promise<void> {
  try {
    if (files) readAssetsBy((name) => Promise.resolve(new Uint8Array(files[name]!)));
    engine = await Engine.start(glue, threads, helper);
    // So that they are in the cache of the program before they are needed: the connection can be closed then.
    await Promise.all([import("brainmri-codecs"), ...DECODERS.map(asset)]);
    say({ is: "ready", model: engine.model, threads });
    void tryGpu(engine);
  } catch (error) {
    say({ is: "failed", reason: error instanceof Error ? error.message : String(error) });
  }
}

/** Beside the work, which does not wait for it. */
async function tryGpu(engine: Engine): Promise<void> {
  await engine.tryGpu().catch(() => undefined); // no more than not faster
  say({ is: "gpu", used: engine.usesGpu });
}

/** Another thread of this very program, which ends with this one. */
function helper(help: Help): void {
  new Worker(self.location.href, { type: "module" }).postMessage({ do: "help", ...help } satisfies Request);
}

async function open({ job, files }: Extract<Request, { do: "open" }>): Promise<void> {
  stopped = false;
  const named = files.map(({ name, file }) => ({
    name,
    size: file.size,
    bytes: async () => {
      say({ is: "reading", job, name });
      await pause();
      if (stopped) throw new Stopped();
      return new Uint8Array(await file.arrayBuffer());
    },
  }));
  try {
    await openMany(
      named,
      async (scan) => say({ is: "scan", job, result: await judged(job, scan) }),
      (refused) => {
        if (!stopped) say({ is: "refused", job, ...refused });
      },
    );
  } catch (error) {
    if (!(error instanceof Stopped))
      say({ is: "refused", job, name: "", key: "failed", values: [error instanceof Error ? error.message : String(error)] });
  }
  say({ is: "finished", job, stopped });
}

async function judged(job: number, scan: Scan): Promise<ScanResult> {
  if (!engine) throw new Error("no model");
  const plane = scan.slices.planes[0]!;
  const slices: SliceResult[] = [];
  const refused: ScanResult["refused"] = [];
  for (let at = 0; at < plane.count && !stopped; at += BATCH) {
    const images: Raster[] = [];
    const places: number[] = [];
    for (let index = at; index < Math.min(at + BATCH, plane.count); index++)
      try {
        images.push(await scan.slices.draw(plane.name, index));
        places.push(index);
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        refused.push({ index, key: error.key, values: error.values });
      }
    const told = places.map(() => [scan.slices.sequence, plane.name] as const);
    (await engine.judge(images, told)).forEach(({ answer, milliseconds }, k) =>
      slices.push({ file: scan.files[places[k]!] ?? scan.files[0]!, plane: plane.name, index: places[k]!, answer, milliseconds }),
    );
    if (plane.count > BATCH) say({ is: "progress", job, name: scan.name, done: Math.min(at + BATCH, plane.count), of: plane.count });
    await pause();
  }
  if (!slices.length) {
    if (stopped) throw new Stopped();
    throw new Refusal(refused[0]!.key, refused[0]!.values);
  }
  const id = nextId++;
  scans.set(id, scan);
  if (scans.size > MOST_KEPT) scans.delete(scans.keys().next().value!);
  return {
    id,
    name: scan.name,
    kind: scan.slices.kind,
    plane: plane.name,
    planes: scan.slices.planes,
    notes: scan.slices.notes,
    slices,
    refused,
    patient: slices.length > 1 ? patientAnswer(engine.model, slices.map((one) => one.answer)) : null,
  };
}

async function view({ ticket, scan, plane, index, label }: Extract<Request, { do: "view" }>): Promise<void> {
  try {
    const slices = scans.get(scan)?.slices;
    if (!slices || !engine) return;
    const image = await slices.draw(plane, index);
    const [found] = await engine.judge([image], [[slices.sequence, plane]], label);
    const overlay = found!.map ? laidOver(found!.map, image.width, image.height) : null;
    say({ is: "view", ticket, image, overlay, answer: found!.answer, milliseconds: found!.milliseconds, gpu: engine.usesGpu });
  } catch (error) {
    const refusal = error instanceof Refusal ? error : new Refusal("failed", [error instanceof Error ? error.message : String(error)]);
    say({ is: "noview", ticket, key: refusal.key, values: refusal.values });
  }
}
