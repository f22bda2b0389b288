// Asking the server: answers in JSON, and the events that it pushes. The token goes with each.
// EventSource can send no header, so events are read from a fetch.

const TOKEN = "winnow-token"; // in this tab only
const FIRST_PAUSE = 1000; // milliseconds until a lost stream is tried again; doubled up to the last
const LAST_PAUSE = 15_000;
const SILENCE = 30_000; // the server says something every ten seconds

const UNSEEN = new Error("nobody sees the page");

export class TokenNeeded extends Error {}

export const setToken = (token) => sessionStorage.setItem(TOKEN, token);

function headers(more = {}) {
  const token = sessionStorage.getItem(TOKEN);
  return token ? { ...more, Authorization: `Bearer ${token}` } : more;
}

async function checked(response) {
  if (response.ok) return response;
  if (response.status === 401) throw new TokenNeeded();
  const said = await response.json().catch(() => ({}));
  throw new Error(said.error ?? `the dashboard answers ${response.status}`);
}

/** GET /api/<path> with a query. Throws TokenNeeded, or an Error that says what is wrong. */
export async function ask(path, query = {}, signal) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== "");
  const url = `/api/${path}?${new URLSearchParams(given)}`;
  return (await checked(await fetch(url, { headers: headers(), signal }))).json();
}

/** POST /api/<path>. Throws as `ask` does. */
export async function send(path, body) {
  const options = { method: "POST", headers: headers({ "Content-Type": "application/json" }), body: JSON.stringify(body) };
  return (await checked(await fetch(`/api/${path}`, options))).json();
}

/** Listen to /api/events for ever: `on.event(name, data)`, `on.open()`, `on.lost(error)`.
 *
 *  A page that nobody sees lets go of its stream: a browser has six connections to a server, and six
 *  forgotten tabs, or pages it keeps for its back button, would leave none for the seventh. */
export async function listen(on) {
  const state = { last: null, pause: FIRST_PAUSE };
  for (;;) {
    await seen();
    try {
      await listenOnce(state, on);
    } catch (error) {
      if (error instanceof TokenNeeded) return on.lost(error);
      if (document.hidden || error === UNSEEN) continue;
      on.lost(error);
    }
    await new Promise((resolve) => setTimeout(resolve, state.pause * (0.75 + Math.random() / 2)));
    state.pause = Math.min(2 * state.pause, LAST_PAUSE);
  }
}

let left = false; // for another page: the browser may keep this one for its back button
addEventListener("pagehide", () => (left = true));
addEventListener("pageshow", () => (left = false));

/** Resolves once the page is seen. */
async function seen() {
  while (document.hidden || left) {
    await new Promise((resolve) => {
      for (const event of ["visibilitychange", "pageshow"]) addEventListener(event, resolve, { once: true });
    });
  }
}

async function listenOnce(state, on) {
  const stop = new AbortController();
  const unseen = () => stop.abort(UNSEEN);
  addEventListener("pagehide", unseen, { signal: stop.signal });
  addEventListener("visibilitychange", () => document.hidden && unseen(), { signal: stop.signal });
  const from = state.last === null ? {} : { "Last-Event-ID": state.last };
  const response = await checked(await fetch("/api/events", { headers: headers(from), signal: stop.signal }));
  on.open();
  state.pause = FIRST_PAUSE;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const silence = setTimeout(() => stop.abort(), SILENCE);
    const { value, done } = await reader.read().finally(() => clearTimeout(silence));
    if (done) throw new Error("the dashboard has ended");
    const parts = (waiting + value).split("\n\n");
    waiting = parts.pop();
    for (const part of parts) {
      const event = parsed(part);
      if (event.id !== undefined) state.last = event.id;
      if (event.event) on.event(event.event, JSON.parse(event.data));
    }
  }
}

/** The fields of one event. */
function parsed(text) {
  const found = text.split("\n").map((line) => line.split(/: (.*)/s).slice(0, 2));
  return Object.fromEntries(found.filter(([name]) => name));
}
