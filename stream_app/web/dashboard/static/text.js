// The text behind a label, and "wrong: it is …". Both need --show-text.

import { ask, send } from "./data.js";
import { h, say } from "./draw.js";
import { percent } from "./words.js";

const $ = (id) => document.getElementById(id);
let shown = null;

export async function showText(line, shell) {
  shown = line;
  say($("text-title"), line.id);
  const given = line.several ? line.labels : [{ name: line.label, score: line.confidence }];
  say($("text-label"), given.map(({ name, score }) => `${name}, ${percent(score)}`).join("; ") || "none of its labels");
  say($("text-body"), "…");
  say($("correction-said"), line.several ? "Choose all that are right, with Ctrl or ⌘." : "");
  offer(line, new Set(given.map(({ name }) => name)));
  if (!$("text-dialog").open) $("text-dialog").showModal();
  try {
    const found = await ask("text", { route: line.route, id: line.id });
    say($("text-title"), found.title || line.id);
    say($("text-body"), found.body + (found.cut ? " …" : ""));
  } catch (error) {
    say($("text-body"), `It cannot be shown: ${error.message}.`);
    shell.failed(error);
  }
}

/** The labels to choose from: one that is another, or any number, beginning with those it has. */
function offer(line, given) {
  const right = $("right");
  [right.multiple, right.required, right.size] = [line.several === true, !line.several, line.several ? Math.min(8, line.choices.length) : 1];
  const names = line.several ? line.choices : line.choices.filter((name) => !given.has(name));
  const options = names.map((name) => h("option", { value: name, selected: line.several && given.has(name) }, name));
  right.replaceChildren(...(line.several ? [] : [h("option", { value: "" }, "choose")]), ...options);
}

$("correction").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const labels = [...$("right").selectedOptions].map((option) => option.value);
    await send("correction", { route: shown.route, id: shown.id, labels });
    say($("correction-said"), `Sent: it is ${labels.join(", ") || "none of them"}. The next refresh learns from it.`);
  } catch (error) {
    say($("correction-said"), `Not sent: ${error.message}.`);
  }
});
$("text-close").addEventListener("click", () => $("text-dialog").close());
