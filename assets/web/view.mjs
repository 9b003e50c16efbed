// What is on the Explore page now: the newest slice, attacks and state, and plotly's graph of them.
import {element, look} from "./shared.mjs";

export const graph = () => element("slices")?.querySelector(".js-plotly-plot");
export const view = {state: null, slice: null, attack: null, looks: null, cross: null, drawn: null, asked: 0, shown: {}};
window.explorerView = view; // for tests and the benchmark

export const theme = (state) => look(state?.theme);

// For tests and the benchmark: what is on the screen now.
export const tell = (what) => document.dispatchEvent(new CustomEvent(`explorer:${what}`, {detail: {key: view.slice.key, level: view.slice.level}}));

export const shown = (state, models) => {
  const hidden = new Set(String(state.hide).replace("none", "").split(",").filter(Boolean).map(Number));
  const left = models.map((_, k) => k).filter((k) => !hidden.has(k));
  return left.length ? left : models.map((_, k) => k);
};

export const axes = (plot, model) => ["x", "y"].map((name) => plot._fullLayout[`${name}axis${model ? model + 1 : ""}`]);
