// Charts over time, by uPlot: stacked bars, lines, and a balance around zero. A chart follows its box and the colour scheme.

import { h } from "./draw.js";
import { bucket, tick } from "./words.js";

const WHOLE = Array.from({ length: 10 }, (_, n) => [1, 2, 5].map((digit) => digit * 10 ** n)).flat(); // no half labels
const SPANS = [0.001, 0.01, 0.1, 1].flatMap((size) => [1, 2, 5].map((digit) => digit * size)) // seconds, then clocks and days
  .concat([10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200], WHOLE.map((days) => days * 86_400));
const TICKS = { bars: { incrs: WHOLE }, lines: { incrs: SPANS }, balance: { splits: () => [-1, -0.5, 0, 0.5, 1] } };
const scheme = matchMedia("(prefers-color-scheme: dark)");

export class Chart {
  /** `kind` is "bars", "lines" or "balance" (one line, -1 to 1); `format` writes a value. */
  constructor(box, kind, format) {
    Object.assign(this, { box, kind, format, plot: null, shape: "" });
    this.tip = h("div", { class: "tip", hidden: true });
    this.box.append(this.tip);
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(box);
    scheme.addEventListener("change", () => this.shape && this.draw(this.given, true));
  }

  /** `given`: `times` and `step` in seconds, `lines` of `{ name, colour, values }`. */
  draw(given, anew = false) {
    this.given = given;
    const shape = JSON.stringify([given.step, given.lines.map(({ name, colour }) => [name, colour])]);
    const data = [given.times.map((time) => time + given.step / 2), ...this.columns(given.lines)];
    if (anew || shape !== this.shape) {
      this.plot?.destroy();
      this.plot = new uPlot(this.options(given), data, this.box);
      this.shape = shape;
    } else {
      this.plot.setData(data);
    }
  }

  /** Bars are drawn from the tallest sum down, each over the one before. */
  columns(lines) {
    if (this.kind !== "bars") return lines.map((line) => line.values);
    const sums = [];
    for (const line of lines) {
      const below = sums.at(-1) ?? line.values.map(() => 0);
      sums.push(line.values.map((value, i) => value + below[i]));
    }
    return sums.reverse();
  }

  size() {
    return { width: Math.max(200, this.box.clientWidth), height: Math.max(120, this.box.clientHeight) };
  }

  options({ step, lines }) {
    const colour = (name) => getComputedStyle(this.box).getPropertyValue(name).trim();
    const resolved = (given) => (given.startsWith("var(") ? colour(given.slice(4, -1)) : given);
    const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const drawn = this.kind === "bars" ? [...lines].reverse() : lines;
    return {
      ...this.size(),
      padding: [8, 32, 0, 0],
      legend: { show: false },
      cursor: { drag: { x: false, y: false }, y: false, points: { show: this.kind !== "bars" } },
      scales: {
        x: { time: true, range: (_, low, high) => [low - step / 2, high + step / 2] },
        y: { range: (_, low, high) => (this.kind === "balance" ? [-1.05, 1.05] : [0, Math.max(high * 1.06, Number.MIN_VALUE) || 1]) },
      },
      axes: [
        { ...axis, grid: { show: false }, size: 34, gap: 9, space: 80, values: (_, ticks) => ticks.map((at) => tick(at, step)) },
        { ...axis, size: 60, space: 30, ...TICKS[this.kind], values: (_, ticks) => ticks.map((at) => this.format(at)) },
      ],
      series: [{}, ...drawn.map((line) => this.series(resolved(line.colour)))],
      hooks: { setCursor: [(plot) => this.point(plot)] },
    };
  }

  series(colour) {
    if (this.kind === "bars") {
      return { fill: colour, width: 0, points: { show: false }, paths: uPlot.paths.bars({ size: [0.84, 48] }) };
    }
    const area = this.kind === "balance" ? { fill: `${colour}26`, fillTo: () => 0 } : {};
    return { stroke: colour, width: 2, spanGaps: true, ...area };
  }

  /** Say in the chart why it is empty; "" where it is not. */
  say(text) {
    this.box.querySelector(".empty")?.remove();
    if (text) this.box.append(h("p", { class: "empty" }, text));
  }

  /** What the bucket under the pointer holds. */
  point(plot) {
    const at = plot.cursor.idx;
    this.tip.hidden = at == null;
    if (at == null) return;
    const { times, step, lines } = this.given;
    this.tip.replaceChildren(
      h("strong", {}, bucket(times[at], step)),
      ...lines.map(({ name, colour, values }) =>
        h("span", { class: "key", colour }, name, h("b", {}, this.format(values[at])))),
    );
    const left = plot.valToPos(plot.data[0][at], "x") + plot.over.offsetLeft;
    const room = this.box.clientWidth - this.tip.offsetWidth - 12;
    this.tip.style.left = `${Math.min(room, Math.max(0, left + 12))}px`;
  }
}
