/** Which MRI sequence a file says that it was made with: `brainmri.io.sequence`, word for word. */
export const [T1_CONTRAST, T1_PLAIN, T1] = ["T1 with contrast", "T1 without contrast", "T1"] as const;
export const [T2, FLAIR, OTHER, UNKNOWN] = ["T2/PD", "FLAIR", "other", "unknown"] as const;

const set = (words: string) => new Set(words.split(" "));
const OTHERS = set(
  "DWI DTI ADC TRACE TRACEW DIFF DIFFUSION SWI SWAN T2* T2STAR HEMO TOF MRA MRV PWI PERF PERFUSION DSC DCE ASL BOLD FMRI EPI QSM CISS FIESTA MIP",
);
const FLAIRS = set("FLAIR FLUID DARKFLUID T2FLAIR TIRM");
const T1S = set("T1 T1W T1WI T1C T1CE T1GD T1POST T1PRE MPRAGE MP2RAGE BRAVO SPGR FSPGR VIBE THRIVE");
const T2S = set("T2 T2W T2WI PD PDW PDWI HASTE");
const AGENTS = set("GD GAD GADO GADOLINIUM CONTRAST CE C KM");
const WITH = set("GD +GD GAD GADO GADOLINIUM +C C+ CE KM +KM CONTRAST T1C T1CE T1GD T1POST POSTCONTRAST");
const WITHOUT = set("-C NATIVE NATIV PLAIN UNENHANCED NONCONTRAST PRECONTRAST T1PRE WITHOUT NO");
const ACQUISITIONS: Record<string, string> = { T1, T2, PROTON_DENSITY: T2, FLUID_ATTENUATED: FLAIR };
const [LONG_ECHO, LONG_REPETITION, SHORT_REPETITION, LONG_INVERSION] = [60, 1800, 1200, 1500]; // ms

/** The sequence that a text names; "" where it names none. */
export function byWords(text: string): string {
  const order = text.toUpperCase().replaceAll("_", " ").match(/(?<![A-Z0-9])-C(?![A-Z0-9])|[A-Z0-9+*]+/g) ?? [];
  const has = (words: Set<string>) => order.some((word) => words.has(word));
  if (has(OTHERS)) return OTHER;
  if (has(FLAIRS) && !has(T1S)) return FLAIR;
  if (!has(T1S)) return has(T2S) ? T2 : "";
  let [given, left] = [has(WITH), has(WITHOUT)];
  order.forEach((word, k) => {
    if ((word === "PRE" || word === "POST") && (T1S.has(order[k - 1] ?? "") || AGENTS.has(order[k + 1] ?? "")))
      [given, left] = [word === "POST", word === "PRE"];
  });
  return given === left ? T1 : given ? T1_CONTRAST : T1_PLAIN;
}

/** The sequence that its times (ms) make it; "" where they are missing or do not tell. scanning: such as "SE\\IR". */
function byTimes(scanning: string, repetition?: number, echo?: number, inversion?: number): string {
  const kinds = scanning.toUpperCase().split("\\");
  if (kinds.includes("EP")) return OTHER;
  if (echo === undefined || repetition === undefined) return "";
  if (kinds.includes("GR")) return inversion && inversion >= 400 && inversion <= LONG_INVERSION && echo <= 10 ? T1 : "";
  if (inversion && inversion >= LONG_INVERSION) return echo >= LONG_ECHO ? FLAIR : repetition < 4000 ? T1 : "";
  if (echo >= LONG_ECHO) return repetition >= LONG_REPETITION ? T2 : "";
  if (echo > 35) return "";
  return repetition <= SHORT_REPETITION ? T1 : repetition >= LONG_REPETITION && !inversion ? T2 : "";
}

/** The sequence by the header of a DICOM file; "" where it does not say it. */
export function ofDicom(word: (tag: string) => string, number: (tag: string) => number | undefined): string {
  const sequence =
    byWords(`${word("x0008103e")} ${word("x00181030")}`) ||
    ACQUISITIONS[word("x00089209")] ||
    byTimes(word("x00180020"), number("x00180080"), number("x00180081"), number("x00180082")) ||
    byWords(word("x00180024"));
  return sequence === T1 && word("x00180010") ? T1_CONTRAST : sequence;
}

/** The sequence by the description in a NIfTI header, which may hold words or "TE=..;TR=..", or "". */
export function ofDescription(text: string): string {
  const found = [...text.toUpperCase().matchAll(/\b(TE|TR|TI)=(\d+(?:\.\d+)?)/g)].slice(0, 10);
  const times = new Map(found.map(([, key, value]) => [key, Number(value)]));
  return byWords(text) || byTimes(times.has("TR") ? "SE" : "", times.get("TR"), times.get("TE"), times.get("TI"));
}
