// READ FIRST: the page from its address to what is drawn.
//
//   address -> ask the server -> draw;  an event -> the last labels at once, the figures soon after
//
// All of the page's state is in its address, so that it can be sent to somebody else.

import { TokenNeeded, ask, listen, setToken } from "./data.js";
import { fill, h, say } from "./draw.js";
import { addLast } from "./last.js";
import { drawAll } from "./overview.js";
import { drawRoute } from "./route.js";
import { RANGES } from "./words.js";

const REFRESH = 2000; // milliseconds between two looks at the figures while labels come
const IDLE = 10_000; // and while none come: time passes
const DEFAULT_RANGE = "1h";

const $ = (id) => document.getElementById(id);
let asked = null; // the look under way
let due = 0;
let known = { routes: [], text: false };

/** What the address says. */
function state() {
  const query = new URLSearchParams(location.search);
  const get = (name) => query.get(name) ?? "";
  const range = get("range") in RANGES ? get("range") : DEFAULT_RANGE;
  return { route: get("route"), range, by: get("by"), value: query.get("value"), measure: get("measure"), find: get("find"), sort: get("sort") };
}

/** The address with some of it changed; what is null or "" is left out. */
function address(change) {
  const merged = Object.entries({ ...state(), ...change });
  const query = merged.filter(([name, value]) => value !== null && (value !== "" || name === "value"));
  const shown = query.filter(([name, value]) => name !== "range" || value !== DEFAULT_RANGE);
  return `?${new URLSearchParams(shown)}`;
}

/** Go to an address of this page. */
function go(change, replace = false) {
  history[replace ? "replaceState" : "pushState"](null, "", address(change));
  if (!replace) $("main").focus({ preventScroll: true });
  look();
}

/** A link within the page. */
function link(change, attributes, ...children) {
  const follow = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    go(change);
  };
  return h("a", { href: address(change), onclick: follow, ...attributes }, ...children);
}

const shell = { state, go, link, address, known: () => known, failed };

function drawShell(at) {
  const routes = [{ name: "" }, ...known.routes.map(({ name }) => ({ name }))];
  const home = { by: "", value: null, measure: "", find: "", sort: "" };
  fill($("routes"), routes.map(({ name }) => ({ name, here: name === at.route, range: at.range })), (item) => item.name, ({ name, here }) =>
    h("li", {}, link({ ...home, route: name }, { "aria-current": here && "page" }, name || "All routes")));
  fill($("ranges"), Object.keys(RANGES).map((name) => ({ name, here: name === at.range, rest: address({ range: name }) })), (item) => item.name, ({ name, here }) =>
    h("li", {}, link({ range: name }, { "aria-current": here && "true", title: RANGES[name] }, name)));
  const title = (at.value ?? (at.route || "All routes")) || "(empty)";
  say($("title"), title);
  document.title = `${title} · Winnow`;
  const way = at.value === null ? [] : [{ route: at.route, field: at.by, range: at.range }];
  fill($("way"), way, () => "way", ({ route, field }) => h("span", {}, link({ value: null }, {}, route), ` › ${field}`));
}

/** Ask for what the address is about, and draw it. A newer look replaces one under way. */
async function look() {
  asked?.abort();
  const mine = (asked = new AbortController());
  due = Date.now() + IDLE;
  const at = state();
  try {
    known = await ask("overview", { range: at.range }, mine.signal);
    drawShell(at);
    if (at.route && !known.routes.some(({ name }) => name === at.route)) throw new Error(`There is no route ${at.route}. Choose one above.`);
    $("all").hidden = at.route !== "";
    for (const id of ["tiles", "wide", "more"]) $(id).hidden = at.route === "";
    $("columns").classList.toggle("single", at.route === "");
    if (at.route === "") drawAll(known, shell);
    else await drawRoute(at, shell, mine.signal);
    told("look", "");
  } catch (error) {
    if (error.name !== "AbortError") failed(error);
  } finally {
    if (asked === mine) asked = null;
  }
}

const problems = { look: "", stream: "", server: "" };

/** Say what is wrong and what to do, or that nothing is. */
function told(part, what) {
  problems[part] = what;
  const text = problems.stream || problems.server || problems.look;
  say($("problem"), text);
  $("problem").hidden = text === "";
}

function failed(error) {
  if (error instanceof TokenNeeded) return askForToken();
  told("look", error instanceof TypeError ? "" : error.message); // the stream says that nobody answers
}

function askForToken() {
  $("token-wrong").hidden = sessionStorage.getItem("winnow-token") === null;
  if (!$("token-dialog").open) $("token-dialog").showModal();
}

$("token-dialog").addEventListener("cancel", (event) => event.preventDefault());
$("token-dialog").addEventListener("close", () => {
  setToken($("token").value.trim());
  $("token").value = "";
  look();
  follow();
});

function follow() {
  listen({
    open() {
      mark("live", "live");
      told("stream", "");
      soon();
    },
    lost(error) {
      if (error instanceof TokenNeeded) return askForToken();
      mark("lost", "reconnecting");
      told("stream", "The dashboard does not answer. Is winnow dashboard still running? This page tries again by itself; until then it shows what it last knew.");
    },
    event(name, data) {
      if (name === "status") return status(data.problems);
      addLast(data, state());
      soon();
    },
  });
}

function mark(kind, text) {
  $("state").dataset.kind = kind;
  say($("state"), text);
}

/** What the server itself misses: its broker or its topics. */
function status(found) {
  const first = Object.values(found)[0];
  told("server", first ? `${first[0].toUpperCase()}${first.slice(1)}. What you see is what was known before; it goes on by itself.` : "");
  mark(first ? "lost" : "live", first ? "waiting for the broker" : "live");
}

/** Look again soon, but not more often than REFRESH. */
function soon() {
  due = Math.min(due, Date.now() + REFRESH);
}

setInterval(() => {
  if (!document.hidden && asked === null && Date.now() >= due) look();
}, 250);
document.addEventListener("visibilitychange", () => document.hidden || look());
addEventListener("popstate", look);

look();
follow();
