/**
 * From what the network gives to the answer: the mirror of `brainmri.evaluation.inference.prediction_of`, of
 * `OODDetector.score` and of `brainmri.metrics.baselines.global_statistics`. Tests hold them equal.
 */
import { fewSeen, typeDoubtful } from "./kinds";
import type { Look } from "./looks";
import type { Detector, Model } from "./model";
import { toGrey, type Raster } from "./raster";
import { resize } from "./resize";

export interface Answer {
  label: string;
  probabilities: number[]; // calibrated, in the order of the classes
  predictionSet: string[] | null; // the likeliest first
  outOfDistribution: boolean | null;
  score: number | null;
  look: Look;
  typeDoubtful: boolean | null;
  fewSeen: boolean | null;
}

/** What the network gets: float32 (3, H, W). */
export function preprocessed(image: Raster, pixels: Model["pixels"]): Float32Array {
  const { width, height, factor } = pixels;
  const small = resize(image, width, height, pixels.resampling);
  const area = width * height;
  const found = new Float32Array(3 * area);
  for (let c = 0; c < 3; c++) {
    const mean = Math.fround(Math.fround(pixels.mean[c]!) / Math.fround(factor));
    const std = Math.fround(Math.fround(pixels.std[c]!) / Math.fround(factor));
    const table = Float32Array.from({ length: 256 }, (_, level) => Math.fround(Math.fround(level - mean) / std));
    const channel = c % small.channels;
    for (let k = 0; k < area; k++) found[c * area + k] = table[small.data[k * small.channels + channel]!]!;
  }
  return found;
}

export function answerOf(
  model: Model,
  logits: Float32Array,
  features: Float32Array | null,
  statistics: Float64Array,
  look: Look,
): Answer {
  const plain = softmax(logits);
  const { temperature } = model;
  const probabilities =
    temperature === null ? plain : softmax(plain.map((p) => Math.log(Math.max(p, 1e-12)) / temperature));
  const order = plain.map((_, k) => k).sort((a, b) => plain[b]! - plain[a]! || a - b);
  const first = order[0]!;
  const { conformal, detector } = model;
  const shares = conformal?.calibrated ? probabilities : plain;
  const score = detector && features ? scoreOf(detector, features, statistics, first) : null;
  const outOfDistribution = detector && score !== null ? score > detector.threshold : null;
  return {
    label: model.classes[first]!,
    probabilities,
    predictionSet: conformal
      ? order.filter((k) => k === first || 1 - shares[k]! <= conformal.thresholds[k]!).map((k) => model.classes[k]!)
      : null,
    outOfDistribution,
    score,
    look,
    typeDoubtful: typeDoubtful(model, first, outOfDistribution),
    fewSeen: fewSeen(model, look),
  };
}

export function softmax(values: ArrayLike<number>): number[] {
  const all = Array.from(values);
  const largest = Math.max(...all);
  const powers = all.map((value) => Math.exp(value - largest));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

function scoreOf(rule: Detector, features: Float32Array, statistics: Float64Array, predicted: number): number {
  const { width } = rule;
  const which = rule.means.length > width ? predicted : 0;
  const length = Math.max(Math.sqrt(features.reduce((sum, value) => sum + value * value, 0)), 1e-12);
  const away = Float64Array.from(features, (value, k) => value / length - rule.means[which * width + k]!);
  let left = away.reduce((sum, value) => sum + value * value, 0);
  let inside = 0;
  const many = rule.deviations.length - 1;
  for (let k = 0; k < many; k++) {
    let along = 0;
    for (let d = 0; d < width; d++) along += away[d]! * rule.directions[k * width + d]!;
    left -= along * along;
    inside += (along / rule.deviations[k]!) ** 2;
  }
  const ofFeatures = Math.sqrt(inside + Math.max(left, 0) / rule.deviations[many]! ** 2);
  const size = statistics.length;
  let white = 0;
  for (let c = 0; c < size; c++) {
    let sum = 0;
    for (let r = 0; r < size; r++)
      sum += (statistics[r]! - rule.statistics_mean[r]!) * rule.statistics_whitening[r * size + c]!;
    white += sum * sum;
  }
  return Math.max(ofFeatures / rule.units[which]!, Math.sqrt(white) / rule.units[rule.units.length - 1]!);
}

const FRAME = 0.06;
const DARKEST = 5;
const BRIGHTEST = 40;

/** Seven numbers of a whole image: mean, deviation, frame, corners, dark share, colour, bright share of the frame. */
export function globalStatistics(image: Raster): Float64Array {
  const { width, height } = image;
  const grey = toGrey(image);
  const border = Math.max(1, roundHalfEven(FRAME * Math.min(width, height)));
  const whole = new Float64Array(256);
  const frame = new Float64Array(256);
  const right = Math.max(width - border, border);
  const bottom = Math.max(height - border, border);
  for (let y = 0, k = 0; y < height; y++)
    for (let x = 0; x < width; x++, k++) {
      whole[grey[k]!]!++;
      if (y < border || y >= bottom || x < border || x >= right) frame[grey[k]!]!++;
    }
  const corner = (rows: [number, number], columns: [number, number]) => {
    let sum = 0;
    for (let y = rows[0]; y < rows[1]; y++) for (let x = columns[0]; x < columns[1]; x++) sum += grey[y * width + x]!;
    return sum / ((rows[1] - rows[0]) * (columns[1] - columns[0]));
  };
  const ends = (length: number): [number, number][] => [
    [0, Math.min(border, length)],
    [Math.max(length - border, 0), length],
  ];
  const corners = ends(height).flatMap((rows) => ends(width).map((columns) => corner(rows, columns)));
  let colour = 0;
  if (image.channels === 3) {
    const { data } = image;
    for (let k = 0; k < data.length; k += 3)
      colour += Math.max(data[k]!, data[k + 1]!, data[k + 2]!) - Math.min(data[k]!, data[k + 1]!, data[k + 2]!);
    colour /= width * height;
  }
  const mean = meanOf(whole);
  const variance = whole.reduce((sum, number, level) => sum + number * (level - mean) ** 2, 0) / total(whole);
  const dark = total(whole.subarray(0, DARKEST + 1)) / total(whole);
  const bright = total(frame.subarray(BRIGHTEST + 1)) / total(frame);
  return Float64Array.of(mean, Math.sqrt(variance), meanOf(frame), Math.max(...corners), dark, colour, bright);
}

export function roundHalfEven(value: number): number {
  const whole = Math.round(value);
  return Math.abs(value % 1) === 0.5 && whole % 2 ? whole - 1 : whole;
}

const total = (numbers: Float64Array) => numbers.reduce((a, b) => a + b, 0);
const meanOf = (numbers: Float64Array) => numbers.reduce((sum, number, level) => sum + number * level, 0) / total(numbers);
