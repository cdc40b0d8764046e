// node answers.mjs PAGE FILE...: what the demo in the browser says of files, a JSON object each, one a line.
// With --together the files are opened as one upload: a JSON object for each scan.
// PAGE: the folder that `brainmri demo --static` writes. With --pixels, only a digest of the drawn slices.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [page, ...rest] = process.argv.slice(2);
const pixels = rest.includes("--pixels");
const files = rest.includes("--list") ? readFileSync(0, "utf8").trim().split("\n") : rest.filter((one) => !one.startsWith("--"));
const core = await import(pathToFileURL(resolve(page, "worker.js")));
core.readAssetsBy(async (name) => new Uint8Array(readFileSync(join(page, name))));
const engine = pixels ? null : await core.Engine.start(pathToFileURL(resolve(page, "ort.mjs")).href, 1);

if (rest.includes("--together")) {
  const named = files.map((name) => ({ name, size: 1, bytes: async () => new Uint8Array(readFileSync(name)) }));
  await core.openMany(
    named,
    async ({ files: parts, slices }) => {
      const drawn = [];
      for (let index = 0; index < slices.planes[0].count; index++) {
        const { width, height, data, channels } = await slices.draw(slices.planes[0].name, index);
        drawn.push({ width, height, channels, bytes: Buffer.from(data).toString("base64") });
      }
      console.log(JSON.stringify({ files: parts, planes: slices.planes, drawn }));
    },
    (refused) => console.log(JSON.stringify({ refused })),
  );
  files.length = 0;
}
for (const file of files) {
  let said;
  try {
    const slices = await core.openOne(new Uint8Array(readFileSync(file)), file);
    said = { planes: slices.planes, notes: slices.notes, runtime: engine?.network.runtime, slices: [] };
    for (const { name, count } of pixels ? slices.planes : slices.planes.slice(0, 1))
      for (let index = 0; index < count; index++) {
        const image = await slices.draw(name, index);
        if (pixels) {
          const { width, height, data, channels } = image;
          const grey = channels === 1 ? Uint8Array.from({ length: 3 * data.length }, (_, k) => data[Math.floor(k / 3)]) : data;
          const sum = createHash("sha256").update(grey).digest("hex").slice(0, 16);
          said.slices.push({ plane: name, index, width, height, sum, bytes: rest.includes("--bytes") ? Buffer.from(grey).toString("base64") : undefined });
        } else {
          const [{ answer, map, milliseconds }] = await engine.judge([image], [[slices.sequence, name]], "");
          said.slices.push({ ...answer, map: map && { ...map, values: Array.from(map.values) }, milliseconds, words: [core.sentencesOf("en", answer, engine.model), ...core.doubtsOf("en", answer, engine.model)].map((one) => one.replaceAll("\u00a0", " ")) });
        }
      }
    if (!pixels && said.slices.length > 1) said.patient = core.patientAnswer(engine.model, said.slices);
  } catch (error) {
    if (!(error instanceof core.Refusal)) throw error;
    said = { refused: error.key, words: core.texts[error.key]?.[0] };
  }
  console.log(JSON.stringify({ file, ...said }));
}
await new Promise((done) => process.stdout.write("", done));
process.exit(0);
