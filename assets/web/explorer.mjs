// What Dash cannot do in time: one crosshair over all panels, and layers and models switched without asking the server.
import {arrange, columnsFor, compose, point} from "./panels.mjs";
import {beat, choices, COMMON_KEYS, dash, element, fill, following, listenToHeader, look, next, press as pressKey} from "./shared.mjs";

const REST_MS = 60; // between two questions about the crosshair
const SETTLED_MS = 150; // without a change, before what costs much is asked: the matrix, the gallery, the angles
const graph = () => element("slices")?.querySelector(".js-plotly-plot");
const view = {state: null, slice: null, attack: null, looks: null, cross: null, drawn: "", asked: 0};
window.explorerView = view; // for tests and the benchmark

const theme = (state) => look(state?.theme);

const shown = (state, models) => {
  const hidden = new Set(String(state.hide).split(",").filter(Boolean).map(Number));
  const left = models.map((_, k) => k).filter((k) => !hidden.has(k));
  return left.length ? left : models.map((_, k) => k);
};

function room(count) {
  const box = element("slice-box");
  const large = Number(view.state?.present) === 1;
  const columns = columnsFor(count, box.clientWidth, large ? innerHeight - 190 : innerHeight * 0.62);
  return {columns, width: box.clientWidth, large};
}

// Where everything goes that is drawn: a signature, to leave alone what is on the screen already.
const signature = (parts) => JSON.stringify(parts);

function figure() {
  const {slice, attack, state, looks} = view;
  if (!slice?.spec || !state?.run) return dash.no_update;
  const models = shown(state, slice.models), {columns, width, large} = room(models.length);
  const fits = attack?.key === slice.key ? attack : null;
  const now = signature([slice.key, slice.level, fits?.id, state.layer, models, columns, width, large, theme(state)]);
  if (now === view.drawn) return dash.no_update;
  view.drawn = now;
  const made = compose(slice, fits, {layer: state.layer, shown: models, columns, template: looks[theme(state)], large, width});
  element("slices").style.height = `${made.layout.height}px`;
  return made;
}

function crosshair() {
  const box = element("crosshair"), plot = graph()?._fullLayout;
  if (!box) return;
  box.replaceChildren();
  if (!view.cross || !plot || !view.slice?.spec) return;
  for (const k of shown(view.state, view.slice.models)) {
    const x = plot[`xaxis${k ? k + 1 : ""}`], y = plot[`yaxis${k ? k + 1 : ""}`];
    const {low, high} = view.slice;
    const left = x._offset + ((view.cross[0] - low) / (high - low)) * x._length;
    const top = y._offset + ((high - view.cross[1]) / (high - low)) * y._length;
    const lines = [[x._offset, top, x._length, 1], [left, y._offset, 1, y._length]];
    for (const [l, t, w, h] of lines) {
      const line = document.createElement("i");
      Object.assign(line.style, {left: `${l}px`, top: `${t}px`, width: `${w}px`, height: `${h}px`});
      box.append(line);
    }
  }
}

function moveTo(cross) {
  view.cross = cross;
  crosshair();
  if (!element("readout-box")?.open || view.waiting) return;
  view.waiting = setTimeout(() => {
    view.waiting = 0;
    dash.set_props("pointer", {data: {point: view.cross, key: view.slice.key}});
  }, Math.max(0, view.asked + REST_MS - performance.now()));
  view.asked = performance.now();
}

