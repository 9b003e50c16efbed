// Pure functions: which panel goes where, and the figure of it. The parts come from trs_explorer/figures/slice_figure.py.
const LOWEST = 200; // pixels of a figure, in however low a window
const GAP = {across: 0.015, up: 0.09};
const LETTER = 0.56, SMALLEST = 9; // of a title: width of a letter over its height, and its smallest size in pixels
const KEY = {entry: 45}; // pixels of an entry of the key without its text
export const TITLE = 26; // pixels above a panel

// How many panels stand side by side so that they are as large as they can be.
export function columnsFor(count, width, height) {
  let best = count, largest = 0;
  for (let rows = 1; rows <= count; rows++) {
    const columns = Math.ceil(count / rows), side = Math.min(width / columns, Math.max(height, 150) / rows);
    if (side > largest * 1.15) [best, largest] = [columns, side]; // fewer rows are easier to compare
  }
  return best;
}

export function part(place, places, gap) {
  const width = (1 - gap * (places - 1)) / places;
  return [place * (width + gap), Math.min(1, place * (width + gap) + width)];
}

const suffix = (model) => (model ? String(model + 1) : "");

// What models and room change in the layout, and which traces are visible.
export function arrange(slice, {shown, columns, width, large}, data) {
  const rows = Math.ceil(shown.length / columns), layout = {}, models = slice.models.length;
  for (let model = 0; model < models; model++) {
    const at = shown.indexOf(model), place = Math.max(0, at), row = Math.floor(place / columns), column = place % columns;
    const x = `xaxis${suffix(model)}`, y = `yaxis${suffix(model)}`;
    layout[`${x}.domain`] = part(column, columns, GAP.across);
    layout[`${y}.domain`] = part(rows - 1 - row, rows, GAP.up);
    layout[`${x}.visible`] = layout[`${y}.visible`] = at >= 0;
    layout[`${x}.showticklabels`] = place + columns >= shown.length;
    layout[`${y}.showticklabels`] = column === 0;
    layout[`images[${model}].visible`] = layout[`annotations[${model + 1}].visible`] = at >= 0;
  }
  slice.spec.layout.images.slice(models).forEach((image, k) => { // thumbnails of images that span the plane
    layout[`images[${models + k}].visible`] = shown.includes(Number(image.xref.slice(1) || 1) - 1);
  });
  const {l, r, t, b} = slice.spec.layout.margin;
  const side = ((width - l - r) * (1 - GAP.across * (columns - 1))) / columns;
  const wanted = (side * rows) / (1 - GAP.up * (rows - 1)) + t + b, most = innerHeight * (large ? 0.72 : 0.8);
  layout.height = Math.round(Math.max(LOWEST, Math.min(wanted, most)));
  const visible = data.map((trace) => {
    if (trace.showlegend) return true;
    const model = Number((trace.xaxis ?? "x").slice(1) || 1) - 1;
    return shown.includes(model);
  });
  return {layout, visible};
}

