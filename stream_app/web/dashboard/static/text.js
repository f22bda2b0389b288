// The text behind a label, and "wrong: it is …". Both need --show-text.

import { ask, send } from "./data.js";
import { h, say } from "./draw.js";
import { percent } from "./words.js";

const $ = (id) => document.getElementById(id);
let shown = null;

export async function showText(line, shell) {
  shown = line;
  say($("text-title"), line.id);
  say($("text-label"), `${line.label}, ${percent(line.confidence)}`);
  say($("text-body"), "…");
  say($("correction-said"), "");
  const choices = line.choices.filter((name) => name !== line.label);
  $("right").replaceChildren(h("option", { value: "" }, "choose"), ...choices.map((name) => h("option", { value: name }, name)));
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

$("correction").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await send("correction", { route: shown.route, id: shown.id, label: $("right").value });
    say($("correction-said"), `Sent: it is ${$("right").value}. The next refresh learns from it.`);
  } catch (error) {
    say($("correction-said"), `Not sent: ${error.message}.`);
  }
});
$("text-close").addEventListener("click", () => $("text-dialog").close());
