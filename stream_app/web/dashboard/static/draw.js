// Making and updating elements. Everything said goes in as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element: `h("a", { href, class, colour }, ...children)`; children are elements or text. */
export function h(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "colour") made.style.setProperty("--colour", value);
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child != null));
  return made;
}

/** Set an element's text, touching nothing where it stays. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Children of `parent`, one for each item: kept by key, so that focus and reading stay in place.
 *  An item that says the same as before is not drawn again. */
export function fill(parent, items, keyOf, make) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let next = parent.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    const said = JSON.stringify(item);
    let child = old.get(key);
    old.delete(key);
    if (child === undefined || child.said !== said) {
      const made = make(item);
      made.dataset.key = key;
      made.said = said;
      if (child !== undefined) {
        const focused = focusPath(child);
        if (next === child) next = made;
        child.replaceWith(made);
        if (focused !== null) focusable(made)[focused]?.focus();
      }
      child = made;
    }
    if (child === next) next = next.nextElementSibling;
    else parent.insertBefore(child, next);
  }
  for (const gone of old.values()) gone.remove();
}

const focusable = (element) => {
  const inside = [...element.querySelectorAll("a, button")];
  return element.matches("a, button") ? [element, ...inside] : inside;
};

function focusPath(element) {
  const at = focusable(element).indexOf(document.activeElement);
  return at < 0 ? null : at;
}

/** Points as a line with a base line; `null` is a gap. Values between `low` and `high`. */
export function sparkline(values, low, high, base) {
  const svg = document.createElementNS(SVG, "svg");
  const width = 120, height = 28, edge = 3;
  const x = (i) => edge + (i * (width - 2 * edge)) / Math.max(1, values.length - 1);
  const y = (value) => height - edge - ((value - low) / (high - low || 1)) * (height - 2 * edge);
  for (const [name, value] of Object.entries({ viewBox: `0 0 ${width} ${height}`, class: "spark", "aria-hidden": "true" })) {
    svg.setAttribute(name, value);
  }
  const known = values.map((value, i) => [i, value]).filter(([, value]) => value != null);
  const line = known.map(([i, value], n) => `${n ? "L" : "M"}${x(i).toFixed(1)} ${y(value).toFixed(1)}`);
  svg.append(path("base", `M0 ${y(base).toFixed(1)}H${width}`), path("line", line.join("")));
  if (known.length) {
    const dot = document.createElementNS(SVG, "circle");
    const [i, value] = known.at(-1);
    for (const [name, at] of Object.entries({ cx: x(i), cy: y(value), r: 2.2 })) dot.setAttribute(name, at);
    svg.append(dot);
  }
  return svg;
}

function path(kind, d) {
  const made = document.createElementNS(SVG, "path");
  made.setAttribute("class", kind);
  made.setAttribute("d", d);
  return made;
}

const KNOWN = { positive: "good", ham: "good", negative: "bad", spam: "bad", neutral: "even", unsure: "unsure" };
const CATEGORIES = 6;

/** The colour of a label, the same wherever it is shown; `labels` are all of its route. */
export function colourOf(label, labels) {
  const known = KNOWN[label];
  const at = labels.filter((each) => !(each in KNOWN)).sort().indexOf(label);
  return `var(--${known ?? `category-${Math.max(0, at) % CATEGORIES}`})`;
}
