/** What the page and its worker say to each other. */
import type { Answer } from "./answer";
import type { Model } from "./model";
import type { Help } from "./network";
import type { PatientAnswer } from "./pooling";
import type { Raster } from "./raster";

export interface SliceResult {
  file: string;
  plane: string;
  index: number; // in its plane, from 0
  answer: Answer;
  milliseconds: number;
}

export interface ScanResult {
  id: number;
  name: string;
  kind: string;
  plane: string; // the one that was judged
  planes: { name: string; count: number }[];
  notes: string[];
  slices: SliceResult[];
  refused: { index: number; key: string; values: readonly string[] }[];
  patient: PatientAnswer | null; // of several slices
}

export type Request =
  | { do: "start"; glue: string; threads: number; files: Record<string, ArrayBuffer> | null }
  | { do: "open"; job: number; files: { name: string; file: Blob }[] }
  | { do: "view"; ticket: number; scan: number; plane: string; index: number; label: string }
  | { do: "stop" }
  | ({ do: "help" } & Help) // to a thread of the worker's own
  | { do: "forget"; scans: number[] };

export type Reply =
  | { is: "ready"; model: Model; threads: number }
  | { is: "failed"; reason: string }
  | { is: "gpu"; used: boolean } // once it was tried
  | { is: "reading"; job: number; name: string }
  | { is: "progress"; job: number; name: string; done: number; of: number }
  | { is: "scan"; job: number; result: ScanResult }
  | { is: "refused"; job: number; name: string; key: string; values: readonly string[] }
  | { is: "finished"; job: number; stopped: boolean }
  | { is: "view"; ticket: number; image: Raster; overlay: Float32Array | null; answer: Answer; milliseconds: number; gpu: boolean }
  | { is: "noview"; ticket: number; key: string; values: readonly string[] };
