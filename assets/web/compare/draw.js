// What answers look like on the page.
"use strict";

(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const CONFIG = {displayModeBar: false, showSendToCloud: false, plotlyServerURL: "", responsive: true};

  const element = (tag, attributes, text) => {
    const made = tag === "svg" || tag === "polygon" || tag === "polyline" || tag === "path" || tag === "text" || tag === "circle"
      ? document.createElementNS(SVG, tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) made.setAttribute(name, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };

  // The attack and the outlines over a slice: white under black, to be seen on every colour.
  function marks({low, high, box, ball, start}, model) {
    const at = ([a, b]) => [(100 * (a - low)) / (high - low), (100 * (high - b)) / (high - low)];
    const points = (corners) => corners.map((corner) => at(corner).map((v) => v.toFixed(2)).join(",")).join(" ");
    const svg = element("svg", {viewBox: "0 0 100 100", "aria-hidden": "true"});
    const lined = (tag, corners, dash) => {
      if (corners.length < 2) return;
      svg.append(element(tag, {points: points(corners), class: "under"}), element(tag, {points: points(corners), class: "over", "stroke-dasharray": dash}));
    };
    lined("polygon", box, "2 2");
    lined("polygon", ball, "");
    lined("polyline", model.trail, "");
    const [x, y] = at(start), [u, v] = at(model.trail.at(-1) || start);
    svg.append(element("circle", {cx: x, cy: y, r: 1.6, class: "start"}));
    const end = model.fooled ? `M${u - 2.4} ${v - 2.4}L${u + 2.4} ${v + 2.4}M${u - 2.4} ${v + 2.4}L${u + 2.4} ${v - 2.4}` : `M${u - 2} ${v}a2 2 0 1 0 4 0a2 2 0 1 0 -4 0`;
    svg.append(element("path", {d: end, class: "under"}), element("path", {d: end, class: "over"}));
    for (const [label, across, up] of model.picture.labels) {
      svg.append(element("text", {x: 100 * across, y: 100 * (1 - up) + 3, class: "class"}, String(label)));
    }
    return svg;
  }

  function side(letter, told) {
    const room = document.getElementById(`side-${letter}`), before = room.querySelectorAll("figure");
    if (before.length !== told.models.length) room.replaceChildren(element("h3", {}), ...told.models.map(() => element("figure", {})));
    room.querySelector("h3").textContent = `${letter.toUpperCase()}  ${told.run}`;
    told.models.forEach((model, place) => {
      const figure = room.querySelectorAll("figure")[place], frame = element("div", {class: "frame"});
      const seen = Object.entries(model.picture.counts).sort((a, b) => b[1] - a[1]).map(([c]) => c).join(", ");
      const words = `${told.run}, ${model.name}: classes ${seen} by area; ${told.attack} ${model.fooled ? "fools it" : "does not fool it"}`;
      const caption = element("figcaption", {});
      caption.append(element("b", {}, model.name), `: ${model.headline}`);
      frame.append(element("img", {src: model.picture.uri, alt: words}), marks(told, model));
      figure.replaceChildren(caption, frame);
    });
  }

  const chart = (id, figure) => {
    const place = document.getElementById(id);
    place.hidden = !figure; // the sentence below it says why
    if (!figure) return Plotly.purge(place);
    if (figure.layout.height) place.style.height = `${figure.layout.height}px`;
    return Plotly.react(place, figure.data, {...figure.layout, autosize: true}, CONFIG);
  };
  const fill = (id, html) => (document.getElementById(id).innerHTML = html);
  const write = (id, text) => (document.getElementById(id).textContent = text);

  compare.draw = {
    slices(told) {
      side("a", told.a);
      side("b", told.b);
      const units = told.kind === "domain" ? "the inputs themselves" : "L2 distance from the image (each pixel in [0, 1])";
      write("plane-words", `→ ${told.names[0]}   ↑ ${told.names[1]}; both rows the same plane and scale, ${told.a.low} to ${told.a.high}: ${units}. `
        + `Class ${told.a.y}. Solid: the ball of the attack, dotted: [0, 1]; line: ${told.a.attack} on this panel's model, projected on the plane; `
        + "✕ fools this panel's model, ○ does not."
        + (told.kind === "domain" ? "" : " A plane shows two directions of many: trust the rates."));
    },

    live(told) {
      for (const letter of ["a", "b"]) {
        write(`transfer-${letter}-title`, `Transfer in ${letter.toUpperCase()}: ${told.fixed[letter]}`);
        fill(`matrix-${letter}`, told[letter].matrix);
        fill(`words-${letter}`, told[letter].words);
      }
      chart("live-chart", told.curve);
      write("live-words", told.curveWords);
    },

    stored(told) {
      chart("curves-chart", told.curves);
      chart("cosine-chart", told.cosine);
      chart("robust-chart", told.robust);
      write("curves-words", told.curvesWords);
      write("cosine-words", told.cosineWords);
      write("robust-words", told.robustWords);
      fill("cosine-table", told.cosineTable);
      fill("table1", told.table);
    },
  };
})();
