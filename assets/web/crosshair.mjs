// One crosshair over all panels, and the question what the models predict there.
import {point} from "./panels.mjs";
import {dash, element} from "./shared.mjs";
import {axes, graph, shown, view} from "./view.mjs";

const ASK_MS = 60; // between two questions about the crosshair

export function crosshair() {
  const box = element("crosshair"), plot = graph()?._fullLayout;
  if (!box) return;
  box.replaceChildren();
  if (!view.cross || !plot || !view.slice?.spec) return;
  for (const k of shown(view.state, view.slice.models)) {
    const [x, y] = axes(graph(), k);
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

export function moveTo(cross) {
  view.cross = cross;
  crosshair();
  if (!cross) element("readout").replaceChildren();
  if (!cross || !element("readout-box")?.open || view.waiting) return;
  view.waiting = setTimeout(() => {
    view.waiting = 0;
    dash.set_props("pointer", {data: {point: view.cross, key: view.slice.key}});
  }, Math.max(0, view.asked + ASK_MS - performance.now()));
  view.asked = performance.now();
}

export function under(event) {
  const box = element("slices")?.getBoundingClientRect(), plot = graph()?._fullLayout;
  if (!box || !plot || !view.slice?.spec) return null;
  const panels = shown(view.state, view.slice.models).map((k) => axes(graph(), k));
  return point(panels, event.clientX - box.left, event.clientY - box.top, view.slice.low, view.slice.high);
}
