/** An answer in words, bars and figures. */
import type { Answer } from "./answer";
import { element } from "./dom";
import type { Look } from "./looks";
import type { Model } from "./model";
import type { PatientAnswer } from "./pooling";
import type { ScanResult } from "./protocol";
import { decimal, doubtOf, doubtsOf, inWords, lookSentence, say, sentencesOf, share, shortShare, whole, type Language } from "./texts";

const MOST_SUSPICIOUS = 5;
const MOST_LOOKS = 3;

/** scan: that the slice is of; what is said of all of it is not said again of the slice. */
export function answerView(language: Language, model: Model, scan: ScanResult, answer: Answer, milliseconds: number, threads: number | null): HTMLElement {
  const said = scan.patient?.typeDoubtful ? doubtOf(language, scan.patient.outOfDistribution, model) : "";
  return element(
    "div",
    { id: "said" },
    element("p", { class: answer.outOfDistribution ? "sentence warning" : "sentence", "aria-live": "polite" }, sentencesOf(language, answer, model)),
    bars(language, model, answer.probabilities),
    ...doubtsOf(language, answer, model).map((one, k, all) => {
      const isLook = k === all.length - 1;
      return one !== said && element("p", { class: isLook && !answer.fewSeen ? "doubt quiet" : "doubt caution" }, one);
    }),
    figures(language, model, answer, milliseconds, threads),
  );
}

function bars(language: Language, model: Model, probabilities: readonly number[]): HTMLElement {
  const order = probabilities.map((_, k) => k).sort((a, b) => probabilities[b]! - probabilities[a]!);
  return element(
    "div",
    { class: "bars", role: "group", "aria-label": say(language, "probabilities") },
    ...order.flatMap((k) => {
      const name = inWords(language, model.classes[k]!);
      const text = share(language, probabilities[k]!);
      return [
        element("span", {}, name),
        element("meter", { min: "0", max: "1", value: String(probabilities[k]), "aria-label": `${name}: ${text}` }),
        element("span", { class: "value" }, shortShare(probabilities[k]!)),
      ];
    }),
  );
}

function figures(language: Language, model: Model, answer: Answer, milliseconds: number, threads: number | null): HTMLElement {
  const known = model.figures;
  const lines = [
    known?.ece != null && say(language, "figureEce", decimal(language, 100 * known.ece, 1)),
    known?.coverage != null && say(language, "figureCoverage", withInterval(language, known.coverage, known.coverage_ci95)),
    answer.score !== null &&
      known?.refused != null &&
      say(language, "figureScore", decimal(language, answer.score, 2), decimal(language, model.detector!.threshold, 2), whole(known.refused)),
    model.int8?.used &&
      say(language, "figureInt8", decimal(language, -100 * model.int8.lost, 1), String(model.int8.images), decimal(language, 100 * (model.int8.same_abstentions ?? 1), 1)),
    threads === null ? say(language, "figureTimeGpu", milliseconds.toFixed(0)) : say(language, "figureTime", milliseconds.toFixed(0), String(threads)),
  ].filter((line): line is string => !!line);
  return element(
    "details",
    {},
    element("summary", {}, say(language, "figures")),
    ...lines.map((line) => element("p", { class: "quiet" }, line)),
  );
}

export function patientView(
  language: Language,
  model: Model,
  scan: ScanResult,
  found: PatientAnswer,
  go: (plane: string, index: number) => void,
): HTMLElement {
  const total = scan.slices.length;
  const most = inWords(language, found.label);
  const threshold = model.pooling_threshold;
  const sentences = found.outOfDistribution
    ? [say(language, "patientAllOut")]
    : [
        found.counted < total && say(language, "patientOut", String(total - found.counted), String(total)),
        found.tumour === null
          ? say(language, "patientMost", most, share(language, Math.max(...found.probabilities)))
          : say(language, "patientTumour", share(language, found.tumour), most),
        found.aboveThreshold !== null && threshold !== null &&
          say(language, found.aboveThreshold ? "patientAbove" : "patientBelow", whole(threshold)),
        found.interval && say(language, "interval", whole(found.interval[0]), whole(found.interval[1])),
      ];
  const suspicious = found.tumour === null ? [] : found.order.slice(0, MOST_SUSPICIOUS);
  return element(
    "section",
    { id: "patient" },
    element("h3", {}, say(language, "patient", String(total))),
    element(
      "p",
      { class: found.outOfDistribution || 2 * found.counted < total ? "sentence warning" : "sentence" },
      sentences.filter(Boolean).join(" "),
    ),
    found.typeDoubtful === true && element("p", { class: "doubt caution" }, doubtOf(language, found.outOfDistribution, model)),
    ...rareLooks(scan).map(([look, count]) =>
      element("p", { class: "doubt caution" }, say(language, "someLook", String(count), String(total), lookSentence(language, look, model))),
    ),
    suspicious.length > 0 && element("h3", {}, say(language, "suspicious")),
    suspicious.length > 0 &&
      element(
        "ul",
        { class: "slices" },
        ...suspicious.map((k) => {
          const { plane, index, answer } = scan.slices[k]!;
          const p = 1 - answer.probabilities[model.without_tumour!]!;
          return element(
            "li",
            {},
            element("button", { type: "button", click: () => go(plane, index) }, `${say(language, "slice")} ${index + 1}: ${share(language, p)}`),
          );
        }),
      ),
  );
}

/** What slices of which training had few tumours look like, the most frequent first. */
function rareLooks(scan: ScanResult): [Look, number][] {
  const counts = new Map<string, [Look, number]>();
  for (const { answer } of scan.slices) {
    const key = Object.values(answer.look).join();
    if (answer.fewSeen) counts.set(key, [answer.look, (counts.get(key)?.[1] ?? 0) + 1]);
  }
  return [...counts.values()].sort((a, b) => b[1] - a[1]).slice(0, MOST_LOOKS);
}

export function withInterval(language: Language, value: number, interval: readonly number[] | null): string {
  const figure = (one: number) => decimal(language, 100 * one, 1);
  return interval ? `${figure(value)}\u00a0% (${figure(interval[0]!)}–${figure(interval[1]!)})` : `${figure(value)}\u00a0%`;
}
