/** The page: what is dropped goes to the worker, what the worker says is shown. Nothing is sent and nothing is kept. */
import { answerView, patientView, withInterval } from "./answerview";
import { byId, element } from "./dom";
import type { Model } from "./model";
import type { Reply, Request, ScanResult } from "./protocol";
import { UNKNOWN } from "./sequence";
import { SlicePanel } from "./slicepanel";
import { start, type Started } from "./start";
import { csvOf } from "./table";
import { inWords, say, share, translated, type Language } from "./texts";

const MOST_ROWS = 200;

interface Upload {
  scans: ScanResult[];
  refused: { name: string; key: string; values: readonly string[] }[];
}

let language: Language = wantedLanguage();
let model: Model | null = null;
let started: Started | null = null;
let threads = 1;
let now: Upload = { scans: [], refused: [] };
let before: Upload | null = null; // what "Start again" put away
let chosen: ScanResult | null = null;
let panel: SlicePanel | null = null;
let status: [string, ...string[]] = ["loading"];
let waiting: { name: string; file: Blob }[] = [];
let job = 0;
let working = 0;

const ask = (request: Request, transfer: Transferable[] = []) => started?.worker.postMessage(request, transfer);
const text = (key: string, ...values: string[]) => say(language, key, ...values);

function wantedLanguage(): Language {
  const named = location.hash.slice(1) || navigator.language;
  return named.startsWith("de") ? "de" : "en";
}

// ---------------------------------------------------------------------- words
function words(): void {
  document.documentElement.lang = language;
  document.title = text("title");
  byId<HTMLSelectElement>("language").value = language;
  for (const one of document.querySelectorAll<HTMLElement>("[data-text]")) one.textContent = text(one.dataset["text"]!);
  const known = model?.figures;
  const classes = model?.classes.map((name) => inWords(language, name)) ?? [];
  const list = classes.length ? classes.slice(0, -1).join(", ") + text("or") + classes[classes.length - 1]! : "…";
  byId("what").replaceChildren(...led(text("what", list)));
  const trust =
    known?.accuracy != null ? text("trust", withInterval(language, known.accuracy, known.accuracy_ci95), known.data) : text("trustUnknown");
  byId("trust").replaceChildren(...led(model ? trust : text("trust", "…", "…")));
  byId("where").replaceChildren(...led(text("where")));
  byId("cautions").replaceChildren(...(model?.cautions ?? []).map((one) => {
      const own = translated(language, one);
      return element("p", { class: "caution", lang: own ? language : "en" }, own ?? one);
    }));
  byId("about").textContent = model ? text("about", model.name) : "";
  byId("status").textContent = text(...status);
  results();
}

/** The question in bold, then its answer. */
function led(sentence: string): (Node | string)[] {
  const end = sentence.indexOf("?") + 1;
  return [element("b", {}, sentence.slice(0, end)), sentence.slice(end)];
}

function tell(...said: [string, ...string[]]): void {
  status = said;
  byId("status").textContent = text(...said);
}

// ---------------------------------------------------------------------- results
function results(): void {
  byId("results").hidden = !now.scans.length && !now.refused.length;
  byId("undo").hidden = !before;
  byId<HTMLButtonElement>("csv").disabled = !now.scans.length;
  table();
  refusals();
  choose(chosen ?? now.scans[0] ?? null);
}

function refusals(): void {
  byId("refused").replaceChildren(
    ...(now.refused.length ? [element("h3", {}, text("notUsed"))] : []),
    ...now.refused.slice(0, MOST_ROWS).map(({ name, key, values }) =>
      element("p", { class: "warning" }, element("b", {}, name), name ? " " : "", text(key, ...values)),
    ),
  );
}

