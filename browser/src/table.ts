/** The table of an upload as a CSV file, with the columns of `brainmri predict`. */
import type { Model } from "./model";
import type { ScanResult } from "./protocol";

export function csvOf(model: Model, scans: readonly ScanResult[]): string {
  const head = ["path", "plane", "slice", "patient", "predicted", ...model.classes.map((name) => `p_${name}`)];
  const rows = [[...head, "prediction_set", "out_of_distribution", "ood_score"]];
  for (const scan of scans)
    for (const { file, plane, index, answer } of scan.slices)
      rows.push([
        file,
        plane,
        String(index),
        scan.slices.length > 1 ? scan.name : "",
        answer.label,
        ...answer.probabilities.map((p) => String(Number(p.toPrecision(9)))),
        answer.predictionSet?.join(";") ?? "",
        answer.outOfDistribution === null ? "" : answer.outOfDistribution ? "True" : "False",
        answer.score === null ? "" : String(Number(answer.score.toPrecision(9))),
      ]);
  return rows.map((row) => row.map(cell).join(",")).join("\n") + "\n";
}

/** A spreadsheet would compute what begins like a formula. */
function cell(text: string): string {
  const plain = /^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text;
  return /[",\n\r]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
}
