/** A patient's answer from those for the slices: `brainmri.evaluation.pooling.patient_prediction`. */
import type { Answer } from "./answer";
import type { Model } from "./model";

export interface PatientAnswer {
  label: string;
  probabilities: number[];
  tumour: number | null; // probability
  aboveThreshold: boolean | null;
  interval: [number, number] | null;
  outOfDistribution: boolean | null; // whether all slices are
  counted: number;
  order: number[]; // slices, the most suspicious first
  shares: number[]; // of each slice in the answer
  typeDoubtful: boolean | null;
  fewSeen: number | null; // slices of a kind of which training had few tumours
}

const TOP: Record<string, number> = { mean: 1, top_50_percent: 0.5, top_25_percent: 0.25, top_10_percent: 0.1 };
const COUNTED: Record<string, number> = { top_3: 3, max: 1 };
const FEATURES: Record<string, number> = {
  most_suspicious: 0,
  top_10_percent: 0.1,
  top_25_percent: 0.25,
  top_50_percent: 0.5,
  all: 1,
};
const CERTAIN = 1e-6;

export function patientAnswer(model: Model, slices: readonly Answer[]): PatientAnswer {
  const outside = slices.map((one) => one.outOfDistribution === true);
  const all = outside.every(Boolean);
  const counted = slices.map((_, k) => k).filter((k) => all || !outside[k]);
  const without = model.without_tumour;
  const values = counted.map((k) => slices[k]!.probabilities);
  const classes = model.classes.length;
  let found: number[];
  let shares: number[];
  if (without === null) {
    shares = values.map(() => 1 / values.length);
    found = mixed(values, shares, classes);
  } else {
    const pooled = pool(values.map((one) => 1 - one[without]!), model.pooling);
    shares = pooled.shares;
    const mixture = mixed(values, shares, classes);
    const kinds = mixture.reduce((sum, share, k) => (k === without ? sum : sum + share), 0);
    found = mixture.map((share, k) =>
      k === without ? 1 - pooled.tumour : pooled.tumour * (kinds > 0 ? share / kinds : 1 / (classes - 1)),
    );
  }
  const suspicion = slices.map((one) => (without === null ? 0 : 1 - one.probabilities[without]!));
  const order = slices.map((_, k) => k);
  if (without !== null)
    order.sort((a, b) => Number(outside[a]) - Number(outside[b]) || suspicion[b]! - suspicion[a]! || a - b);
  const tumour = without === null ? null : 1 - found[without]!;
  const everyShare = slices.map(() => 0);
  counted.forEach((k, place) => (everyShare[k] = shares[place]!));
  const sorted = Float64Array.from(counted, (k) => suspicion[k]!).sort();
  const best = found.indexOf(Math.max(...found));
  const doubts = best === without ? [] : slices.map((one) => one.typeDoubtful).filter((one) => one !== null);
  const few = slices.map((one) => one.fewSeen).filter((one) => one !== null);
  return {
    label: model.classes[best]!,
    probabilities: found,
    tumour,
    aboveThreshold: tumour === null || model.pooling_threshold === null ? null : tumour > model.pooling_threshold,
    interval: without === null ? null : [quantile(sorted, 0.025), quantile(sorted, 0.975)],
    outOfDistribution: slices[0]!.outOfDistribution === null ? null : all,
    counted: counted.length,
    order,
    shares: everyShare,
    typeDoubtful: doubts.length ? doubts.some(Boolean) : null,
    fewSeen: few.length ? few.filter(Boolean).length : null,
  };
}

function mixed(values: number[][], shares: number[], classes: number): number[] {
  return Array.from({ length: classes }, (_, c) => values.reduce((sum, one, k) => sum + shares[k]! * one[c]!, 0));
}

function pool(tumour: number[], rule: Model["pooling"]): { tumour: number; shares: number[] } {
  const n = tumour.length;
  if (rule.name === "noisy_or") {
    const parts = tumour.map((p) => -Math.log1p(-Math.min(p, 1 - CERTAIN)));
    const sum = parts.reduce((a, b) => a + b, 0);
    return { tumour: -Math.expm1(-sum), shares: parts.map((part) => (sum > 0 ? part / sum : 1 / n)) };
  }
  const order = tumour.map((_, k) => k).sort((a, b) => tumour[b]! - tumour[a]! || a - b);
  const byRank = sharesByRank(n, rule);
  const shares = tumour.map(() => 0);
  order.forEach((k, rank) => (shares[k] = byRank[rank]!));
  if (rule.name === "learned") {
    const slope = Object.values(rule.coefficients!).reduce((a, b) => a + b, 0);
    const odds = tumour.reduce((sum, p, k) => {
      const held = Math.min(Math.max(p, CERTAIN), 1 - CERTAIN);
      return sum + shares[k]! * Math.log(held / (1 - held));
    }, 0);
    return { tumour: 1 / (1 + Math.exp(-(rule.intercept! + slope * odds))), shares };
  }
  return { tumour: tumour.reduce((sum, p, k) => sum + shares[k]! * p, 0), shares };
}

function sharesByRank(n: number, rule: Model["pooling"]): number[] {
  const first = (count: number) => Array.from({ length: n }, (_, k) => (k < count ? 1 / count : 0));
  const many = (share: number) => Math.max(1, Math.ceil(share * n - 1e-9));
  if (rule.name === "learned") {
    const names = Object.keys(FEATURES);
    const sum = names.reduce((all, name) => all + rule.coefficients![name]!, 0);
    const found = first(0);
    for (const name of names) {
      const weight = sum > 0 ? rule.coefficients![name]! / sum : 1 / names.length;
      first(many(FEATURES[name]!)).forEach((share, k) => (found[k]! += weight * share));
    }
    return found;
  }
  if (rule.name in TOP) return first(many(TOP[rule.name]!));
  if (rule.name in COUNTED) return first(Math.min(n, COUNTED[rule.name]!));
  throw new Error(`the pooling ${rule.name} is not known here`);
}

/** numpy's linear quantile, of ascending values. */
function quantile(sorted: Float64Array, share: number): number {
  const place = share * (sorted.length - 1);
  const low = Math.floor(place);
  const a = sorted[low]!;
  return a + (sorted[Math.min(low + 1, sorted.length - 1)]! - a) * (place - low);
}
