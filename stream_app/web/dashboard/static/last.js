// The last labels, as they come. A reader may stop the list, and it says what it has when it goes on.

import { colourOf, fill, h, say } from "./draw.js";
import { showText } from "./text.js";
import { percent, when } from "./words.js";

const MOST = 50;

const $ = (id) => document.getElementById(id);
let lines = []; // the newest first
let linesOf = ""; // which page they belong to
let paused = false;
let shell = null;

const page = ({ route, by, value }) => JSON.stringify([route, value === null ? "" : by, value]);

/** What the server knows of the last labels of a page, the newest first. */
export function setLast(at, known, given) {
  const moved = linesOf !== page(at);
  [lines, linesOf, shell] = [known, page(at), given];
  if (moved || !paused) draw();
}

/** Labels that just came, the oldest first; those of other pages are left out. */
export function addLast(come, at) {
  if (linesOf !== page(at)) return;
  const here = (line) =>
    (at.route === "" || line.route === at.route) && (at.value === null || line.fields[at.by] === at.value);
  lines = [...come.filter(here).reverse(), ...lines].slice(0, MOST);
  if (!paused) draw();
}

function draw() {
  const several = shell.state().route === "";
  const items = lines.length ? lines : [{ id: "", none: "Nothing has come yet." }];
  fill($("last"), items, (line) => line.id, (line) =>
    line.none ? h("li", { class: "note" }, line.none) : drawn(line, several));
}

function drawn(line, several) {
  const here = shell.state().value !== null; // its page says the value already
  const fields = here ? [] : Object.entries(line.fields).map(([field, value]) =>
    shell.link({ route: line.route, by: field, value, find: "" }, { title: `${field}: ${value}` }, value || "(empty)"));
  const route = several ? shell.link({ route: line.route, by: "", value: null }, { class: "of" }, line.route) : null;
  return h("li", {},
    h("span", { class: "said" },
      ...chips(line).map((name) => h("span", { class: "chip", colour: colourOf(name, line.choices) }, name)),
      h("span", { class: "quiet" }, [...sureness(line), ...line.marks].join(", "))),
    h("span", { class: "fields" }, ...fields),
    h("span", { class: "small" }, route, h("time", {}, when(line.at)), h("code", { title: line.model }, line.id)),
    shell.known().text ? h("button", { type: "button", onclick: () => showText(line, shell) }, "Text") : null);
}

/** What may be acted on; a line of before says nothing of several labels. */
function chips(line) {
  if (!line.several) return [line.unsure ? "unsure" : line.label];
  const decided = line.labels.filter((label) => label.decided).map((label) => label.name);
  return decided.length ? decided : [line.unsure ? "unsure" : "none"];
}

/** How sure the model is of what it gives. */
function sureness(line) {
  if (line.several && line.labels.length) return line.labels.map(({ name, score }) => `${name} ${percent(score)}`);
  const named = (line.unsure || line.several) && line.label !== "unsure";
  return [named ? `${line.label} ${percent(line.confidence)}` : percent(line.confidence)];
}

$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", paused);
  say($("pause"), paused ? "Go on" : "Pause");
  if (!paused) draw();
});
