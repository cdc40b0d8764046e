/** How slices lie in the patient: `brainmri.io.geometry`, and the orientations of nibabel. */
import { roundHalfEven } from "./answer";

export const PLANES = ["sagittal", "coronal", "axial"] as const;
const LARGEST_RATIO = 20;
const ALIKE = 0.01;
export type Matrix = number[][]; // rows

export interface View {
  plane: string;
  transposed: boolean;
  mirrored: [boolean, boolean]; // columns, rows
  step: number[];
}

/** For each input axis: the output axis that it runs along, and in which direction; null where one has none. */
export function orientationOf(affine: Matrix): [number, number][] | null {
  const sizes = [0, 1, 2].map((c) => Math.hypot(affine[0]![c]!, affine[1]![c]!, affine[2]![c]!) || 1);
  let turn: Matrix | null = [0, 1, 2].map((r) => [0, 1, 2].map((c) => affine[r]![c]! / sizes[c]!));
  for (let k = 0; k < 60 && turn; k++) {
    // Newton's iteration towards the nearest matrix without shear (the polar decomposition).
    const other = inverse(turn);
    if (!other) return null;
    turn = turn.map((row, r) => row.map((value, c) => (value + other[c]![r]!) / 2));
  }
  if (!turn || turn.flat().some((value) => !Number.isFinite(value))) return null;
  const most = (c: number) => Math.max(...turn!.map((row) => row[c]! ** 2));
  const order = [0, 1, 2].sort((a, b) => most(b) - most(a) || a - b);
  const found: [number, number][] = [];
  for (const axis of order) {
    const column = turn.map((row) => row[axis]!);
    const out = column.map(Math.abs).indexOf(Math.max(...column.map(Math.abs)));
    if (Math.abs(column[out]!) < 1e-8) return null;
    found[axis] = [out, column[out]! < 0 ? -1 : 1];
    turn[out] = [0, 0, 0];
  }
  return found;
}

function inverse([a, b, c]: Matrix): Matrix | null {
  const cross = (u: number[], v: number[]) => [
    u[1]! * v[2]! - u[2]! * v[1]!,
    u[2]! * v[0]! - u[0]! * v[2]!,
    u[0]! * v[1]! - u[1]! * v[0]!,
  ];
  const columns = [cross(b!, c!), cross(c!, a!), cross(a!, b!)];
  const determinant = a!.reduce((sum, value, k) => sum + value * columns[0]![k]!, 0);
  if (!(Math.abs(determinant) > 1e-12)) return null;
  return [0, 1, 2].map((r) => columns.map((column) => column[r]! / determinant));
}

/** orientation: along a row, and along a column (ImageOrientationPatient). */
export function viewOf(orientation: readonly number[] | null): View | null {
  if (!orientation) return null;
  const [row, column] = [orientation.slice(0, 3), orientation.slice(3, 6)];
  const normal = [0, 1, 2].map(
    (k) => row[(k + 1) % 3]! * column[(k + 2) % 3]! - row[(k + 2) % 3]! * column[(k + 1) % 3]!,
  );
  const length = Math.hypot(...normal);
  if (!(length > 0.5 && length < 2)) return null;
  const unit = normal.map((value) => value / length);
  const toRas = [-1, -1, 1];
  const found = orientationOf([0, 1, 2].map((k) => [row, column, unit].map((axis) => toRas[k]! * axis[k]!)));
  if (!found) return null;
  const [[across, right], [down, front], [through, step]] = found as [[number, number], [number, number], [number, number]];
  const transposed = across > down;
  return {
    plane: PLANES[through]!,
    transposed,
    mirrored: transposed ? [front > 0, right > 0] : [right > 0, front > 0],
    step: unit.map((value) => value * step),
  };
}

export const along = (view: View, position: readonly number[]) =>
  view.step.reduce((sum, value, k) => sum + value * position[k]!, 0);

/** Turn values (H, W, channels) as a view says. */
export function turned<T extends { length: number; [k: number]: number }>(
  values: T,
  width: number,
  height: number,
  channels: number,
  view: View,
  make: (length: number) => T,
): { values: T; width: number; height: number } {
  const [w, h] = view.transposed ? [height, width] : [width, height];
  const found = make(values.length);
  for (let y = 0; y < h; y++)
    for (let x = 0; x < w; x++) {
      const a = view.mirrored[0] ? w - 1 - x : x;
      const b = view.mirrored[1] ? h - 1 - y : y;
      const from = (view.transposed ? a * width + b : b * width + a) * channels;
      for (let c = 0; c < channels; c++) found[(y * w + x) * channels + c] = values[from + c]!;
    }
  return { values: found, width: w, height: h };
}

/** Columns and rows of a slice whose pixels are made square by stretching the coarser side. */
export function squareSize(columns: number, rows: number, across: number, down: number): [number, number] {
  const fine = Math.min(across, down);
  return [
    Math.max(1, roundHalfEven((columns * across) / fine)),
    Math.max(1, roundHalfEven((rows * down) / fine)),
  ];
}

export const sameDirection = (one: readonly number[] | null, other: readonly number[] | null) =>
  !!one && !!other && one.every((value, k) => Math.abs(value - other[k]!) < ALIKE);

export const isPlausible = (spacing: readonly number[]) =>
  spacing.every((side) => Number.isFinite(side) && side > 0) &&
  Math.max(...spacing) <= LARGEST_RATIO * Math.min(...spacing);