function table(): void {
  if (!model || now.scans.length < 2) {
    byId("table").replaceChildren();
    return;
  }
  const columns = ["file", "answer", "probability", "plausible", "like", "type", "look"];
  const row = (scan: ScanResult) => {
    // Of a scan, how many of its slices are.
    const likeness = scan.patient && `${scan.patient.counted} / ${scan.slices.length}`;
    const one = scan.patient ?? { ...scan.slices[0]!.answer };
    const p = Math.max(...one.probabilities);
    const set = scan.patient ? null : scan.slices[0]!.answer.predictionSet;
    return element(
      "tr",
      { "aria-current": scan === chosen ? "true" : "false" },
      element("td", {}, element("button", { type: "button", click: () => choose(scan) }, scan.name)),
      element("td", {}, inWords(language, one.label)),
      element("td", {}, share(language, p)),
      element("td", {}, set ? set.map((name) => inWords(language, name)).join(", ") : "–"),
      element("td", {}, one.outOfDistribution === null ? "–" : one.outOfDistribution ? text("no") : (likeness ?? text("yes"))),
      element("td", {}, one.typeDoubtful === null ? "–" : text(one.typeDoubtful ? "doubtful" : "counts")),
      element("td", {}, looksOf(scan)),
    );
  };
  byId("table").replaceChildren(
    element("h2", {}, text("several", String(now.scans.length))),
    element(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": text("several", String(now.scans.length)) },
      element(
        "table",
        {},
        element("thead", {}, element("tr", {}, ...columns.map((key) => element("th", { scope: "col" }, text(key))))),
        element("tbody", {}, ...now.scans.slice(0, MOST_ROWS).map(row)),
      ),
    ),
    now.scans.length > MOST_ROWS ? element("p", { class: "quiet" }, text("firstRows", String(MOST_ROWS))) : "",
  );
}

/** Sequence and plane of most of its slices. */
function looksOf(scan: ScanResult): string {
  const most = (values: string[]) => {
    const count = (value: string) => values.filter((one) => one === value).length;
    return [...new Set(values)].sort((a, b) => count(b) - count(a))[0]!;
  };
  const looks = scan.slices.map(({ answer }) => answer.look);
  const kinds = [most(looks.map(({ sequence }) => sequence)), most(looks.map(({ plane }) => plane))];
  return kinds.filter((kind) => kind !== UNKNOWN).map((kind) => text(kind)).join(", ") || "–";
}

function choose(scan: ScanResult | null): void {
  chosen = scan;
  for (const [k, row] of [...byId("table").querySelectorAll("tbody tr")].entries())
    row.setAttribute("aria-current", String(now.scans[k] === scan));
  const place = byId("answer");
  if (!scan || !model) {
    place.replaceChildren();
    panel = null;
    return;
  }
  const known = model;
  const said = element("div");
  panel = new SlicePanel(language, known, scan, ask, (view) =>
    said.replaceChildren(answerView(language, known, scan, view.answer, view.milliseconds, view.gpu ? null : threads)),
  );
  const own = panel;
  place.replaceChildren(
    element("h2", { id: "answer-title" }, scan.name),
    ...scan.notes.map((note) => element("p", { class: "caution" }, text(note))),
    ...scan.refused.slice(0, 5).map(({ index, key, values }) =>
      element("p", { class: "caution" }, `${text("slice")} ${index + 1}: ${text(key, ...values)}`),
    ),
    element(
      "div",
      { class: "columns" },
      own.build(),
      element(
        "div",
        { class: "said" },
        scan.patient && patientView(language, known, scan, scan.patient, (plane, index) => own.go(plane, index)),
        scan.slices.length > 1 && element("h3", {}, text("slice")),
        said,
      ),
    ),
  );
}

// ---------------------------------------------------------------------- the worker's replies
function take({ data }: MessageEvent<Reply>): void {
  if (data.is === "gpu") document.body.dataset["gpu"] = String(data.used);
  else if (data.is === "ready") {
    [model, threads] = [data.model, data.threads];
    tell("ready");
    words();
    document.body.dataset["ready"] = String(threads);
    if (waiting.length) open(waiting.splice(0));
  } else if (data.is === "failed") tell("cannotStart", data.reason);
  else if (data.is === "reading") tell("reading", data.name);
  else if (data.is === "progress") {
    tell("progress", String(data.done), String(data.of));
    const bar = byId<HTMLProgressElement>("progress");
    [bar.max, bar.value] = [data.of, data.done];
  } else if (data.is === "scan") {
    now.scans.push(data.result);
    byId("results").hidden = false;
    if (!chosen) choose(data.result);
  } else if (data.is === "refused") {
    now.refused.push(data);
    byId("results").hidden = false;
    refusals();
  } else if (data.is === "finished") {
    working--;
    busy();
    if (data.stopped) tell("stopped", String(now.scans.reduce((sum, { slices }) => sum + slices.length, 0)));
    else tell("ready");
    results();
    document.body.dataset["finished"] = String(data.job);
  } else panel?.take(data);
}

function busy(): void {
  byId("stop").hidden = byId("progress").hidden = !working;
  if (!working) byId("progress").removeAttribute("value");
}