// The whole figure: the slice, the attacks on it if they are known, in the look and arrangement that is wanted.
export function compose(slice, attack, want) {
  const {spec} = slice;
  const data = spec.data.filter(({name}) => name !== "gradient arrows" || want.layer === "arrows").map((trace) => ({...trace}));
  for (const [model, traces] of (attack?.traces ?? []).entries()) {
    const axes = {xaxis: `x${suffix(model)}`, yaxis: `y${suffix(model)}`, type: "scatter", showlegend: false};
    data.push(...traces.map((trace) => ({...trace, ...axes})));
  }
  const layout = structuredClone(spec.layout);
  layout.template = want.template;
  layout.font = {size: want.large ? 18 : 13};
  slice.models.forEach((name, model) => {
    const title = layout.annotations[model + 1], effect = attack ? `: ${attack.headlines[model]}` : "";
    title.text = `<b>${name}</b>${escaped(effect)}`;
    title.hovertext = attack?.whole?.[model] ? escaped(`${name}: ${attack.whole[model]}`) : undefined;
    const sources = slice.layers[want.layer];
    if (sources) layout.images[model].source = sources[model];
  });
  const {layout: changes, visible} = arrange(slice, want, data);
  data.forEach((trace, k) => (trace.visible = visible[k]));
  for (const [path, value] of Object.entries(changes)) {
    const [, name, index, rest] = path.match(/^(\w+?)(?:\[(\d+)\])?(?:\.(\w+))?$/);
    if (rest === undefined) layout[name] = value;
    else (index === undefined ? layout[name] : layout[name][index])[rest] = value;
  }
  const axes = layout.annotations[0], narrow = want.width < 620, size = narrow ? 11 : layout.font.size;
  const lines = axes.text.split("<br>").length;
  axes.text = wrapped(axes.text.replace("   ↑", narrow ? "<br>↑" : "   ↑"), (want.width - 40) / (0.56 * size));
  const more = axes.text.split("<br>").length * Math.max(20, 1.4 * size) - 20 * lines; // pixels
  layout.margin.b += more;
  layout.height += more;
  const across = Math.min(want.columns, want.shown.length), panel = (want.width - layout.margin.l - layout.margin.r) / across;
  const side = Math.min(panel, ((layout.height - layout.margin.t - layout.margin.b) / Math.ceil(want.shown.length / across)) * (1 - GAP.up));
  for (const trace of data) { // names of classes; figures/slice_panel.py gives a letter of them this share of a panel
    if (trace.name === "class numbers" && trace.textposition) trace.textfont = {...trace.textfont, size: Math.max(7, Math.min(size, side / 16))};
  }
  const key = keyRoom(data.filter(({showlegend}) => showlegend).map(({name}) => name), want.width - layout.margin.l, size);
  layout.margin.b += key;
  layout.height += key;
  // The longest title still fits over its panel.
  const longest = Math.max(14, ...want.shown.map((model) => plainLength(layout.annotations[model + 1].text)));
  const title = Math.min(size, panel / 14, Math.max(SMALLEST, panel / (LETTER * longest)));
  const most = Math.floor(panel / (LETTER * title) + 0.01);
  layout.annotations.slice(1).forEach((note, model) => {
    if (plainLength(note.text) <= most || !attack) return;
    const name = slice.models[model], whole = `: ${attack.headlines[model]}`;
    note.text = `<b>${name}</b>${escaped(cut(whole, most - name.length))}`;
    note.hovertext ??= escaped(`${name}${whole}`);
  });
  layout.annotations.forEach((note, k) => (note.font = {size: k ? title : size}));
  layout.margin.t = want.large ? 34 : TITLE;
  layout.uirevision = "always";
  return {data, layout};
}

// As `theme.as_label`: plotly would show <b> as bold.
export const escaped = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/{/g, "&#123;");

const WIDE = /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|[\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]/u;
const width = (text) => [...text].reduce((sum, letter) => sum + (WIDE.test(letter) ? 2 : 1), 0);
const plainLength = (markup) => width(markup.replace(/<[^>]*>/g, "").replace(/&#?\w+;/g, "x"));

export function cut(text, most) {
  const letters = [...text];
  while (letters.length && width(letters.join("")) > most - 1) letters.pop();
  return width(text) <= most ? text : `${letters.join("").trimEnd()}…`;
}

// The pixels that a figure's key takes below its first row: `key_room` of figures/slices.py, at this size of letters.
export function keyRoom(names, free, size) {
  const widths = names.map((name) => KEY.entry + 0.54 * size * plainLength(name)), all = widths.reduce((sum, one) => sum + one, 0);
  if (all <= free - KEY.entry) return 0;
  return Math.ceil(1.55 * size) * (Math.ceil(widths.length / Math.max(1, Math.floor((free - KEY.entry) / Math.max(...widths)))) - 1);
}

// A text with more lines, so that none is longer than so many characters.
export function wrapped(text, characters) {
  const lines = text.split("<br>").map((line) => line.split(" ").reduce((done, word) => {
    const last = done.at(-1);
    return last !== undefined && last.length + word.length < characters ? [...done.slice(0, -1), `${last} ${word}`] : [...done, word];
  }, []));
  return lines.flat().join("<br>");
}

// The point of the plane under a place in the graph, in pixels; null beside the panels. axes: plotly's, one pair a panel.
export function point(axes, left, top, low, high) {
  for (const [x, y] of axes) {
    const across = (left - x._offset) / x._length, up = (top - y._offset) / y._length;
    if (across >= 0 && across <= 1 && up >= 0 && up <= 1) return [low + across * (high - low), high - up * (high - low)];
  }
  return null;
}