function under(event) {
  const box = element("slices")?.getBoundingClientRect(), plot = graph()?._fullLayout;
  if (!box || !plot || !view.slice?.spec) return null;
  const axes = shown(view.state, view.slice.models).map((k) => [plot[`xaxis${k ? k + 1 : ""}`], plot[`yaxis${k ? k + 1 : ""}`]]);
  return point(axes, event.clientX - box.left, event.clientY - box.top, view.slice.low, view.slice.high);
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

// New pixels under the same lines. Plotly's relayout would draw all of the figure again, which takes 300 ms.
function recolour(plot, models, sources) {
  const pictures = plot.querySelectorAll(".imagelayer image");
  models.forEach((model, place) => pictures[place].setAttribute("href", sources[model]));
  for (const layout of [plot.layout, plot._fullLayout]) sources.forEach((source, k) => (layout.images[k].source = source));
}

// A layer, or models on and off: all of it is in the browser, so plotly only changes what differs. Not a callback of Dash, which
// would wait for the server: its answer sets the same controls.
function switchTo(layer) {
  const names = [...document.querySelectorAll("#shown input:checked")].map((box) => box.value);
  const {slice, state} = view, plot = graph();
  if (!slice?.spec || !plot || !state || !names?.length) return;
  const hide = slice.models.map((_, k) => k).filter((k) => !names.includes(String(k))).join(",");
  if (layer === state.layer && hide === String(state.hide)) return;
  view.state = {...state, layer, hide};
  const models = shown(view.state, slice.models), {columns, width, large} = room(models.length);
  const {layout, visible} = arrange(slice, view.attack, {layer, shown: models, columns, width, large}, plot.data, plot.layout);
  if (hide === String(state.hide)) {
    const sources = slice.layers[layer];
    if (!sources) return; // not in the browser yet: the server sends it
    const arrows = plot.data.map((trace, k) => [trace, k]).filter(([trace]) => trace.name === "gradient arrows");
    if (arrows.length && (layer === "arrows") !== (state.layer === "arrows")) {
      window.Plotly.restyle(plot, {visible: layer === "arrows"}, arrows.map(([, k]) => k));
    }
    recolour(plot, models, sources);
  } else {
    element("slices").style.height = `${layout.height}px`;
    window.Plotly.update(plot, {visible}, layout);
  }
  const fits = view.attack?.key === slice.key ? view.attack : null;
  view.drawn = signature([slice.key, slice.level, fits?.id, layer, models, columns, width, large, theme(state)]);
  requestAnimationFrame(crosshair);
}

function listen() {
  if (view.listening || !element("slice-box")) return;
  view.listening = true;
  const box = element("slice-box");
  box.addEventListener("pointermove", (event) => { const at = under(event); if (at) moveTo(at); });
  box.addEventListener("click", (event) => { const at = under(event); if (at) { moveTo(at); start(at); } });
  document.addEventListener("keydown", key);
  document.addEventListener("click", press);
  document.addEventListener("change", ({target}) => {
    if (target.id === "layer" || target.closest("#shown")) switchTo(element("layer").value);
  });
  for (const kind of ["change", "drop"]) element("upload-label").addEventListener(kind, tooLarge, true);
  listenToHeader(redraw);
  new ResizeObserver(() => redraw()).observe(box);
}

// The other sections follow once the slice is on the screen, and a slider has come to rest.
function settle() {
  clearTimeout(view.settling);
  view.settling = setTimeout(() => dash.set_props("settled", {data: view.state}), SETTLED_MS);
}

function redraw() {
  const made = figure();
  if (made !== dash.no_update) dash.set_props("slices", {figure: made});
}

function painted() {
  document.getElementById("still")?.remove();
  document.querySelector("#upload input")?.setAttribute("aria-label", "own picture"); // dcc.Upload has no property for it
  crosshair();
  const {slice} = view;
  if (!slice?.spec) return;
  document.dispatchEvent(new CustomEvent("explorer:painted", {detail: {key: slice.key, level: slice.level}}));
  if (slice.level + 1 < slice.levels && view.next !== `${slice.key} ${slice.level}`) {
    view.next = `${slice.key} ${slice.level}`;
    setTimeout(() => dash.set_props("next", {data: {key: slice.key, level: slice.level + 1}}), 0);
  }
}

dash.explorer = {
  // The slices' figure, of what the server found last. The next finer grid is asked for when this one is on the screen.
  draw(slice, attack, state, looks) {
    Object.assign(view, {slice: slice?.spec ? slice : view.slice, attack, state, looks});
    listen();
    document.documentElement.classList.toggle("present", Number(state?.present) === 1);
    if (state && state !== view.told && (state.error || slice?.spec)) {
      view.told = state;
      settle();
    }
    if (!slice?.spec) return dash.no_update;
    const made = figure();
    if (made === dash.no_update) painted();
    else requestAnimationFrame(() => setTimeout(painted, 0));
    return made;
  },

  fill(...texts) {
    fill(texts);
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
