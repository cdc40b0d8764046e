/** `model.json`: what `brainmri.schemas.BrowserModel` writes. */
import type { Resampling } from "./resize";

interface FloatArray {
  shape: number[];
  base64: string;
}

export interface ModelRecord {
  schema_version: 1;
  name: string;
  classes: string[];
  without_tumour: number | null;
  network: string;
  sha256: string;
  maps: boolean;
  features: boolean;
  pixels: {
    height: number;
    width: number;
    resampling: Resampling;
    factor: number;
    mean: [number, number, number];
    std: [number, number, number];
  };
  temperature: number | null;
  conformal: { coverage: number; thresholds: number[]; calibrated: boolean } | null;
  detector: ({ threshold: number } & Record<ArrayName, FloatArray>) | null;
  pooling: { name: string; intercept: number | null; coefficients: Record<string, number> | null };
  pooling_threshold: number | null;
  figures: {
    data: string;
    simulated: boolean;
    accuracy: number | null;
    accuracy_ci95: number[] | null;
    ece: number | null;
    coverage: number | null;
    coverage_ci95: number[] | null;
    refused: number | null;
  } | null;
  cautions: string[];
  int8: {
    bytes: number;
    images: number;
    lost: number;
    lost_ci95: number[] | null;
    same_abstentions: number | null;
    used: boolean;
  } | null;
  kinds: {
    images: number;
    of: number;
    kinds: { sequence: string; plane: string; counts: Record<string, number> }[];
    sites: string[];
    types: { right: number; right_ci95: number[] | null; proven: boolean } | null;
  } | null;
}

type ArrayName = "means" | "directions" | "deviations" | "statistics_mean" | "statistics_whitening" | "units";
export type Detector = { threshold: number; width: number } & Record<ArrayName, Float32Array>;

/** The model of the page, its detector's arrays unpacked. */
export interface Model extends Omit<ModelRecord, "detector"> {
  detector: Detector | null;
}

export function opened(record: ModelRecord): Model {
  if (record.schema_version !== 1) throw new Error(`model.json has schema version ${String(record.schema_version)}, not 1`);
  const packed = record.detector;
  if (!packed) return { ...record, detector: null };
  const array = (name: ArrayName) => floats(packed[name].base64);
  return {
    ...record,
    detector: {
      threshold: packed.threshold,
      width: packed.means.shape[1]!,
      means: array("means"),
      directions: array("directions"),
      deviations: array("deviations"),
      statistics_mean: array("statistics_mean"),
      statistics_whitening: array("statistics_whitening"),
      units: array("units"),
    },
  };
}

function floats(base64: string): Float32Array {
  const text = atob(base64.replaceAll("-", "+").replaceAll("_", "/"));
  const bytes = new Uint8Array(text.length);
  for (let k = 0; k < text.length; k++) bytes[k] = text.charCodeAt(k);
  return new Float32Array(bytes.buffer);
}
