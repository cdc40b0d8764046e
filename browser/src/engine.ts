/** The network of the page, and answers from what it gives. */
import { answerOf, globalStatistics, preprocessed, softmax, type Answer } from "./answer";
import { asset } from "./assets";
import { openByGpu } from "./gpu";
import { lookOf, openEstimator, type Estimator } from "./looks";
import { opened, type Model, type ModelRecord } from "./model";
import { openNetwork, type Help, type Network, type Outputs } from "./network";
import type { Raster } from "./raster";

export interface EvidenceMap {
  width: number;
  height: number;
  values: Float32Array; // 0..1, in shares of its own maximum
}

export type Told = readonly [sequence: string, plane: string];

const CLOSE = 1e-3; // how far two ways to run a network may differ
const TIMED = 3;

export class Engine {
  private faster: Network | null = null; // than the network, where there is one

  private constructor(
    readonly model: Model,
    readonly threads: number,
    readonly network: Network,
    private readonly estimator: Estimator,
  ) {}

  get usesGpu(): boolean {
    return this.faster !== null;
  }

  /** Uses the graphics processor from now on, if it says the same of an image, and sooner. */
  async tryGpu(open: typeof openByGpu = openByGpu): Promise<void> {
    const other = await open(() => asset(this.model.network));
    if (!other) return;
    const pixels = [preprocessed(SAMPLE, this.model.pixels)];
    const [own, found] = [await this.network.run(pixels, true), await other.run(pixels, true)];
    if (!alike(own[0]!, found[0]!)) return;
    const time = async (network: Network) => {
      const times = [];
      for (let k = 0; k < TIMED; k++) {
        const started = performance.now();
        await network.run(pixels, true);
        times.push(performance.now() - started);
      }
      return Math.min(...times);
    };
    if ((await time(other)) < (await time(this.network))) this.faster = other;
  }

  /** By the graphics processor as long as it is there. */
  private async run(pixels: readonly Float32Array[], withMaps: boolean): Promise<Outputs[]> {
    const { faster } = this;
    if (faster)
      try {
        return await faster.run(pixels, withMaps);
      } catch {
        this.faster = null; // taken away, as browsers do
      }
    return this.network.run(pixels, withMaps);
  }

  /** As of `openNetwork`; threads: 1 where pages share no memory with their workers. */
  static async start(glue: string, threads: number, helper: (help: Help) => void = () => undefined): Promise<Engine> {
    const json = asset("model.json");
    const estimator = asset("sequence.safetensors");
    const model = opened(JSON.parse(new TextDecoder().decode(await json)) as ModelRecord);
    const network = await openNetwork(await asset(model.network), model, glue, threads, helper);
    return new Engine(model, threads, network, await openEstimator(await estimator));
  }

  /** told: sequence and plane of each image, as its file says them. */
  async judge(images: readonly Raster[], told: readonly Told[], map?: string): Promise<{ answer: Answer; map: EvidenceMap | null; milliseconds: number }[]> {
    const started = performance.now();
    const pixels = images.map((image) => preprocessed(image, this.model.pixels));
    const outputs = await this.run(pixels, map !== undefined);
    const answers = images.map((image, k) => {
      const { logits, features, maps } = outputs[k]!;
      const look = lookOf(this.estimator, image, ...told[k]!);
      const answer = answerOf(this.model, logits, features, globalStatistics(image), look);
      return { answer, map: maps && this.mapOf(maps, map || answer.label) };
    });
    const milliseconds = (performance.now() - started) / images.length;
    return answers.map((one) => ({ ...one, milliseconds }));
  }

  /** Null where nothing speaks for the class more than the rest of the slice. */
  private mapOf(maps: EvidenceMap, label: string): EvidenceMap | null {
    const { width, height } = maps;
    const k = this.model.classes.indexOf(label);
    const values = maps.values.slice(k * width * height, (k + 1) * width * height);
    const [lowest, highest] = [Math.min(...values), Math.max(...values)];
    if (highest - lowest <= 1e-4 * highest) return null;
    return { width, height, values: values.map((value) => value / highest) };
  }
}

/** Rings, for want of a slice. */
const SAMPLE: Raster = {
  width: 128,
  height: 128,
  channels: 1,
  data: Uint8Array.from({ length: 128 * 128 }, (_, k) => {
    const away = Math.hypot((k % 128) - 60, k / 128 - 64);
    return away > 56 ? 0 : 120 + 80 * Math.sin(away / 5);
  }),
};

function alike(one: Outputs, other: Outputs): boolean {
  const close = (a: ArrayLike<number> | null | undefined, b: ArrayLike<number> | null | undefined, scale: number) => {
    if (!a || !b) return !a && !b;
    return a.length === b.length && Array.from(a, (value, k) => Math.abs(value - b[k]!) <= CLOSE * scale).every(Boolean);
  };
  const largest = (values: Float32Array | null | undefined) => values?.reduce((most, value) => Math.max(most, Math.abs(value)), 0) ?? 0;
  return (
    close(softmax(one.logits), softmax(other.logits), 1) &&
    close(one.features, other.features, largest(one.features)) &&
    close(one.maps?.values, other.maps?.values, largest(one.maps?.values))
  );
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
