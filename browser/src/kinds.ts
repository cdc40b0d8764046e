/** Whether the type of a tumour may be believed, and how many such images training had: `brainmri.evaluation.kinds`. */
import type { Look } from "./looks";
import type { Model } from "./model";
import { T1, T1_CONTRAST, T1_PLAIN, UNKNOWN } from "./sequence";

const FEW = 0.05; // of the tumours in training

/** Null where no type is named, or the model knows one only. Where an image comes from is not known here. */
export function typeDoubtful(model: Model, predicted: number, outside: boolean | null): boolean | null {
  const types = model.classes.length - Number(model.without_tumour !== null);
  if (types < 2 || predicted === model.without_tumour) return null;
  return outside === true || !model.kinds?.types?.proven;
}

/** How many tumours in training had the sequence and plane of `look`, and how many were looked at. */
export function tumoursLike(model: Model, look: Look): [like: number, every: number] | null {
  const { kinds, classes, without_tumour } = model;
  if (!kinds || (look.sequence === UNKNOWN && look.plane === UNKNOWN)) return null;
  const alike: Record<string, string[]> = { [T1]: [T1, T1_CONTRAST, T1_PLAIN], [T1_CONTRAST]: [T1_CONTRAST, T1], [T1_PLAIN]: [T1_PLAIN, T1] };
  const same = alike[look.sequence] ?? [look.sequence];
  let [like, every] = [0, 0];
  for (const kind of kinds.kinds) {
    const tumours = classes.reduce((sum, name, k) => (k === without_tumour ? sum : sum + (kind.counts[name] ?? 0)), 0);
    every += tumours;
    if ((look.sequence === UNKNOWN || same.includes(kind.sequence)) && [UNKNOWN, kind.plane].includes(look.plane)) like += tumours;
  }
  return every ? [like, every] : null;
}

/** Whether training had few tumours that looked like this; null where that is not known. */
export function fewSeen(model: Model, look: Look): boolean | null {
  const found = tumoursLike(model, look);
  return found && found[0] < FEW * found[1];
}
