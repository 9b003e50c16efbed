// What Dash cannot do in time: layers and models switched without the server, and what is new shown at once.
import {cover, lay, move, recolour, snapshot} from "./at_once.mjs";
import {crosshair, moveTo, under} from "./crosshair.mjs";
import {columnsFor, compose, TITLE} from "./panels.mjs";
import {beat, choices, COMMON_KEYS, dash, element, fill, following, listenToHeader, listenToCustomOptions, next, press as pressKey, show} from "./shared.mjs";
import {axes, graph, shown, tell, theme, view} from "./view.mjs";

const SETTLED_MS = 250; // without a change, before what costs much is asked: the matrix, the gallery, the angles
const PATIENCE_MS = 1200; // that these wait for the slice's finer grids
const FINE = 2; // the level of the grid for which they wait
const ATTACK_MS = 120; // that a new slice's lines wait for the attacks, to be drawn once
const FINER_MS = 400; // that the lines of a finer grid wait for those of the next one
const FRAMES_MS = 50; // until what is covered or coloured is on the screen
const REST_MS = 1000; // without a change, before plotly draws an attack that has been moved already

function room(count) {
  const box = element("slice-box");
  const large = Number(view.state?.present) === 1;
  const columns = columnsFor(count, box.clientWidth, innerHeight * (large ? 0.56 : 0.62));
  return {columns, width: box.clientWidth, large};
}

// What is drawn, as texts to compare: all of it, the slice alone, and the arrangement of the panels.
function drawing() {
  const {slice, attack, state} = view, models = shown(state, slice.models), {columns, width, large} = room(models.length);
  const fits = attack?.key === slice.key ? attack : null, look = theme(state);
  const frame = JSON.stringify([slice.models, slice.low, slice.high, models, columns, width, large, look]);
  const pixels = `${slice.key} ${slice.level} ${state.layer}`;
  const want = {layer: state.layer, shown: models, columns, template: view.looks[look], large, width};
  return {frame, pixels, all: JSON.stringify([frame, pixels, fits?.about]), fits, want};
}

// The figure, unless it is on the screen already.
function figure() {
  if (!view.slice?.spec || !view.state?.run) return dash.no_update;
  const {frame, pixels, all, fits, want} = drawing();
  if (all === view.drawn?.all) return dash.no_update;
  view.drawn = {frame, pixels, all, key: view.slice.key};
  const made = compose(view.slice, fits, want);
  element("slices-room").style.height = `${made.layout.height}px`;
  return made;
}

// Plotly takes 100 ms to draw all of a figure. What is new is shown before: pixels of the slice, or another path of the attack.
// Returns whether it was; plotly then follows.
function drawAtOnce() {
  const plot = graph(), {slice, state} = view;
  if (!plot?._fullLayout || !view.drawn || !state?.run) return false;
  const {frame, pixels, all, fits, want} = drawing(), sources = slice.layers[state.layer];
  if (frame !== view.drawn.frame || all === view.drawn.all) return false;
  if (pixels !== view.drawn.pixels && sources) {
    recolour(plot, want.shown, sources);
    const other = slice.key !== view.drawn.key;
    element("slice-box").classList.toggle("stale", other); // the lines are not those of these pixels
    view.drawn.pixels = pixels;
    later(!other && slice.level < FINE ? FINER_MS : other && !fits ? ATTACK_MS : 0);
    tell("pixels");
    return true;
  }
  if (slice.key !== view.drawn.key) later(0);
  else if (fits && move(plot, compose(slice, fits, want).data)) {
    later(REST_MS, true);
    tell("attack");
  } else return false;
  return true;
}

// resting: until nothing has been typed or moved for so long.
function later(ms, resting = false) {
  clearTimeout(view.later);
  view.resting = resting;
  requestAnimationFrame(() => {
    clearTimeout(view.later);
    view.later = setTimeout(redraw, ms);
  });
}

// A button of the matrix or of the images sets controls: {control: [property, value]}.
function press(event) {
  const button = event.target.closest?.("[data-set]");
  for (const [name, [property, value]] of Object.entries(button ? JSON.parse(button.dataset.set) : {})) {
    dash.set_props(name, {[property]: value});
  }
}

const start = (place) => dash.set_props("start", {data: place ? place.map((v) => v.toFixed(4)).join(",") : ""});

const flip = (id) => dash.set_props(id, {value: !element(id).checked});

// The newest checkpoint is the last one, and is followed when there is a newer one.
function checkpoint(step) {
  const [newest, ...all] = choices("at"), shown = element("at").value;
  const k = (shown === newest ? all.length - 1 : all.indexOf(shown)) + step;
  if (k >= 0 && k < all.length) dash.set_props("at", {value: k === all.length - 1 ? newest : all[k]});
}

