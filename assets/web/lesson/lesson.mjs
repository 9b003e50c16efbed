// What the lesson's page does in the browser: it collects the card's state from its components, shows it, draws cards 1 and 2,
// and puts what the server sends of the others into its places.
import {beat, dash, element, listenToHeader, look} from "../../assets/shared.mjs";
import {listenToKeys} from "./keys.mjs";
import {draw as drawOneAttack} from "./one-attack.mjs";
import {draw as drawZigzag} from "./zigzag.mjs";

const GEOMETRY = {"one-attack": drawOneAttack, zigzag: drawZigzag};
const KEPT = ["lock", "hide", "theme"]; // what stays from card to card
const CONFIG = {displayModeBar: false, showSendToCloud: false, plotlyServerURL: "", responsive: true};
const view = {cards: {}, state: null, shown: "", goal: ""};
window.lessonView = view; // for tests

const section = () => element(`card-${view.shown}`);
const revealed = () => Number(view.state?.reveal) === 1;
const list = (text) => String(text ?? "").split(",").filter(Boolean);

// On the screen at once, before Dash knows of it.
function set(fields) {
  show({...view.state, ...fields});
  for (const [field, value] of Object.entries(fields)) dash.set_props({field}, {value});
}

// The address of a card: what differs from its initial values, and what stays from card to card.
function address(name, fields) {
  const kept = Object.fromEntries(KEPT.map((field) => [field, view.state?.[field]]));
  const all = Object.entries({...fields, ...kept}).filter(([field, value]) => (value ?? "") !== "" && field !== "card");
  const query = new URLSearchParams(all.filter(([field, value]) => value !== view.cards[name].fields[field])).toString();
  return [location.pathname.replace(/[^/]*$/, name), query && `?${query}`];
}

// Later: a slider moves more often than browsers let the address change. Not by dcc.Location, for which it would be a new page.
function writeAddress(wait = 200) {
  clearTimeout(view.writing);
  view.writing = setTimeout(() => history.replaceState(null, "", address(view.shown, view.state).join("")), wait);
}

function go(name) {
  if (!view.cards[name] || name === view.goal) return;
  clearTimeout(view.writing);
  if (view.state && view.goal === view.shown) history.replaceState(null, "", address(view.shown, view.state).join(""));
  view.goal = name;
  history.pushState(null, "", address(name, {}).join(""));
  const {pathname, search, href} = location;
  dash.set_props("address", {pathname, search, href});
}

function step(by) {
  const names = Object.keys(view.cards);
  go(names[names.indexOf(view.goal) + by]);
}

function reveal() {
  if (!section()?.querySelector(".reveal")) return; // a question for a test
  set({reveal: revealed() ? "" : 1});
}

function fullScreen() {
  const refused = () => dash.set_props("view-notice", {children: "this browser refuses full screen here: try F11"});
  if (document.fullscreenElement) document.exitFullscreen();
  else document.documentElement.requestFullscreen?.().catch(refused);
}

const turnTheme = () => set({theme: look(view.state.theme) === "dark" ? "light" : "dark"});

function toggleControls() {
  if (Number(view.state.lock) === 1) return;
  const hidden = new Set(list(view.state.hide));
  if (!hidden.delete("controls")) hidden.add("controls");
  set({hide: [...hidden].join(",")});
}

// Texts into the card's [data-out=NAME]; an unchanged one would be read out again.
function write(texts) {
  for (const [name, text] of Object.entries(texts)) {
    for (const place of section().querySelectorAll(`[data-out="${name}"]`)) {
      if (place.textContent !== text) place.textContent = text;
    }
  }
}

function drawGeometry() {
  view.measured = GEOMETRY[view.shown]?.(section(), view.state, revealed(), write);
}

// A plotly figure, or a sentence where there is none: large on a projector, small on a phone.
function place(name, made) {
  const box = section().querySelector(`[data-figure="${name}"]`);
  if (typeof made === "string") {
    dash.set_props({figure: name}, {children: {namespace: "dash_html_components", type: "P", props: {children: made, className: "empty"}}});
    return;
  }
  const size = Math.round(Math.min(0.82 * parseFloat(getComputedStyle(box).fontSize), Math.max(10, box.clientWidth / 28)));
  made.layout.font.size = size;
  if (made.layout.legend) made.layout.legend.font = {size};
  const props = {id: {graph: name}, figure: made, config: CONFIG, responsive: true, style: {height: "100%"}};
  const graph = {namespace: "dash_core_components", type: "Graph", props};
  const label = {role: "img", "aria-label": made.layout.meta.label, className: "graph"};
  dash.set_props({figure: name}, {children: {namespace: "dash_html_components", type: "Div", props: {children: graph, ...label}}});
}

function listen() {
  if (view.listening) return;
  view.listening = true;
  const end = (place) => go(Object.keys(view.cards).at(place)), choices = () => view.cards[view.shown].choices;
  listenToKeys({step, go, end, choices, set, reveal, fullScreen, turnTheme, toggleControls});
  listenToHeader(() => look(view.state.theme) && drawGeometry());
  document.addEventListener("input", ({target}) => { // at once, before Dash knows of it
    if (target.type === "range") show({...view.state, [target.closest("[data-field]").dataset.field]: Number(target.value)});
  });
  addEventListener("resize", () => requestAnimationFrame(drawGeometry));
  addEventListener("pagehide", () => navigator.sendBeacon(`${new URL("../leave", import.meta.url)}?client=${view.client}`));
  addEventListener("pageshow", ({persisted}) => persisted && location.reload()); // kept by the browser, but not measured any more
  const warm = {namespace: "dash_core_components", type: "Graph", props: {config: CONFIG}}; // plotly is there before it is needed
  setTimeout(() => dash.set_props("warm", {children: warm}), 300);
}

