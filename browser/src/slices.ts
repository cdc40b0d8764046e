/** What a file gives: slices of 8 bits, drawn when they are asked for. */
import type { Raster } from "./raster";

export interface Slices {
  kind: string;
  planes: { name: string; count: number }[]; // the acquired one first
  notes: string[]; // keys of sentences
  sequence: string; // as the file says it; "" where it does not
  draw(plane: string, index: number): Raster | Promise<Raster>;
}

export const PLANE = "slice"; // of what is no volume
