// All routes: one card each, with the few numbers that say whether it is well.

import { Chart } from "./chart.js";
import { colourOf, fill, h } from "./draw.js";
import { setLast } from "./last.js";
import { count, duration, percent, rate } from "./words.js";

export const MUCH_LAG = 1000; // records; fewer come and go
const charts = new Map(); // by route
const parts = new Map();

export function drawAll(known, shell) {
  fill(document.getElementById("all"), known.routes.map(({ name }) => ({ name, range: shell.state().range })), (item) => item.name, ({ name }) => card(name, shell));
  for (const route of known.routes) drawCard(route);
  setLast(shell.state(), known.last, shell);
}

function card(name, shell) {
  const numbers = h("dl", { class: "numbers" });
  const box = h("div", { class: "chart small", role: "img" });
  const legend = h("ul", { class: "legend" });
  const made = h("li", { class: "card" }, h("h2", {}, shell.link({ route: name }, {}, name)), numbers, box, legend);
  parts.set(name, { numbers, box, legend });
  charts.set(name, new Chart(box, "bars", count));
  return made;
}

function drawCard(route) {
  const { numbers, box, legend } = parts.get(route.name);
  const dead = Object.values(route.dead).reduce((sum, n) => sum + n, 0);
  const told = [
    ["Labels", count(route.total)],
    ["A second", rate(route.rate)],
    ["Unsure", percent(route.total ? route.total_unsure / route.total : null)],
    ["Dead letters", count(dead), dead > 0],
    ["Lag", count(route.lag), route.lag > MUCH_LAG],
    ["95 % within", duration(route.waits.p95)],
  ];
  fill(numbers, told, ([name]) => name, ([name, value, alarm]) =>
    h("div", { class: alarm ? "warn" : null }, h("dt", {}, name), h("dd", {}, value)));
  const lines = linesOf(route);
  charts.get(route.name).draw({ times: route.times, step: route.step, lines });
  drawLegend(legend, lines, route.total);
  charts.get(route.name).say(route.total === 0 && "No labels in this time.");
  box.setAttribute("aria-label", summary(route.name, lines, route.total));
}

/** What a chart of a route draws: its labels, and those that are unsure on top. */
export function linesOf(route) {
  const names = Object.keys(route.labels).filter((name) => name !== "unsure");
  const lines = names.map((name) => ({ name, colour: colourOf(name, names), values: route.labels[name] }));
  return [...lines, { name: "unsure", colour: colourOf("unsure", names), values: route.unsure }];
}

/** The names of lines with their sums. */
export function drawLegend(legend, lines, total) {
  const sums = lines.map(({ name, colour, values }) => ({ name, colour, n: sum(values) })).filter(({ n }) => n > 0);
  fill(legend, sums.map((each) => ({ ...each, share: total ? each.n / total : null })), (item) => item.name, ({ name, colour, n, share }) =>
    h("li", { class: "key", colour }, name, h("b", {}, percent(share)), h("span", { class: "quiet" }, count(n))));
}

/** A chart in a sentence, for who cannot see it. */
export function summary(name, lines, total) {
  if (!total) return `${name}: no labels in this time`;
  const shares = lines.map((line) => `${line.name} ${percent(sum(line.values) / total)}`);
  return `${name}: ${count(total)} labels; ${shares.join(", ")}`;
}

const sum = (values) => values.reduce((total, value) => total + value, 0);

