// One route, or one value of a pass field of it: figures, charts, comparison, last labels.

import { drawBy } from "./by.js";
import { Chart } from "./chart.js";
import { ask } from "./data.js";
import { fill, h } from "./draw.js";
import { setLast } from "./last.js";
import { MUCH_LAG, drawLegend, linesOf, summary } from "./overview.js";
import { bucket, changed, count, duration, measured, percent, rate } from "./words.js";

const WAITS = [["p50", "--category-0"], ["p95", "--category-1"], ["p99", "--category-2"]];

const $ = (id) => document.getElementById(id);
const mix = new Chart($("mix"), "bars", count);
const net = new Chart($("net"), "balance", (x) => measured(x, "net"));
const waits = new Chart($("waits"), "lines", duration);

export async function drawRoute(at, shell, signal) {
  const one = at.value !== null;
  const route = await ask("route", { route: at.route, range: at.range, by: at.by, value: at.value }, signal);
  drawTiles(route, at);
  drawMix(route, at);
  $("net-card").hidden = !route.measures.includes("net");
  if (!$("net-card").hidden) drawNet(route, at);
  for (const id of ["waits-card", "dead-card", "models-card", "drift-card"]) $(id).hidden = one;
  if (!one) drawService(route);
  setLast(at, route.last, shell);
  $("by-card").hidden = one || route.fields.length === 0;
  if (!$("by-card").hidden) await drawBy(at, route, shell, signal);
}

function drawTiles(route, at) {
  const dead = sum(Object.values(route.dead));
  const change = difference(route.measured.net, route.measured_before.net);
  const tiles = [
    ["Labels", count(route.total), `${count(route.before)} before`],
    route.measures.includes("net") && ["Net sentiment", measured(route.measured.net, "net"), change === null ? "nothing to compare" : `${changed(change)} against before`],
    ["Unsure", percent(route.total ? route.total_unsure / route.total : null), `${count(route.total_unsure)} labels`],
  ];
  if (at.value === null) {
    tiles.splice(1, 0, ["Labels a second", rate(route.rate), "now"]);
    tiles.push(
      ["Dead letters", count(dead), dead ? "winnow dlq list" : "none", dead > 0],
      ["Lag", count(route.lag), route.lag === null ? "not known" : route.lag ? "records to label" : "up to date", route.lag > MUCH_LAG],
      ["Record to label, p50", duration(route.waits.p50), `p95 ${duration(route.waits.p95)}`],
    );
  }
  fill($("tiles"), tiles.filter(Boolean), ([name]) => name, ([name, value, more, alarm]) =>
    h("div", { class: alarm ? "warn" : null }, h("dt", {}, name), h("dd", {}, value, h("small", {}, more))));
}

function drawMix(route, at) {
  const lines = linesOf(route);
  mix.draw({ times: route.times, step: route.step, lines });
  drawLegend($("mix-legend"), lines, route.total);
  $("mix-note").hidden = !route.several;
  $("mix").setAttribute("role", "img");
  $("mix").setAttribute("aria-label", summary(at.value ?? at.route, lines, route.total));
  mix.say(route.total === 0 && "No labels in this time. Choose a longer range, or send something: winnow produce.");
  if ($("mix-table").open) drawTable(route, lines);
  $("mix-table").ontoggle = () => drawTable(route, lines);
}

function drawNet(route, at) {
  const none = route.times.map(() => 0);
  const { positive = none, negative = none } = route.labels;
  const all = [...Object.values(route.labels), route.unsure];
  const values = route.times.map((_, i) => {
    const n = sum(all.map((line) => line[i]));
    return n ? (positive[i] - negative[i]) / n : null;
  });
  net.draw({ times: route.times, step: route.step, lines: [{ name: "Net sentiment", colour: "var(--accent)", values }] });
  const known = values.filter((value) => value !== null).map((value) => measured(value, "net"));
  const said = known.length ? `${known[0]} at first, ${known.at(-1)} at last` : "nothing in this time";
  $("net").setAttribute("aria-label", `Net sentiment of ${at.value ?? at.route}: ${said}`);
  net.say(known.length === 0 && "Nothing to weigh in this time.");
}

function drawTable({ times, step }, lines) {
  const head = h("tr", {}, h("th", { scope: "col" }, "From"), ...lines.map(({ name }) => h("th", { scope: "col" }, name)));
  const rows = times.map((time, i) =>
    h("tr", {}, h("th", { scope: "row" }, bucket(time, step)), ...lines.map(({ values }) => h("td", {}, count(values[i])))));
  const table = h("table", {}, h("thead", {}, head), h("tbody", {}, ...rows.reverse()));
  $("mix-table").querySelector(".scroll").replaceChildren(table);
}

function drawService(route) {
  const lines = WAITS.map(([name, colour]) => ({ name, colour: `var(${colour})`, values: route.waited[name] }));
  waits.draw({ times: route.times, step: route.step, lines });
  fill($("waits-legend"), lines.map(({ name, colour }) => ({ name, colour, wait: route.waits[name] })), (item) => item.name, ({ name, colour, wait }) =>
    h("li", { class: "key", colour }, name, h("b", {}, duration(wait))));
  $("waits").setAttribute("role", "img");
  $("waits").setAttribute("aria-label", WAITS.map(([name]) => `${name} ${duration(route.waits[name])}`).join(", "));
  waits.say(route.total === 0 && "Nothing to time yet.");
  pairs($("dead"), Object.entries(route.dead), count, "None. What could not be labelled would be here by its reason.");
  pairs($("models"), Object.entries(route.models), (n) => `${count(n)} labels`, "None has labelled anything in this time.");
  const silent = route.silent.length ? `No worker answers at ${route.silent.join(", ")}. Set dashboard.workers to the addresses of their metrics.` : "Not measured yet: a window needs 1,000 labels, or what [drift] says.";
  pairs($("drift"), Object.entries(route.drift), (score) => score.toFixed(3), silent);
}

/** Names with values; a sentence where there are none. */
function pairs(list, entries, write, otherwise) {
  const items = entries.length ? entries : [[otherwise]];
  fill(list, items, ([name]) => name, ([name, value]) =>
    value === undefined ? h("li", { class: "note" }, name) : h("li", {}, h("span", {}, name), h("b", {}, write(value))));
}

const sum = (values) => values.reduce((total, value) => total + value, 0);
const difference = (now, then) => (now == null || then == null ? null : now - then);
