// A pass field's values side by side: what moved most comes first.

import { ask } from "./data.js";
import { fill, h, say, sparkline } from "./draw.js";
import { changed, count, measureName, measured } from "./words.js";

const PAGE = 25;
const TYPING = 200; // milliseconds
const STEADY = 0.005; // a smaller change is shown as none

const $ = (id) => document.getElementById(id);
let most = PAGE;
let shell = null;

export async function drawBy(at, route, given, signal) {
  shell = given;
  const field = route.fields.includes(at.by) ? at.by : route.fields[0];
  const query = { route: at.route, range: at.range, by: field, measure: at.measure, find: at.find, sort: at.sort, most };
  const found = await ask("by", query, signal);
  say($("by-title"), `By ${field}`);
  drawChoices(at, route, field, found.measure);
  drawHead(at, field, found.measure);
  const [low, high] = found.measure === "net" ? [-1, 1] : [0, 1];
  fill($("by-rows"), found.rows, (row) => row.value, (row) => line(row, field, found.measure, low, high));
  const said = found.found === 0 ? `No ${field} has “${at.find}” in its name.` : `${count(found.rows.length)} of ${count(found.found)}`;
  say($("by-note"), found.all === 0 ? "No labels in this time. Choose a longer range." : said);
  $("by-more").hidden = found.rows.length >= found.found;
}

function drawChoices(at, route, field, measure) {
  const fields = route.fields.length > 1 ? route.fields : [];
  fill($("by-fields"), fields.map((name) => ({ name, here: name === field, range: at.range })), (item) => item.name, ({ name, here }) =>
    h("li", {}, shell.link({ by: name, find: "" }, { "aria-current": here && "true" }, name)));
  fill($("measure"), route.measures, (name) => name, (name) => h("option", { value: name }, measureName(name)));
  $("measure").value = measure;
  if (document.activeElement !== $("find")) $("find").value = at.find;
}

function drawHead(at, field, measure) {
  const columns = [["value", field], ["n", "Labels"], ["measure", measureName(measure)], ["", "Change"]];
  const heads = [...columns.map(([sort, name]) => ({ sort, name, here: at.sort === sort })), { sort: null, name: "Trend" }];
  fill($("by-head"), heads, (item) => item.name, ({ sort, name, here }) =>
    sort === null ? h("th", { scope: "col" }, name) :
    h("th", { scope: "col", "aria-sort": here ? (sort === "n" || sort === "" ? "descending" : "ascending") : null },
      h("button", { type: "button", title: sort === "" ? "What moved most comes first" : null, onclick: () => shell.go({ sort }, true) }, name)));
}

function line(row, field, measure, low, high) {
  const steady = row.change == null || Math.abs(row.change) < STEADY;
  const direction = steady ? "" : row.change > 0 ? "up" : "down";
  const said = row.change == null ? (row.n ? "new" : "silent") : changed(row.change);
  return h("tr", {},
    h("th", { scope: "row" }, shell.link({ by: field, value: row.value, find: "" }, {}, row.value || "(empty)")),
    h("td", {}, count(row.n)),
    h("td", {}, measured(row.measure, measure)),
    h("td", { class: `change ${direction}` }, said),
    h("td", {}, sparkline(row.line, low, high, 0)));
}

let typing = 0;
$("find").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => { most = PAGE; shell.go({ find: $("find").value }, true); }, TYPING);
});
$("measure").addEventListener("change", () => shell.go({ measure: $("measure").value }, true));
$("by-more").addEventListener("click", () => { most += PAGE; shell.go({}, true); });