// The card in a state, everywhere that the state is seen.
function show(state) {
  const before = view.shown, turned = before !== state.card;
  if (!turned && JSON.stringify(state) === JSON.stringify(view.state)) return;
  Object.assign(view, {state, shown: state.card, goal: state.card});
  const card = section(), done = revealed();
  if (turned) card.querySelectorAll("[data-html]").forEach((part) => (part.innerHTML = part.dataset.html));
  element("still")?.remove();
  look(state.theme);
  document.title = `${view.cards[state.card].title} - trs lesson`;
  element("lesson").className = list(state.hide).map((part) => `hide-${part}`).join(" ");
  if (turned || card.classList.contains("revealed") !== done) card.querySelector(".question-box").open = !done;
  card.classList.toggle("revealed", done);
  card.querySelectorAll("[data-guessed]").forEach((part) => (part.hidden = Number(part.dataset.guessed) !== Number(state.guess)));
  const press = (button, pressed) => button.setAttribute("aria-pressed", String(pressed));
  for (const button of card.querySelectorAll("[data-set]")) {
    press(button, Object.entries(JSON.parse(button.dataset.set)).every(([name, value]) => state[name] === value));
  }
  for (const button of card.querySelectorAll("[data-toggle]")) {
    const [[name, values]] = Object.entries(JSON.parse(button.dataset.toggle));
    press(button, values.every((value) => list(state[name]).includes(value)));
  }
  card.querySelectorAll("[data-value-of]").forEach((one) => (one.textContent = `${state[one.dataset.valueOf]}${one.dataset.unit}`));
  for (const link of document.querySelectorAll("[data-card]")) {
    if (link.dataset.card === state.card) link.setAttribute("aria-current", "step"); else link.removeAttribute("aria-current");
    link.href = address(link.dataset.card, {}).join("");
  }
  drawGeometry();
  if (done && !turned) card.querySelector(".answer").scrollIntoView({block: "nearest"});
  if (before && turned) {
    card.querySelector("h2").focus();
    scrollTo(0, 0);
  }
  if (!turned) writeAddress();
  listen();
}

dash.lesson = {
  // Show the state of the card's components; return the part of it that the card's view depends on, and no act. What is no number
  // counts as the initial one.
  collect(values, ids, cards, before, client) {
    if (!ids.length) return [dash.no_update, dash.no_update];
    const held = Object.fromEntries(ids.map(({field}, k) => [field, values[k] ?? ""]));
    const card = element("cards").firstElementChild.id.slice(5), {fields} = cards[card];
    for (const [name, initial] of Object.entries(fields)) {
      const number = Number(held[name]);
      if (held[name] === "" || (typeof initial === "number" && !Number.isFinite(number))) held[name] = initial;
      else if (typeof initial === "number") held[name] = number;
    }
    Object.assign(view, {cards, client});
    const asked = {card, ...Object.fromEntries(Object.keys(fields).map((name) => [name, held[name]])), reveal: Number(held.reveal)};
    const same = JSON.stringify(asked) === JSON.stringify(before);
    show({card, ...held});
    return same ? [dash.no_update, dash.no_update] : [asked, null];
  },

  // A click on a button: it sets fields, adds to a list, starts a measurement, or does what a key does.
  press() {
    const {triggered, triggered_id: id} = dash.callback_context;
    if (!triggered[0]?.value || !view.state) return dash.no_update;
    if (id.do) ({reveal, full: fullScreen, theme: turnTheme})[id.do]();
    else if (id.set) set(JSON.parse(id.set));
    else if (id.act) dash.set_props("act", {data: {...JSON.parse(id.act), card: view.shown, press: triggered[0].value}});
    else {
      const [[name, values]] = Object.entries(JSON.parse(id.toggle)), now = list(view.state[name]);
      const has = values.length === 1 && now.includes(values[0]);
      set({[name]: (has ? now.filter((value) => value !== values[0]) : [...new Set([...now, ...values])]).join(",")});
    }
    return dash.no_update;
  },

  // What the server has made of a card.
  fill(answer) {
    if (!answer || answer.card !== view.shown) return dash.no_update;
    view.answer = answer;
    write(answer.texts ?? {});
    for (const [name, html] of Object.entries(answer.parts ?? {})) {
      const part = section().querySelector(`[data-markup="${name}"]`);
      if (part.filledWith !== html) Object.assign(part, {innerHTML: html, filledWith: html});
    }
    for (const [name, made] of Object.entries(answer.figures ?? {})) place(name, made);
    return dash.no_update;
  },

  // A server that is back goes on with what it was asked.
  async beat(count) {
    const [alive, gone] = await beat(count);
    if (view.gone && !gone) {
      const {pathname, search} = location;
      dash.set_props(...(view.goal === view.shown ? ["poll", {n_intervals: 0}] : ["address", {pathname, search}]));
    }
    view.gone = gone;
    return [alive, gone];
  },
};