// The control follows once the new layer is on the screen: Dash takes a while to set it.
function nextLayer() {
  const value = following("layer");
  switchTo(value);
  element("layer").value = value; // for the next press, however soon
  requestAnimationFrame(() => setTimeout(() => dash.set_props("layer", {value}), 0));
}

const ARROWS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1]};
const KEYS = {
  ...COMMON_KEYS,
  "[": () => checkpoint(-1), "]": () => checkpoint(1), l: nextLayer, p: () => next("plane"),
  x: () => flip("swap"), f: () => flip("present"),
  Escape: () => start(null),
};

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || !view.state) return;
  const inBox = document.activeElement?.id === "slice-box";
  if (inBox && (event.key in ARROWS || event.key === "Enter")) {
    const {low, high} = view.slice, far = ((high - low) / 96) * (event.shiftKey ? 8 : 1);
    const from = view.cross ?? [(low + high) / 2, (low + high) / 2];
    if (event.key === "Enter") start(from);
    else moveTo(from.map((v, k) => Math.min(high, Math.max(low, v + far * ARROWS[event.key][k]))));
    event.preventDefault();
  } else pressKey(event, KEYS);
}

// Dash drops a picture that is too large without a word.
function tooLarge(event) {
  const file = (event.dataTransfer ?? event.target).files?.[0], most = Number(event.currentTarget.dataset.most);
  if (!(file?.size > most)) return;
  const [size, limit] = [file.size, most].map((bytes) => bytes / 2 ** 20);
  dash.set_props("upload-words", {children: `the picture has ${size.toFixed(1)} MiB: at most ${limit} MiB are allowed`});
}

// A layer, or models on and off: all of it is in the browser. Not a callback of Dash, which would wait for the server: its answer
// sets the same controls.
function switchTo(layer) {
  const names = [...document.querySelectorAll("#shown input:checked")].map((box) => box.value);
  const {slice, state} = view, plot = graph();
  if (!slice?.spec || !plot?._fullLayout || !state || !names?.length) return;
  const hide = slice.models.map((_, k) => k).filter((k) => !names.includes(String(k))).join(",");
  if ((layer === state.layer && hide === String(state.hide).replace("none", "")) || !slice.layers[layer]) return; // a layer that the server has to send
  const before = shown(state, slice.models), {all: was} = drawing();
  element("slice-box").dataset.layer = layer;
  view.state = {...state, layer, hide};
  const after = shown(view.state, slice.models);
  const gone = before.filter((model) => !after.includes(model));
  for (const model of gone) cover(plot, element("slice-box"), axes(plot, model), TITLE);
  const {frame, pixels, all} = drawing(), arrows = [layer, state.layer].includes("arrows");
  if (frame === view.drawn?.frame) {
    recolour(plot, after, slice.layers[layer]);
    if (!arrows) Object.assign(view.drawn, {pixels, all});
  }
  if (gone.length) requestAnimationFrame(() => setTimeout(() => (view.earlier = {all: was, picture: snapshot(plot)}), 0));
  if (gone.length || arrows) later(FRAMES_MS);
  else if (frame !== view.drawn?.frame) {
    if (all !== view.earlier?.all) redraw();
    else { // as it was before a model was hidden
      lay(view.earlier.picture, plot, element("slice-box"));
      later(FRAMES_MS);
    }
  }
  tell("switched");
}

function listen() {
  if (view.listening || !element("slice-box")) return;
  view.listening = true;
  const box = element("slice-box");
  box.addEventListener("pointermove", (event) => { const at = under(event); if (at) moveTo(at); });
  box.addEventListener("click", (event) => { const at = under(event); if (at) { moveTo(at); start(at); } });
  document.addEventListener("keydown", key);
  document.addEventListener("click", press);
  document.addEventListener("input", () => { if (view.resting) later(REST_MS, true); });
  document.addEventListener("change", ({target}) => {
    if (target.id === "layer" || target.closest("#shown")) switchTo(element("layer").value);
  });
  for (const kind of ["change", "drop"]) element("upload-label").addEventListener(kind, tooLarge, true);
  listenToHeader(redraw);
  listenToCustomOptions();
  new ResizeObserver(() => redraw()).observe(box);
}

// Which sections still show what was measured for other values of their fields. shown: those for which a section shows its own.
const values = (section, state) => section.dataset.measured.split(" ").map((name) => state?.[name]).join("|");
function markOutdated() {
  for (const section of document.querySelectorAll("[data-measured]")) {
    section.setAttribute("aria-busy", String(!view.state?.error && view.shown[section.id] !== values(section, view.state)));
  }
}

