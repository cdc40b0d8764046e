/** The slice under its evidence map, with the controls that belong to it. */
import { byId, element } from "./dom";
import type { Model } from "./model";
import type { Reply, Request, ScanResult } from "./protocol";
import { inWords, say, type Language } from "./texts";

type View = Extract<Reply, { is: "view" }>;

export class SlicePanel {
  private ticket = 0;
  private view: View | null = null;
  private strength = 0.5;
  private label: string;
  private plane: string;
  private index: number;
  private readonly canvas = element("canvas", { role: "img" });
  private readonly caption = element("figcaption");

  constructor(
    private readonly language: Language,
    private readonly model: Model,
    private readonly scan: ScanResult,
    private readonly ask: (request: Request) => void,
    private readonly onSlice: (view: View, plane: string, index: number) => void,
  ) {
    this.plane = scan.plane;
    this.index = scan.patient ? scan.slices[scan.patient.order[0]!]!.index : scan.slices[0]!.index;
    this.label = "";
  }

  build(): HTMLElement {
    const { language, scan, model } = this;
    const count = () => scan.planes.find(({ name }) => name === this.plane)!.count;
    const label = (text: string) => `${say(language, "slice")} ${text}`;
    const slider = element("input", {
      type: "range",
      id: "slider",
      min: "1",
      max: String(count()),
      value: String(this.index + 1),
      input: () => this.go(this.plane, Number(slider.value) - 1),
    });
    const place = element("span", { id: "place" });
    this.show = () => {
      slider.max = String(count());
      slider.value = String(this.index + 1);
      place.textContent = label(`${this.index + 1} / ${count()}`);
      slider.setAttribute("aria-valuetext", place.textContent);
    };
    const planes = element(
      "select",
      { id: "planes", change: () => this.go(planes.value, Math.floor(scan.planes.find(({ name }) => name === planes.value)!.count / 2)) },
      ...scan.planes.map(({ name }) => element("option", { value: name }, say(language, name === "slice" ? "plane.slice" : name))),
    );
    const strength = element("input", {
      type: "range",
      id: "strength",
      min: "0",
      max: "100",
      value: String(100 * this.strength),
      input: () => {
        this.strength = Number(strength.value) / 100;
        this.draw();
      },
    });
    const classes = element(
      "select",
      {
        id: "map-class",
        change: () => {
          this.label = classes.value;
          this.request();
        },
      },
      element("option", { value: "" }, say(language, "answer")),
      ...model.classes.map((name) => element("option", { value: name }, inWords(language, name))),
    );
    const control = (target: string, text: Node | string, input: HTMLElement) =>
      element("div", { class: "control" }, element("label", { for: target }, text), input);
    const found = element(
      "figure",
      {},
      this.canvas,
      this.caption,
      count() > 1 && control("slider", place, slider),
      scan.planes.length > 1 && control("planes", say(language, "plane"), planes),
      model.maps && control("map-class", say(language, "map"), classes),
      model.maps && control("strength", say(language, "mapOpacity"), strength),
    );
    this.request();
    return found;
  }

  private show: () => void = () => undefined;

  go(plane: string, index: number): void {
    [this.plane, this.index] = [plane, index];
    this.request();
  }

  private request(): void {
    this.show();
    this.ask({ do: "view", ticket: ++this.ticket, scan: this.scan.id, plane: this.plane, index: this.index, label: this.label });
  }

  /** Take a reply; those to earlier questions are late. */
  take(reply: View | Extract<Reply, { is: "noview" }>): void {
    if (reply.ticket !== this.ticket) return;
    if (reply.is === "noview") {
      this.caption.textContent = say(this.language, reply.key, ...reply.values);
      return;
    }
    this.view = reply;
    this.draw();
    this.onSlice(reply, this.plane, this.index);
  }

  private draw(): void {
    if (!this.view) return;
    const { image, overlay, answer } = this.view;
    const { width, height, channels, data } = image;
    [this.canvas.width, this.canvas.height] = [width, height];
    const shown = new ImageData(width, height);
    for (let k = 0; k < width * height; k++) {
      const share = overlay ? overlay[k]! * this.strength : 0;
      // From the slice to the map's colours: dark red, orange, yellow.
      const colour = overlay ? [255, 235 * overlay[k]!, 60 * overlay[k]! ** 3] : [0, 0, 0];
      for (let c = 0; c < 3; c++) {
        const level = data[k * channels + (channels === 3 ? c : 0)]!;
        shown.data[4 * k + c] = level * (1 - share) + colour[c]! * share;
      }
      shown.data[4 * k + 3] = 255;
    }
    this.canvas.getContext("2d")!.putImageData(shown, 0, 0);
    const { language } = this;
    this.canvas.setAttribute("aria-label", say(language, "imageOf", byId("answer-title")?.textContent ?? this.scan.name));
    this.caption.textContent = !this.model.maps
      ? ""
      : overlay
        ? say(language, "mapWords", inWords(language, this.label || answer.label))
        : say(language, "noMap");
  }
}
