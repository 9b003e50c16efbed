// What Dash does not do on the Compare page: put the slices' figures together, keys, and whether the server is there.
import {columnsFor, compose} from "../../assets/panels.mjs";
import {beat, COMMON_KEYS, dash, element, fill, listenToHeader, listenToCustomOptions, look, next, press, show} from "../../assets/shared.mjs";

const SETTLED_MS = 150; // without a change, before what costs much is asked: the matrices and the curves
const SIDES = ["a", "b"];
const view = {drawn: {}, noted: {}};
window.compareView = view; // for tests

const KEYS = {
  ...COMMON_KEYS,
  s: () => element("swap").click(),
  p: () => element("along-label").style.display === "none" || next("along"),
};

// The figure of a side; nothing if it is on the screen already.
function figure(side) {
  const slice = view.slices?.[side], attack = view.attacks?.[side], {state, looks} = view, width = element(`side-${side}`).clientWidth;
  if (!slice?.spec || !state || !width) return dash.no_update;
  const fits = attack?.key === slice.key ? attack : null, theme = look(state.theme), shown = slice.shown;
  const now = JSON.stringify([slice.key, slice.level, state[side], fits?.headlines, fits?.traces, width, innerHeight, theme]);
  if (now === view.drawn[side]) return dash.no_update;
  view.drawn[side] = now;
  const columns = columnsFor(shown.length, width, Math.max(innerHeight * 0.4, width < 620 ? width : 0));
  const made = compose(slice, fits, {layer: "class", shown, columns, template: looks[theme], large: false, width});
  element(`graph-${side}-room`).style.height = `${made.layout.height}px`;
  return made;
}

function redraw() {
  for (const side of SIDES) {
    const made = figure(side);
    if (made !== dash.no_update) show(`graph-${side}`, made, view.graph);
  }
}

// The finer grids are asked for when there are coarse ones of both sides.
function askForFiner() {
  const keys = Object.fromEntries(SIDES.map((side) => [side, view.slices[side]?.key])), asked = JSON.stringify(keys);
  if (!keys.a || !keys.b || view.asked === asked) return;
  view.asked = asked;
  setTimeout(() => dash.set_props("fine", {data: keys}), 0);
}

// A box is busy while it does not show the state, in the parts of it that it depends on. One input at a time: Dash would let a
// callback with all of them wait for the answers.
function note() {
  const [{id, value}] = dash.callback_context.inputs_list, {noted} = view;
  noted[id] = value && JSON.stringify(value);
  const waits = (part) => !noted[`${part}-shown`] || noted[`${part}-fields`] !== noted[`${part}-shown`];
  for (const box of document.querySelectorAll(".box")) box.ariaBusy = box.dataset.parts.split(" ").some(waits);
}

function listen() {
  if (view.listening || !element("sides")) return;
  view.listening = true;
  document.addEventListener("keydown", (event) => press(event, KEYS) && event.preventDefault());
  listenToHeader(redraw);
  listenToCustomOptions();
  new ResizeObserver(redraw).observe(element("sides"));
}

dash.compare = {
  draw(a, b, attacks, state, looks, graph) {
    Object.assign(view, {slices: {a, b}, attacks, state, looks, graph});
    element("sides").style.visibility = state?.error ? "hidden" : ""; // no picture of other runs
    listen();
    askForFiner();
    redraw();
  },

  // Before anything is drawn: the figures wait for their attacks.
  theme: (state) => state && look(state.theme),

  settle(fields) {
    note();
    clearTimeout(view.settling);
    view.settling = setTimeout(() => dash.set_props("settled", {data: fields}), SETTLED_MS);
  },

  note: () => note(),

  fill: (...texts) => fill(texts),

  beat: (count) => beat(count),
};
