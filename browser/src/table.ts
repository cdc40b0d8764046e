/** The table of an upload as a CSV file, with the columns of `brainmri predict`. */
import type { Model } from "./model";
import type { ScanResult } from "./protocol";

export function csvOf(model: Model, scans: readonly ScanResult[]): string {
  const head = ["path", "plane", "slice", "patient", "predicted", ...model.classes.map((name) => `p_${name}`)];
  const kinds = ["type_doubtful", "sequence", "sequence_from", "view", "view_from", "few_seen"];
  const rows = [[...head, "prediction_set", "out_of_distribution", "ood_score", ...kinds]];
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
        truth(answer.outOfDistribution),
        answer.score === null ? "" : String(Number(answer.score.toPrecision(9))),
        truth(answer.typeDoubtful),
        ...[answer.look.sequence, answer.look.sequenceFrom, answer.look.plane, answer.look.planeFrom],
        truth(answer.fewSeen),
      ]);
  return rows.map((row) => row.map(cell).join(",")).join("\n") + "\n";
}

const truth = (value: boolean | null) => (value === null ? "" : String(value));

/** A spreadsheet would compute what begins like a formula. */
function cell(text: string): string {
  const plain = /^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text;
  return /[",\n\r]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
}
