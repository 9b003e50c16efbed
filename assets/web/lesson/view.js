// What the server draws of a card: a function of the card's state, asked again until nothing more is to come.
// A view has figures (plotly's format, or a sentence) for [data-figure=NAME], texts for [data-out=NAME], markup for
// [data-markup=NAME], a notice, and whether it is done.
import {lesson} from "./lesson.js";

const CONFIG = {displayModeBar: false, showSendToCloud: false, plotlyServerURL: ""};
const CLIENT = Math.random().toString(36).slice(2); // this page, among many that ask the same machine
const SESSION = (() => { // this tab, also when it is loaded again
  try {
    sessionStorage.trsLesson ||= CLIENT;
    return sessionStorage.trsLesson;
  } catch {
    return CLIENT; // a browser that keeps nothing
  }
})();

let newest = {key: "", stop: new AbortController()}; // what is followed
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

lesson.drawnByServer = () => {
  const chosen = (field) => String(lesson.get(field)).split(",");
  for (const button of lesson.section().querySelectorAll("[data-act*=toggle]")) {
    const {toggle: field, values} = JSON.parse(button.dataset.act);
    button.setAttribute("aria-pressed", String(values.every((value) => chosen(field).includes(value))));
  }
  follow({});
};

// What a button starts, such as a training: its fields go with the request, besides the card's.
lesson.act = (fields) => (fields.toggle ? toggle(fields) : follow(fields));

// Adds values to a field that is a list, or removes one that is there.
function toggle({toggle: field, values}) {
  const before = String(lesson.get(field)).split(",").filter(Boolean);
  const has = values.every((value) => before.includes(value));
  const after = has && values.length === 1 ? before.filter((value) => value !== values[0]) : [...new Set([...before, ...values])];
  lesson.set({[field]: after.join(",")});
}

lesson.onLeave = (name) => {
  newest.stop.abort();
  newest = {key: "", stop: new AbortController()};
  if (!lesson.cards[name].draw) navigator.sendBeacon(`${lesson.meta.root}/lesson/${name}/leave?client=${CLIENT}`);
};
addEventListener("pagehide", () => lesson.onLeave(lesson.name));

export async function follow(act) {
  const name = lesson.name, reveal = Number(lesson.revealed()), dark = Number(lesson.dark());
  const fields = {...lesson.state(), ...act, reveal, dark, client: CLIENT, session: SESSION}, key = JSON.stringify([name, fields]);
  if (key === newest.key) return;
  newest.stop.abort();
  const mine = (newest = {key, stop: new AbortController()});
  for (let view = {}, again = ""; !view.done && mine === newest; again = 1) {
    view = await ask(name, {...fields, again}, mine.stop.signal);
    if (mine !== newest) return;
    await fill(view);
    if (!view.done) await wait(view.wait || 200);
  }
  if (mine === newest && Object.keys(act).length) newest.key = ""; // the same button may be pressed again
}

async function ask(name, fields, signal) {
  try {
    const response = await fetch(`${lesson.meta.root}/lesson/${name}/view?${new URLSearchParams(fields)}`, {signal});
    if (response.ok) return await response.json();
    return {notice: await response.text(), done: response.status !== 429, wait: 2000};
  } catch {
    return {notice: "the explorer does not answer: is it still running?", wait: 1000};
  }
}

let script = null;
export function plotly() {
  script ||= new Promise((resolve) => {
    document.head.append(Object.assign(document.createElement("script"), {src: new URL("../../plotly.js", import.meta.url), onload: resolve}));
  });
  return script;
}

async function fill(view) {
  const section = lesson.section(), before = lesson.cards[lesson.name]?.found, name = lesson.name;
  lesson.say([...lesson.invalid(), view.notice, view.wrong].filter(Boolean).join("\n"));
  lesson.write(view.texts || {});
  for (const [part, markup] of Object.entries(view.markup || {})) {
    const element = section.querySelector(`[data-markup="${part}"]`);
    if (before?.markup?.[part] !== markup) element.innerHTML = markup;
  }
  if (Object.keys(view.figures || {}).length) await plotly();
  if (name !== lesson.name) return;
  for (const [part, figure] of Object.entries(view.figures || {})) draw(section.querySelector(`[data-figure="${part}"]`), figure);
  lesson.cards[name] = {...lesson.cards[name], found: view};
}

// A figure follows its place, which also changes without the window: text beside it grows.
const places = new ResizeObserver((entries) => {
  for (const {target} of entries) if (target.data && target.clientWidth) window.Plotly.Plots.resize(target);
});

function draw(element, figure) {
  places.observe(element);
  if (typeof figure === "string") {
    window.Plotly.purge(element);
    element.replaceChildren(Object.assign(document.createElement("p"), {textContent: figure, className: "empty"}));
    element.removeAttribute("role");
    return;
  }
  element.querySelector(".empty")?.remove();
  element.setAttribute("role", "img");
  element.setAttribute("aria-label", figure.layout.meta.label);
  const size = Math.round(Math.min(0.82 * parseFloat(getComputedStyle(element).fontSize), Math.max(10, element.clientWidth / 28)));
  figure.layout.font.size = size; // large on a projector, small on a phone
  if (figure.layout.legend) figure.layout.legend.font = {size};
  window.Plotly.react(element, figure.data, figure.layout, CONFIG);
}
