// Slices: fetches logits level by level, and paints them behind the figure. Layers and colours need no request.
"use strict";

(() => {
  const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  const BLUE = rgb("#0b5fa5"), ORANGE = rgb("#c4500c"), WHITE = [255, 255, 255], PURPLE = rgb("#7b3294"), DARK = [20, 20, 20];
  const mix = (from, to, t) => [0, 1, 2].map((i) => from[i] + (to[i] - from[i]) * t);
  const KEPT = 8;
  const known = new Map(); // key -> grid: slices that were on the screen before come back at once

  trs.scene = null;
  trs.grid = null; // {level, n, logits, models: [{cls, conf, margin}], differ}

  function unpack(text) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    return new Float32Array(bytes.buffer);
  }

  trs.showScene = (scene) => {
    const same = trs.scene && trs.scene.key === scene.key;
    classes = trs.meta.colours.map(rgb);
    scene.origin = unpack(scene.origin);
    scene.u = unpack(scene.u);
    scene.v = unpack(scene.v);
    trs.scene = scene;
    if (scene.fixed) {
      trs.fixed = scene.fixed;
      for (const name of scene.corrected) trs.wish[name] = scene.fixed[name];
      trs.push();
    }
    if (!same) {
      trs.grid = known.get(scene.key) || null;
      trs.cross = null;
      load(scene);
    } else if (trs.grid) {
      derive(trs.grid, scene);
    }
    trs.place();
  };

  async function load(scene) {
    const status = document.getElementById("slice-status");
    for (let level = trs.grid ? trs.grid.level + 1 : 0; level < scene.levels.length; level++) {
      status.textContent = `computing ${scene.levels[level]} x ${scene.levels[level]} ...`;
      let answer;
      try {
        answer = await fetch(`slice/${scene.key}/${level}`, {headers: {"X-Client": trs.client}});
      } catch (error) {
        status.textContent = "the explorer does not answer: is it still running?";
        return;
      }
      if (trs.scene.key !== scene.key) return;
      if (answer.status === 404) return trs.again("scene");
      if (!answer.ok) {
        if (answer.status !== 409) status.textContent = `no samples: ${await answer.text()}`;
        return;
      }
      const samples = new Float32Array(await answer.arrayBuffer());
      if (trs.scene.key !== scene.key) return;
      trs.grid = absorb(trs.grid, level, samples, scene);
      derive(trs.grid, scene);
      trs.paint();
      status.textContent = `${trs.grid.n} x ${trs.grid.n} points`;
      document.dispatchEvent(new CustomEvent("trs:painted", {detail: {level}}));
    }
    known.delete(scene.key);
    known.set(scene.key, trs.grid);
    if (known.size > KEPT) known.delete(known.keys().next().value);
    const n = scene.levels[scene.levels.length - 1];
    status.textContent = `${n} x ${n} points`;
    trs.paint();
  }

  // A finer grid: every other point is there already, the others come row by row.
  function absorb(coarse, level, samples, scene) {
    const n = scene.levels[level], size = (scene.models.length - 1) * scene.classes;
    const logits = new Float32Array(n * n * size);
    let next = 0;
    for (let row = 0; row < n; row++) {
      for (let column = 0; column < n; column++) {
        const to = (row * n + column) * size;
        if (coarse && row % 2 === 0 && column % 2 === 0) {
          const from = ((row / 2) * coarse.n + column / 2) * size;
          logits.set(coarse.logits.subarray(from, from + size), to);
        } else {
          logits.set(samples.subarray(next, next + size), to);
          next += size;
        }
      }
    }
    return {level, n, logits, models: [], differ: null, y: null};
  }

  // Class, confidence and margin of every model at every point, once a level.
  function derive(grid, scene) {
    if (grid.y === scene.y && grid.models.length) return;
    const count = grid.n * grid.n, members = scene.models.length - 1, classes = scene.classes, y = scene.y;
    const make = () => ({cls: new Uint8Array(count), conf: new Float32Array(count), margin: new Float32Array(count)});
    const models = Array.from({length: members + 1}, make), differ = new Uint8Array(count);
    const mean = new Float64Array(classes), p = new Float64Array(classes);
    for (let i = 0; i < count; i++) {
      mean.fill(0);
      const seen = new Set();
      for (let m = 0; m < members; m++) {
        const at = (i * members + m) * classes;
        let best = 0;
        for (let c = 1; c < classes; c++) if (grid.logits[at + c] > grid.logits[at + best]) best = c;
        let total = 0, other = -Infinity;
        for (let c = 0; c < classes; c++) {
          p[c] = Math.exp(grid.logits[at + c] - grid.logits[at + best]);
          total += p[c];
          if (c !== y && grid.logits[at + c] > other) other = grid.logits[at + c];
        }
        for (let c = 0; c < classes; c++) mean[c] += p[c] / total / members;
        models[m].cls[i] = best;
        models[m].conf[i] = 1 / total;
        models[m].margin[i] = grid.logits[at + y] - other;
        seen.add(best);
      }
      let best = 0, other = 0;
      for (let c = 0; c < classes; c++) {
        if (mean[c] > mean[best]) best = c;
        if (c !== y && mean[c] > other) other = mean[c];
      }
      models[members].cls[i] = best;
      models[members].conf[i] = mean[best];
      models[members].margin[i] = Math.log(Math.max(mean[y], 1e-30)) - Math.log(Math.max(other, 1e-30));
      differ[i] = seen.size;
    }
    Object.assign(grid, {models, differ, y});
  }

  function colour(layer, model, grid, i, scene) {
    if (layer === "margin") {
      const t = Math.min(1, Math.abs(model.margin[i]) / 6);
      return mix(WHITE, model.margin[i] >= 0 ? BLUE : ORANGE, 0.12 + 0.8 * t);
    }
    if (layer === "confidence") {
      const low = 1 / scene.classes;
      return mix(WHITE, BLUE, (model.conf[i] - low) / (1 - low));
    }
    if (layer === "disagreement") return mix(WHITE, PURPLE, (grid.differ[i] - 1) / Math.max(1, scene.models.length - 2));
    const doubt = 1 - (model.conf[i] - 1 / scene.classes) / (1 - 1 / scene.classes);
    return mix(classes[model.cls[i] % classes.length], WHITE, 0.6 * doubt);
  }

  let classes = []; // a colour a class, as numbers
  const scratch = document.createElement("canvas");

  function paintPanel(canvas, number) {
    const {grid, scene} = trs, layer = trs.get("layer"), n = grid.n, model = grid.models[number];
    scratch.width = scratch.height = n;
    const inner = scratch.getContext("2d"), pixels = inner.createImageData(n, n);
    const edge = layer === "disagreement" ? null : layer === "margin" ? (i) => model.margin[i] >= 0 : (i) => model.cls[i];
    for (let row = 0; row < n; row++) {
      for (let column = 0; column < n; column++) {
        const i = row * n + column, to = ((n - 1 - row) * n + column) * 4;
        const crosses = edge && ((column + 1 < n && edge(i) !== edge(i + 1)) || (row + 1 < n && edge(i) !== edge(i + n)));
        const [r, g, b] = crosses ? DARK : colour(layer, model, grid, i, scene);
        pixels.data[to] = r;
        pixels.data[to + 1] = g;
        pixels.data[to + 2] = b;
        pixels.data[to + 3] = 255;
      }
    }
    inner.putImageData(pixels, 0, 0);
    const size = canvas.width, context = canvas.getContext("2d");
    // Samples lie on the edges of the square: half a cell of the first and last ones is outside.
    const margin = size / (n - 1) / 2;
    context.imageSmoothingEnabled = false;
    context.clearRect(0, 0, size, size);
    context.drawImage(scratch, -margin, -margin, size + 2 * margin, size + 2 * margin);
    hatch(context, size, scene);
    if (layer === "arrows") arrows(context, size, model, grid, scene);
    if (layer === "class" || layer === "arrows") labels(context, size, model, grid);
  }

  const toPixel = (value, size, scene) => ((value - scene.low) / (scene.high - scene.low)) * size;

  // What is no image (outside [0, 1] in some pixel) is hatched.
  function hatch(context, size, scene) {
    context.save();
    context.beginPath();
    context.rect(0, 0, size, size);
    scene.box.forEach(([a, b], i) => context[i ? "lineTo" : "moveTo"](toPixel(a, size, scene), size - toPixel(b, size, scene)));
    context.closePath();
    context.clip("evenodd");
    context.strokeStyle = "rgba(0,0,0,.22)";
    context.lineWidth = Math.max(1, size / 400);
    context.beginPath();
    for (let x = -size; x < size; x += size / 24) {
      context.moveTo(x, size);
      context.lineTo(x + size, 0);
    }
    context.stroke();
    context.restore();
  }

  // The class in the middle of its largest patch, roughly: the point whose neighbourhood has most of its own class.
  function labels(context, size, model, grid) {
    const n = grid.n, stride = Math.max(1, (n - 1) / 24), reach = 3, best = new Map();
    for (let r = 0; r <= 24; r++) {
      for (let c = 0; c <= 24; c++) {
        const own = model.cls[r * stride * n + c * stride];
        let score = 0;
        for (let dr = -reach; dr <= reach; dr++) {
          for (let dc = -reach; dc <= reach; dc++) {
            const rr = r + dr, cc = c + dc;
            if (rr >= 0 && rr <= 24 && cc >= 0 && cc <= 24 && model.cls[rr * stride * n + cc * stride] === own) score++;
          }
        }
        if (score > (best.get(own) || {score: 8}).score) best.set(own, {score, r, c});
      }
    }
    context.font = `bold ${Math.round(size / 14)}px sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineJoin = "round";
    for (const [own, {r, c}] of best) {
      const x = Math.min(size * 0.95, Math.max(size * 0.05, (c / 24) * size)), y = Math.min(size * 0.94, Math.max(size * 0.06, size - (r / 24) * size));
      context.lineWidth = size / 60;
      context.strokeStyle = "rgba(255,255,255,.85)";
      context.strokeText(String(own), x, y);
      context.fillStyle = "black";
      context.fillText(String(own), x, y);
    }
  }

  // The slope, within the plane, of the loss of the true class: where an attack would go.
  function arrows(context, size, model, grid, scene) {
    const n = grid.n, count = 13, found = [];
    const at = (row, column) => model.margin[Math.max(0, Math.min(n - 1, row)) * n + Math.max(0, Math.min(n - 1, column))];
    const step = Math.max(1, Math.round((n - 1) / 48));
    let longest = 0;
    for (let r = 1; r < count; r++) {
      for (let c = 1; c < count; c++) {
        const row = Math.round((r / count) * (n - 1)), column = Math.round((c / count) * (n - 1));
        const da = at(row, column - step) - at(row, column + step), db = at(row - step, column) - at(row + step, column);
        const length = Math.hypot(da, db);
        longest = Math.max(longest, length);
        found.push([column / (n - 1), row / (n - 1), da, db, length]);
      }
    }
    context.strokeStyle = "black";
    context.fillStyle = "black";
    context.lineWidth = Math.max(1, size / 260);
    for (const [x, y, da, db, length] of found) {
      if (length < longest * 1e-3) continue;
      const reach = (size / count) * 0.8 * Math.sqrt(length / longest), ux = da / length, uy = -db / length;
      const fromX = x * size - (ux * reach) / 2, fromY = (1 - y) * size - (uy * reach) / 2, toX = fromX + ux * reach, toY = fromY + uy * reach;
      context.beginPath();
      context.moveTo(fromX, fromY);
      context.lineTo(toX, toY);
      context.stroke();
      const head = Math.min(reach * 0.4, size / 60);
      context.beginPath();
      context.moveTo(toX, toY);
      context.lineTo(toX - ux * head - uy * head * 0.6, toY - uy * head + ux * head * 0.6);
      context.lineTo(toX - ux * head + uy * head * 0.6, toY - uy * head - ux * head * 0.6);
      context.fill();
    }
  }

  trs.graph = () => document.querySelector("#slices .js-plotly-plot");
  trs.axes = (place) => {
    const layout = trs.graph() && trs.graph()._fullLayout, id = place ? String(place + 1) : "";
    return layout && layout[`xaxis${id}`] ? {x: layout[`xaxis${id}`], y: layout[`yaxis${id}`]} : null;
  };

  // Canvases lie exactly under the panels, wherever plotly has put them.
  trs.place = () => {
    const graph = trs.graph(), holder = document.getElementById("canvases");
    if (!graph || !graph._fullLayout || !trs.scene) return;
    if (!graph.trsListens) {
      graph.trsListens = true;
      graph.on("plotly_afterplot", trs.place);
    }
    const shown = trs.scene.shown;
    if (fit(shown.length)) return; // plotly draws anew, and comes back here
    while (holder.children.length > shown.length) holder.lastChild.remove();
    while (holder.children.length < shown.length) holder.append(document.createElement("canvas"));
    shown.forEach((_, place) => {
      const axes = trs.axes(place), canvas = holder.children[place];
      if (!axes) return;
      const size = Math.round(axes.x._length);
      Object.assign(canvas.style, {left: `${axes.x._offset}px`, top: `${axes.y._offset}px`, width: `${axes.x._length}px`, height: `${axes.y._length}px`});
      const sharp = Math.max(2 * size, 320);
      if (canvas.width !== sharp) canvas.width = canvas.height = sharp;
    });
    trs.paint();
    trs.listeners.forEach((listener) => listener());
  };

  // The box is as high as its panels are wide.
  function fit(count) {
    const box = document.getElementById("slice-box"), columns = Math.min(4, count), rows = Math.ceil(count / columns);
    const side = Math.min((box.clientWidth - 40) / columns, 0.8 * innerHeight);
    const height = Math.round(side * rows * (rows > 1 ? 1.12 : 1) + 76);
    if (Math.abs(box.clientHeight - height) < 3) return false;
    box.style.height = `${height}px`;
    Plotly.Plots.resize(trs.graph());
    return true;
  }

  trs.paint = () => {
    const holder = document.getElementById("canvases");
    if (!trs.scene || !holder) return;
    [...holder.children].forEach((canvas, place) => {
      if (!trs.grid || !trs.grid.models.length) canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
      else if (trs.scene.shown[place] !== undefined) paintPanel(canvas, trs.scene.shown[place]);
    });
    legend();
    shares();
  };

  function chip(colours, text) {
    const item = document.createElement("span"), patch = document.createElement("i");
    patch.style.background = colours.length > 1 ? `linear-gradient(90deg, ${colours.join(",")})` : colours[0];
    item.append(patch, text);
    return item;
  }

  function legend() {
    const box = document.getElementById("legend"), layer = trs.get("layer"), css = (c) => `rgb(${c.map(Math.round).join(",")})`;
    const own = {
      margin: [chip([css(ORANGE), "white", css(BLUE)], ` margin of class ${trs.scene.y}: below 0, another class wins`)],
      confidence: [chip(["white", css(BLUE)], " probability of the model's own answer")],
      disagreement: Array.from({length: trs.scene.models.length - 1}, (_, i) =>
        chip([css(mix(WHITE, PURPLE, i / Math.max(1, trs.scene.models.length - 2)))], ` ${i + 1} ${i ? "different answers" : "answer"}`)),
    }[layer] || [chip(trs.meta.colours.slice(0, Math.min(3, trs.scene.classes)), " a colour a class, paler where unsure; dark lines: boundaries")];
    box.replaceChildren(...own, chip(["repeating-linear-gradient(135deg, #777 0 1px, #eee 1px 5px)"], " hatched: no image, a pixel leaves [0, 1]"));
  }

  function shares() {
    const holder = document.getElementById("share-table");
    if (!trs.grid || !trs.grid.models.length || !document.getElementById("shares").open) return;
    const {models} = trs.grid, count = trs.grid.n ** 2, rows = [];
    const present = [...Array(trs.scene.classes).keys()].filter((c) => models.some(({cls}) => cls.includes(c)));
    models.forEach(({cls}, k) => {
      const counts = new Uint32Array(trs.scene.classes);
      cls.forEach((c) => counts[c]++);
      rows.push([trs.scene.models[k], ...present.map((c) => `${((100 * counts[c]) / count).toFixed(1)} %`)]);
    });
    holder.replaceChildren(trs.table(["model", ...present.map((c) => `class ${c}`)], rows));
  }

  trs.table = (head, rows) => {
    const table = document.createElement("table"), add = (parent, tag, text, scope) => {
      const cell = parent.appendChild(document.createElement(tag));
      cell.textContent = text;
      if (scope) cell.scope = scope;
    };
    const top = table.createTHead().insertRow(), body = table.createTBody();
    head.forEach((text) => add(top, "th", text, "col"));
    rows.forEach((cells) => {
      const row = body.insertRow();
      cells.forEach((text, i) => add(row, i ? "td" : "th", text, i ? "" : "row"));
    });
    return table;
  };

  let layer = null;
  trs.listeners.push(() => {
    if (layer === trs.get("layer")) return;
    layer = trs.get("layer");
    trs.paint();
  });
  document.addEventListener("toggle", (event) => event.target.id === "shares" && trs.scene && shares(), true);
})();
