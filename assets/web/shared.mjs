// What the pages of Dash components share: light and dark, keys, the server's beat, and elements that hold HTML.
const ALIVE = new URL("../alive", import.meta.url); // this script is below /assets, the prefix of a proxy before it
export const dash = (window.dash_clientside = window.dash_clientside || {});
export const element = (id) => document.getElementById(id);
let drawn = "", command = "trs explore"; // what started the server, by its own word

// "light" or "dark", as the page is to be drawn now. The store "look" has it too.
export function look(theme) {
  const dark = theme === "dark" || (theme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  const now = dark ? "dark" : "light";
  if (drawn !== now) {
    drawn = document.documentElement.dataset.theme = now;
    setTimeout(() => dash.set_props("look", {data: now}), 0);
  }
  return now;
}

// Show a figure: in the graph with this id, which the first figure puts into its room.
export function show(id, figure, graph) {
  if (element(id)) dash.set_props(id, {figure});
  else dash.set_props(`${id}-room`, {children: {...graph, props: {...graph.props, id, figure}}});
}

// Fill elements with what the server wrote as HTML: every text in it is escaped there (web/markup.py). Returns their ids.
export function fill(texts) {
  const {inputs_list: inputs, triggered} = dash.callback_context, changed = new Set(triggered.map(({prop_id: prop}) => prop));
  const filled = inputs.map(({id, property}, k) => [id.replace(/-html$/, ""), changed.has(`${id}.${property}`), texts[k]]);
  for (const [id, isNew, text] of filled) {
    if (!isNew) continue;
    const focused = element(id).contains(document.activeElement) && document.activeElement.id;
    element(id).innerHTML = text ?? "";
    if (focused) element(focused)?.focus();
  }
  return filled.filter(([, isNew]) => isNew).map(([id]) => id);
}

// Whether the server still answers: said within two beats, and unsaid when it is back.
export async function beat(count) {
  try {
    const answer = await fetch(ALIVE, {signal: AbortSignal.timeout(1200), cache: "no-store"});
    const said = await answer.text();
    if (!answer.ok || !/^trs \w+$/.test(said)) throw new Error(`${answer.status} ${said}`); // or it is a proxy's own page
    command = said;
    return [count, ""];
  } catch {
    return [dash.no_update, `The server does not answer any more. Start "${command}" again: this page then goes on by itself.`];
  }
}

// Keys act on what the controls show, which may be ahead of the state.
export function pick(step) {
  const field = element("image"), k = Number(field.value) + step;
  if (k >= 0 && k <= Number(field.max || k)) dash.set_props("image", {value: k});
}

// The values of a selection, without its placeholder.
export const choices = (id) => [...element(id).options].map((option) => option.value).filter(Boolean);

export function following(id) {
  const all = choices(id);
  return all[(all.indexOf(element(id).value) + 1) % all.length];
}

export const next = (id) => dash.set_props(id, {value: following(id)});

export const COMMON_KEYS = {
  ",": () => pick(-1), ".": () => pick(1),
  t: () => dash.set_props("theme", {value: look(element("theme").value) === "dark" ? "light" : "dark"}),
  "?": () => element("help").showModal(),
};

// Whether a key is one of `keys`, and is meant for the page; it is then done.
export function press(event, keys) {
  const elsewhere = event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
  if (elsewhere || !(event.key in keys) || document.querySelector("dialog[open]")) return false;
  keys[event.key]();
  return true;
}

async function copyLink() {
  const button = element("link"), before = button.textContent;
  try {
    await navigator.clipboard.writeText(location.href);
    button.textContent = "copied";
  } catch { // without https the browser has no clipboard
    button.textContent = "copy the address";
  }
  setTimeout(() => (button.textContent = before), 1500);
}

// The options of an attack of others, all of them as the query of an address: web/custom_attacks.py parses it.
export function listenToCustomOptions() {
  document.addEventListener("change", ({target}) => {
    if (!target.dataset.option) return;
    const fields = [...element("custom-options").querySelectorAll("[data-option]")];
    dash.set_props("options", {value: new URLSearchParams(fields.map((one) => [one.dataset.option, one.value])).toString()});
  });
}

// What both headers do; `redraw` when the system turns dark or light.
export function listenToHeader(redraw) {
  element("help-button").addEventListener("click", () => element("help").showModal());
  element("help-close").addEventListener("click", () => element("help").close());
  element("link").addEventListener("click", copyLink);
  // Menus close when something else is clicked, and with Escape.
  const close = (but) => document.querySelectorAll("details.pop[open]").forEach((menu) => (menu.open = menu.contains(but)));
  document.addEventListener("pointerdown", ({target}) => close(target)); // a download clicks a link of its own
  document.addEventListener("keydown", ({key}) => { if (key === "Escape") close(null); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw());
}