function open(files: { name: string; file: Blob }[]): void {
  if (!files.length) return;
  if (!model) {
    waiting.push(...files); // until the model is there
    return;
  }
  working++;
  busy();
  ask({ do: "open", job: ++job, files });
}

// ---------------------------------------------------------------------- what a visitor does
function listen(): void {
  const [files, directory] = [byId<HTMLInputElement>("files"), byId<HTMLInputElement>("directory")];
  byId("choose").addEventListener("click", () => files.click());
  byId("folder").addEventListener("click", () => directory.click());
  for (const input of [files, directory])
    input.addEventListener("change", () => {
      open([...(input.files ?? [])].map((file) => ({ name: file.webkitRelativePath || file.name, file })));
      input.value = "";
    });
  const area = byId("input");
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    area.classList.add("over");
  });
  document.addEventListener("dragleave", () => area.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    area.classList.remove("over");
    if (event.dataTransfer) void dropped(event.dataTransfer).then(open);
  });
  document.addEventListener("paste", (event) =>
    open([...(event.clipboardData?.files ?? [])].map((file) => ({ name: file.name, file }))),
  );
  byId("language").addEventListener("change", (event) => {
    language = (event.target as HTMLSelectElement).value as Language;
    words();
  });
  byId("stop").addEventListener("click", () => ask({ do: "stop" }));
  byId("print").addEventListener("click", () => print());
  byId("clear").addEventListener("click", () => {
    if (before) ask({ do: "forget", scans: before.scans.map(({ id }) => id) });
    [before, now, chosen] = [now, { scans: [], refused: [] }, null];
    ask({ do: "stop" });
    results();
    byId("undo").focus();
  });
  byId("undo").addEventListener("click", () => {
    if (!before) return;
    now = { scans: [...before.scans, ...now.scans], refused: [...before.refused, ...now.refused] };
    [before, chosen] = [null, null];
    results();
    byId("clear").focus();
  });
  byId("csv").addEventListener("click", () => {
    const address = URL.createObjectURL(new Blob([csvOf(model!, now.scans)], { type: "text/csv" }));
    element("a", { href: address, download: "predictions.csv" }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  });
  camera();
}

/** Files and whole folders that were dropped. */
async function dropped(data: DataTransfer): Promise<{ name: string; file: Blob }[]> {
  const entries = [...data.items].map((item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  if (!entries.length) return [...data.files].map((file) => ({ name: file.name, file }));
  const found: { name: string; file: Blob }[] = [];
  const walk = async (entry: FileSystemEntry): Promise<void> => {
    if (entry.isFile) {
      const file = await new Promise<File>((done, fail) => (entry as FileSystemFileEntry).file(done, fail));
      found.push({ name: entry.fullPath.replace(/^\//, ""), file });
      return;
    }
    const reader = (entry as FileSystemDirectoryEntry).createReader();
    for (;;) {
      const some = await new Promise<FileSystemEntry[]>((done, fail) => reader.readEntries(done, fail));
      if (!some.length) return;
      for (const one of some) await walk(one);
    }
  };
  for (const entry of entries) await walk(entry);
  return found;
}

function camera(): void {
  const [view, video] = [byId<HTMLDialogElement>("camera-view"), byId<HTMLVideoElement>("video")];
  let stream: MediaStream | null = null;
  byId("camera").addEventListener("click", () => {
    void (async () => {
      try {
        if (!navigator.mediaDevices) throw new Error("–");
        stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
        video.srcObject = stream;
        view.showModal();
      } catch (error) {
        tell("noCamera", error instanceof Error ? error.message : String(error));
      }
    })();
  });
  view.addEventListener("close", () => stream?.getTracks().forEach((track) => track.stop()));
  byId("close").addEventListener("click", () => view.close());
  byId("take").addEventListener("click", () => {
    const canvas = element("canvas");
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    canvas.getContext("2d")!.drawImage(video, 0, 0);
    canvas.toBlob((file) => file && open([{ name: "camera.png", file }]));
    view.close();
  });
}

// ---------------------------------------------------------------------- beginning
listen();
words();
void (async () => {
  started = await start();
  if (!started) return;
  started.worker.addEventListener("message", take);
  started.worker.addEventListener("error", (event) => tell("cannotStart", event.message || "worker"));
  const { glue, threads: wanted, files } = started;
  ask({ do: "start", glue, threads: wanted, files }, files ? Object.values(files) : []);
})();
