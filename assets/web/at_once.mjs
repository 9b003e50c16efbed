// What stands in for plotly until it has drawn: it takes 100 ms for all of a figure, and draws all of it whatever has changed.
// All of it touches plotly's own picture; what plotly draws afterwards is the same.

const XLINK = "http://www.w3.org/1999/xlink"; // as plotly does: a plain href would win over what it sets later

// New pixels under the same lines. shown: the models with a panel, in order; sources: every model's picture.
export function recolour(plot, shown, sources) {
  const pictures = plot.querySelectorAll(".imagelayer image");
  shown.forEach((model, place) => {
    pictures[place].setAttributeNS(XLINK, "href", sources[model]);
    pictures[place]._imgSrc = sources[model]; // plotly leaves a picture alone that has its source already
  });
  for (const layout of [plot.layout, plot._fullLayout]) sources.forEach((source, model) => (layout.images[model].source = source));
}

// Other places of lines and marks that are there already. Returns false, and does nothing, if anything else is different.
export function move(plot, data) {
  const before = plot._fullData, looks = ({name, mode, visible, marker}) => JSON.stringify([name, mode, visible ?? true, marker?.symbol, marker?.size]);
  if (data.length !== plot.data.length || data.some((trace, k) => looks(trace) !== looks(plot.data[k]))) return false;
  const changes = [];
  for (const [k, {x, y, mode, xaxis, yaxis, visible}] of data.entries()) {
    if (visible === false || (same(x, before[k].x) && same(y, before[k].y))) continue;
    const length = x.at(-1) === null ? x.length - 1 : x.length; // a line ends with a gap
    const at = x.slice(0, length).map((value, i) => [axis(plot, xaxis ?? "x").c2p(value), axis(plot, yaxis ?? "y").c2p(y[i])]);
    const group = plot.querySelector(`.trace${before[k].uid}`), line = group?.querySelector("path.js-line");
    const points = [...(group?.querySelectorAll("path.point") ?? [])];
    if (mode === "lines" ? !line || x.indexOf(null) >= 0 && x.indexOf(null) < length : points.length !== length) return false;
    changes.push(() => {
      if (mode === "lines") line.setAttribute("d", `M${at.map((place) => place.join()).join("L")}`);
      else points.forEach((point, i) => point.setAttribute("transform", `translate(${at[i]})`));
    });
  }
  changes.forEach((change) => change());
  return true;
}

const axis = (plot, name) => plot._fullLayout[`${name[0]}axis${name.slice(1)}`];
const same = (one, other) => one.length === other.length && one.every((value, k) => value === other[k]);

// A panel that is not wanted any more: covered until plotly has taken it out. axes: plotly's, of that panel.
export function cover(plot, box, [x, y], margin) {
  const patch = document.createElement("i");
  const [left, top, width, height] = [x._offset - margin, y._offset - margin, x._length + 2 * margin, y._length + 2 * margin];
  Object.assign(patch.style, {left: `${left}px`, top: `${top}px`, width: `${width}px`, height: `${height}px`});
  patch.className = "cover";
  box.append(patch);
  plot.once("plotly_afterplot", () => patch.remove());
}

// Plotly's picture as it is now, to be laid over plotly when all of it comes back.
export function snapshot(plot) {
  const picture = plot.querySelector(".svg-container").cloneNode(true);
  const whole = {position: "absolute", inset: "0 auto auto 0"};
  for (const part of picture.querySelectorAll(".main-svg")) Object.assign(part.style, whole);
  for (const part of picture.querySelectorAll("[id]")) part.id += "-earlier"; // or it would be clipped as plotly is by then
  for (const part of picture.querySelectorAll("[clip-path]")) {
    part.setAttribute("clip-path", part.getAttribute("clip-path").replace(/(['"]?\))$/, "-earlier$1"));
  }
  Object.assign(picture.style, whole, {width: `${plot.clientWidth}px`, height: `${plot.clientHeight}px`});
  picture.classList.add("cover");
  return picture;
}

export function lay(picture, plot, box) {
  box.append(picture);
  plot.once("plotly_afterplot", () => picture.remove());
}