// The other sections follow once a fine grid of the slice is on the screen, and a slider has come to rest.
function settle() {
  const fine = view.state.error || view.slice.level >= FINE, waited = performance.now() - view.since;
  clearTimeout(view.settling);
  view.settling = setTimeout(() => {
    if (view.told === view.state) return;
    view.told = view.state;
    dash.set_props("settled", {data: view.state});
  }, fine ? SETTLED_MS : Math.max(SETTLED_MS, PATIENCE_MS - waited));
}

// The slices' figure, of what the server found last.
function redraw() {
  const made = figure();
  if (made !== dash.no_update) show("slices", made, view.graph);
  afterwards();
}

function afterwards() {
  requestAnimationFrame(() => setTimeout(() => {
    const plot = graph();
    if (!plot?._fullLayout) return afterwards();
    if (view.plot !== plot) plot.on("plotly_afterplot", newestPixels);
    view.plot = plot;
    newestPixels();
    painted();
  }, 0));
}

// A figure that was put together before newer pixels came may be drawn after they were shown.
function newestPixels() {
  const {slice, state} = view, sources = slice.layers[state.layer], images = graph()._fullLayout.images;
  const {frame, pixels, want} = drawing();
  if (!sources || frame !== view.drawn.frame || pixels !== view.drawn.pixels) return;
  if (want.shown.some((model) => images[model].source !== sources[model])) recolour(graph(), want.shown, sources);
}

function painted() {
  document.getElementById("still")?.remove();
  document.querySelector("#upload input")?.setAttribute("aria-label", "upload picture"); // dcc.Upload has no property for it
  crosshair();
  const {slice} = view;
  if (!slice?.spec) return;
  if (view.drawn?.key === slice.key) element("slice-box").classList.remove("stale");
  tell("painted");
}

// The next finer grid is asked for while this one is drawn.
function askNext() {
  const {key, next} = view.slice, asked = `${key} ${next}`;
  if (view.next === asked) return;
  view.next = asked;
  setTimeout(() => dash.set_props("next", {data: {key, level: next}}), 0);
}

dash.explorer = {
  draw(slice, state, looks, graph) {
    const isNew = state !== view.state;
    if (isNew) view.since = performance.now();
    if (slice?.spec && slice.key !== view.slice?.key) moveTo(null); // another plane: its points are others
    Object.assign(view, {slice: slice?.spec ? slice : view.slice, state, looks, graph});
    listen();
    element("slice-box").dataset.layer = state?.layer;
    element("slice-box").style.visibility = slice === null && state?.error ? "hidden" : ""; // no picture of another run
    document.documentElement.classList.toggle("present", Number(state?.present) === 1);
    markOutdated();
    // What is measured of an earlier state is not asked for any more: its answers would hold up those to a slider.
    if (isNew && element("transfer").ariaBusy === "true") dash.set_props("poll", {disabled: true});
    if (state?.error || (state && slice?.spec)) settle();
    if (!slice?.spec) return;
    askNext();
    if (!drawAtOnce()) redraw();
  },

  // Not together with the slice: Dash would wait for both. What is about an earlier state has been overtaken by a newer answer.
  drawAttack(attack, state) {
    const outputs = dash.callback_context.outputs_list.map(({id}) => id);
    if (attack && Object.entries(attack.about).some(([name, value]) => state[name] !== value)) return outputs.map(() => dash.no_update);
    view.attack = attack;
    const fits = !attack?.key || attack.key === view.slice?.key; // else it is drawn with its slice
    if (fits && view.slice?.spec && view.state && !drawAtOnce()) redraw();
    return outputs.map((id) => attack?.words[id] ?? "");
  },

  fill(...texts) {
    for (const id of fill(texts)) {
      const section = element(id).closest("[data-measured]");
      if (section) view.shown[section.id] = values(section, view.told);
    }
    markOutdated();
    dash.explorer.mark(view.state);
  },

  // The button of the image that is picked.
  mark(state) {
    for (const button of element("gallery").querySelectorAll("[data-image]")) {
      button.setAttribute("aria-pressed", String(!state?.own && Number(button.dataset.image) === Number(state?.image)));
    }
  },

  layerKey: (layer, keys) => keys[layer] ?? "",

  beat: (count) => beat(count),

  // Save the figure that the server has made for it.
  async save(made) {
    if (!made) return dash.no_update;
    const {data, layout} = made.figure, {format, name, scale} = made, {width, height} = layout;
    await window.Plotly.downloadImage({data, layout}, {format, width, height, filename: name, scale: format === "png" ? scale : 1});
    return "";
  },
};
