// Slices: logits by level, painted on a canvas a model. Layers, colours and members on or off need no request.
"use strict";

(() => {
  const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  const BLUE = rgb("#0b5fa5"), ORANGE = rgb("#c4500c"), WHITE = [255, 255, 255], PURPLE = rgb("#7b3294");
  const mix = (from, to, t) => [0, 1, 2].map((i) => from[i] + (to[i] - from[i]) * t);
  const packed = ([r, g, b]) => ((255 << 24) | (Math.round(b) << 16) | (Math.round(g) << 8) | Math.round(r)) >>> 0; // as canvases have it
  const INK = packed([20, 20, 20]), SHADES = 256, SURE = 6, KEPT = 8;
  const ramp = (from, to) => Uint32Array.from({length: SHADES}, (_, i) => packed(mix(from, to, i / (SHADES - 1))));
  const known = new Map(); // key -> grid: slices that were on the screen before come back at once

  trs.scene = null;
  trs.grid = null; // {level, n, logits, models: [{cls, conf, margin}], differ, y}

  function unpack(text) {
    return new Float32Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  }

  trs.showScene = (scene) => {
    const same = trs.scene && trs.scene.key === scene.key;
    for (const name of ["origin", "u", "v"]) scene[name] = unpack(scene[name]);
    trs.scene = scene;
    trs.fill("picked-words", scene.picked);
    document.getElementById("axes-words").textContent = `→ ${scene.names[0]}    ↑ ${scene.names[1]}`;
    buildPanels(scene);
    fitted();
    if (!same) {
      trs.cross = trs.walks = null;
      trs.grid = known.get(scene.key) || absorb(null, 0, unpack(scene.first), scene);
      derive(trs.grid, scene);
      trs.paint();
      painted();
      const mine = ++loads; // from here on: what an earlier load still brings is not for this grid
      trs.afterFrame(() => finer(scene, mine));
    } else if (trs.grid.y !== scene.y) {
      derive(trs.grid, scene);
      trs.paint();
    }
    trs.mark();
    trs.changed("walks");
    trs.askWalks();
    trs.push();
  };

  // Nothing that is known no longer stands under another run's name.
  trs.clear = () => {
    loads++;
    trs.scene = trs.grid = trs.walks = trs.cross = null;
    for (const id of ["panels", "readout", "legend", "share-table"]) document.getElementById(id).replaceChildren();
    for (const id of ["slice-words", "angle-words", "fooled-words", "angle-table", "picked-words"]) trs.fill(id, "");
    for (const id of ["axes-words", "slice-status"]) document.getElementById(id).textContent = "";
    document.getElementById("legend").dataset.of = "";
    document.getElementById("picture").hidden = true;
  };

  const painted = () => document.dispatchEvent(new CustomEvent("trs:painted", {detail: {level: trs.grid.level}}));

  let loads = 0; // an answer to an earlier load of the same slice must not be mixed in

  async function finer(scene, mine) {
    if (mine !== loads) return;
    const status = document.getElementById("slice-status"), last = scene.levels.length - 1;
    for (let level = trs.grid.level + 1; level <= last; level++) {
      status.textContent = `${trs.grid.n} x ${trs.grid.n} points, computing ${scene.levels[level]} x ${scene.levels[level]} ...`;
      let answer, samples;
      try {
        answer = await fetch(`slice/${scene.key}/${level}`, {headers: {"X-Client": trs.client}});
        samples = answer.ok && new Float32Array(await answer.arrayBuffer());
      } catch {
        status.textContent = "the explorer does not answer: is it still running?";
        return;
      }
      if (mine !== loads || answer.status === 204) return; // a newer one is on its way
      if (answer.status === 404) {
        known.set(scene.key, trs.grid); // the explorer was started anew: what comes goes on from this level
        trs.scene = {...scene, key: ""};
        return trs.again("scene");
      }
      if (!answer.ok) {
        status.textContent = "the finer grid could not be computed";
        return;
      }
      trs.grid = absorb(trs.grid, level, samples, scene);
      derive(trs.grid, scene);
      trs.paint();
      painted();
    }
    known.delete(scene.key);
    known.set(scene.key, trs.grid);
    if (known.size > KEPT) known.delete(known.keys().next().value);
    status.textContent = `${trs.grid.n} x ${trs.grid.n} points`;
  }

  // A finer grid: every other point is there already, the others come row by row.
  function absorb(coarse, level, samples, scene) {
    const n = scene.levels[level], size = (scene.models.length - 1) * scene.classes;
    const logits = new Float32Array(n * n * size);
    let next = 0;
    for (let row = 0; row < n; row++) {
      if (!coarse || row % 2) {
        logits.set(samples.subarray(next, next + n * size), row * n * size);
        next += n * size;
        continue;
      }
      for (let column = 0; column < n; column++) {
        const to = (row * n + column) * size;
        if (column % 2 === 0) {
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
    const count = grid.n * grid.n, members = scene.models.length - 1, classes = scene.classes, y = scene.y, logits = grid.logits;
    const make = () => ({cls: new Uint8Array(count), conf: new Float32Array(count), margin: new Float32Array(count)});
    const models = Array.from({length: members + 1}, make), differ = new Uint8Array(count);
    const mean = new Float64Array(classes), p = new Float64Array(classes), seen = new Uint32Array(classes);
    const {votes, sums} = scene; // the ensemble's softmax: the members' weighted mean, or that of their logits' weighted sum
    for (let i = 0; i < count; i++) {
      mean.fill(0);
      let answers = 0;
      for (let m = 0; m < members; m++) {
        const at = (i * members + m) * classes;
        let best = 0, total = 0, other = -Infinity;
        for (let c = 1; c < classes; c++) if (logits[at + c] > logits[at + best]) best = c;
        for (let c = 0; c < classes; c++) {
          p[c] = Math.exp(logits[at + c] - logits[at + best]);
          total += p[c];
          if (c !== y && logits[at + c] > other) other = logits[at + c];
        }
        for (let c = 0; c < classes; c++) mean[c] += votes[m] * (sums ? logits[at + c] : p[c] / total);
        models[m].cls[i] = best;
        models[m].conf[i] = 1 / total;
        models[m].margin[i] = logits[at + y] - other;
        if (seen[best] !== i + 1) {
          seen[best] = i + 1;
          answers++;
        }
      }
      if (sums) {
        const top = Math.max(...mean), total = mean.reduce((sum, v) => sum + Math.exp(v - top), 0);
        for (let c = 0; c < classes; c++) mean[c] = Math.exp(mean[c] - top) / total;
      }
      let best = 0, other = 0;
      for (let c = 0; c < classes; c++) {
        if (mean[c] > mean[best]) best = c;
        if (c !== y && mean[c] > other) other = mean[c];
      }
      models[members].cls[i] = best;
      models[members].conf[i] = mean[best];
      models[members].margin[i] = Math.log(Math.max(mean[y], 1e-30)) - Math.log(Math.max(other, 1e-30));
      differ[i] = answers;
    }
    Object.assign(grid, {models, differ, y});
  }

  // --- panels: one a model, in the page's own grid ---------------------------------------------------------------------

  trs.title = (scene) => scene.models.forEach((name, k) => {
    const title = document.createElement("b");
    title.textContent = name;
    document.getElementById("panels").children[k].firstChild.replaceChildren(title, trs.walks ? `: ${trs.walks.headlines[k]}` : "");
  });

  function buildPanels(scene) {
    const holder = document.getElementById("panels");
    while (holder.children.length > scene.models.length) holder.lastChild.remove();
    while (holder.children.length < scene.models.length) {
      const panel = document.createElement("figure"), frame = document.createElement("div");
      frame.className = "frame";
      for (const name of ["pixels", "marks"]) frame.append(Object.assign(document.createElement("canvas"), {className: name}));
      for (const name of ["across", "up"]) frame.append(Object.assign(document.createElement("i"), {className: name, hidden: true}));
      panel.append(document.createElement("figcaption"), frame);
      holder.append(panel);
      sizes.observe(frame);
    }
    trs.showHidden();
  }

  trs.hidden = () => new Set(String(trs.get("hide") || "").split(",").filter(Boolean).map(Number));
  trs.panels = () => [...document.querySelectorAll("#panels > figure")].map((panel, model) => ({panel, model})).filter(({panel}) => !panel.hidden);

  trs.showHidden = () => {
    const holder = document.getElementById("panels"), hidden = trs.hidden();
    if (!holder || !trs.scene) return;
    [...holder.children].forEach((panel, k) => (panel.hidden = hidden.has(k)));
    const shown = holder.children.length - hidden.size;
    holder.style.setProperty("--columns", Math.max(1, innerWidth < 700 ? Math.min(2, shown) : Math.min(4, shown)));
  };

  // Canvases as sharp as the screen; whether one has changed.
  function fitted() {
    let changed = false;
    for (const {panel} of trs.panels()) {
      const size = Math.round(panel.querySelector(".frame").clientWidth * Math.max(1.5, Math.min(2, devicePixelRatio || 1)));
      for (const canvas of panel.querySelectorAll("canvas")) {
        if (size && canvas.width !== size) canvas.width = canvas.height = size;
        else continue;
        changed = true;
      }
    }
    return changed;
  }

  function draw() {
    fitted();
    trs.paint();
    trs.mark();
  }

  const sizes = new ResizeObserver(() => {
    if (fitted()) draw();
  });

  // --- layers ----------------------------------------------------------------------------------------------------------

  let tables = null;
  function shades() {
    if (tables) return tables;
    const classes = trs.meta.colours.map(rgb);
    tables = {
      classes: classes.map((own) => ramp(mix(own, WHITE, 0.6), own)),
      right: ramp(mix(WHITE, BLUE, 0.12), mix(WHITE, BLUE, 0.92)),
      wrong: ramp(mix(WHITE, ORANGE, 0.12), mix(WHITE, ORANGE, 0.92)),
      confidence: ramp(WHITE, BLUE),
      disagreement: ramp(WHITE, PURPLE),
    };
    return tables;
  }

  // The layer's colour of every point, and what changes across a boundary.
  function fillPixels(out, layer, model, grid, scene) {
    const table = shades(), count = grid.n * grid.n, low = 1 / scene.classes, top = SHADES - 1;
    const {cls, conf, margin} = model, many = table.classes.length;
    if (layer === "margin") {
      for (let i = 0; i < count; i++) {
        const m = margin[i];
        out[i] = (m >= 0 ? table.right : table.wrong)[Math.min(top, (Math.abs(m) * top / SURE) | 0)];
      }
      return (i, j) => margin[i] >= 0 !== margin[j] >= 0;
    }
    if (layer === "confidence" || layer === "disagreement") {
      const most = Math.max(1, scene.models.length - 2);
      if (layer === "confidence") for (let i = 0; i < count; i++) out[i] = table.confidence[Math.max(0, ((conf[i] - low) / (1 - low) * top) | 0)];
      else for (let i = 0; i < count; i++) out[i] = table.disagreement[((grid.differ[i] - 1) / most * top) | 0];
      return layer === "confidence" ? (i, j) => cls[i] !== cls[j] : null;
    }
    for (let i = 0; i < count; i++) out[i] = table.classes[cls[i] % many][Math.max(0, ((conf[i] - low) / (1 - low) * top) | 0)];
    return (i, j) => cls[i] !== cls[j];
  }

  const pictures = []; // a model's logits as a small canvas, a pixel a point: sizes may change without counting anew

  function pictureOf(number, layer) {
    const {grid, scene} = trs, n = grid.n, of = (pictures[number] ||= {canvas: document.createElement("canvas")});
    if (of.grid === grid && of.layer === layer && of.y === grid.y) return of.canvas;
    Object.assign(of, {grid, layer, y: grid.y});
    if (of.canvas.width !== n) of.canvas.width = of.canvas.height = n;
    const model = grid.models[number], context = of.canvas.getContext("2d"), image = context.createImageData(n, n);
    const points = new Uint32Array(n * n), pixels = new Uint32Array(image.data.buffer);
    const differs = fillPixels(points, layer, model, grid, scene);
    for (let row = 0; row < n; row++) {
      const from = row * n, to = (n - 1 - row) * n; // row 0 is the lowest
      for (let column = 0; column < n; column++) {
        const i = from + column;
        const edge = differs && ((column + 1 < n && differs(i, i + 1)) || (row + 1 < n && differs(i, i + n)));
        pixels[to + column] = edge ? INK : points[i];
      }
    }
    context.putImageData(image, 0, 0);
    return of.canvas;
  }

  function paintPanel(canvas, number) {
    const {grid, scene} = trs, layer = trs.get("layer"), size = canvas.width, model = grid.models[number];
    const context = canvas.getContext("2d"), margin = size / (grid.n - 1) / 2; // samples lie on the square's edges: half a cell is outside
    context.imageSmoothingEnabled = false;
    context.drawImage(pictureOf(number, layer), -margin, -margin, size + 2 * margin, size + 2 * margin);
    hatch(context, size, scene);
    if (layer === "arrows") arrows(context, size, model, grid);
    if (layer === "class" || layer === "arrows") labels(context, size, model, grid);
  }

  trs.toPixel = ([a, b], size, scene) => {
    const width = scene.high - scene.low;
    return [((a - scene.low) / width) * size, size - ((b - scene.low) / width) * size];
  };

  // What is no image (outside [0, 1] in some pixel) is hatched.
  function hatch(context, size, scene) {
    context.save();
    context.beginPath();
    context.rect(0, 0, size, size);
    scene.box.forEach((point, i) => context[i ? "lineTo" : "moveTo"](...trs.toPixel(point, size, scene)));
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
    const n = grid.n, stride = (n - 1) / 24, reach = 3, best = new Map();
    for (let r = 0; r <= 24; r++) {
      for (let c = 0; c <= 24; c++) {
        const own = model.cls[r * stride * n + c * stride];
        let score = 0;
        for (let rr = Math.max(0, r - reach); rr <= Math.min(24, r + reach); rr++) {
          for (let cc = Math.max(0, c - reach); cc <= Math.min(24, c + reach); cc++) if (model.cls[rr * stride * n + cc * stride] === own) score++;
        }
        if (score > (best.get(own) || {score: 8}).score) best.set(own, {score, r, c});
      }
    }
    for (const [own, {r, c}] of best) {
      const inside = (place) => Math.min(0.93, Math.max(0.07, place / 24)) * size;
      trs.write(context, String(own), inside(c), size - inside(r), size / 13);
    }
  }

  trs.write = (context, text, x, y, height, weight = "bold") => {
    context.font = `${weight} ${Math.round(height)}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineJoin = "round";
    context.lineWidth = height / 4;
    context.strokeStyle = "rgba(255,255,255,.85)";
    context.strokeText(text, x, y);
    context.fillStyle = "black";
    context.fillText(text, x, y);
  };

  // The slope, within the plane, of the margin downwards: where an attack would go.
  function arrows(context, size, model, grid) {
    const n = grid.n, count = 13, found = [], step = Math.max(1, Math.round((n - 1) / 48));
    const at = (row, column) => model.margin[Math.max(0, Math.min(n - 1, row)) * n + Math.max(0, Math.min(n - 1, column))];
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
    context.strokeStyle = context.fillStyle = "black";
    context.lineWidth = Math.max(1, size / 260);
    for (const [x, y, da, db, length] of found) {
      if (length < longest * 1e-3) continue;
      const reach = (size / count) * 0.8 * Math.sqrt(length / longest), ux = da / length, uy = -db / length, head = Math.min(reach * 0.4, size / 60);
      const toX = x * size + (ux * reach) / 2, toY = (1 - y) * size + (uy * reach) / 2;
      context.beginPath();
      context.moveTo(toX - ux * reach, toY - uy * reach);
      context.lineTo(toX, toY);
      context.stroke();
      context.beginPath();
      context.moveTo(toX, toY);
      context.lineTo(toX - ux * head - uy * head * 0.6, toY - uy * head + ux * head * 0.6);
      context.lineTo(toX - ux * head + uy * head * 0.6, toY - uy * head - ux * head * 0.6);
      context.fill();
    }
  }

  trs.paint = () => {
    if (!trs.scene || !trs.grid || !trs.grid.models.length) return;
    for (const {panel, model} of trs.panels()) {
      const canvas = panel.querySelector(".pixels");
      if (canvas.width > 1) paintPanel(canvas, model);
    }
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
    const written = `${layer} ${trs.scene.y} ${trs.scene.models.length} ${trs.scene.classes}`;
    if (box.dataset.of === written) return;
    box.dataset.of = written;
    const members = trs.scene.models.length - 1;
    const own = {
      margin: () => [chip([css(ORANGE), "white", css(BLUE)], ` margin of class ${trs.scene.y}: orange where another class wins`)],
      confidence: () => [chip(["white", css(BLUE)], " probability of the model's own answer")],
      disagreement: () => Array.from({length: members}, (_, i) =>
        chip([css(mix(WHITE, PURPLE, i / Math.max(1, members - 1)))], ` ${i + 1} ${i ? "different answers" : "answer"}`)),
    }[layer] || (() => [chip(trs.meta.colours.slice(0, Math.min(3, trs.scene.classes)), " a colour a class, paler where unsure; dark lines: boundaries")]);
    box.replaceChildren(...own(), chip(["repeating-linear-gradient(135deg, #777 0 1px, #eee 1px 5px)"], " hatched: outside [0, 1] (not a valid image)"));
  }

  function shares() {
    const holder = document.getElementById("share-table");
    if (!document.getElementById("shares").open) return;
    const {models} = trs.grid, count = trs.grid.n ** 2;
    const counts = models.map(({cls}) => cls.reduce((sum, c) => (sum[c]++, sum), new Uint32Array(trs.scene.classes)));
    const present = [...Array(trs.scene.classes).keys()].filter((c) => counts.some((one) => one[c]));
    const rows = counts.map((one, k) => [trs.scene.models[k], ...present.map((c) => `${((100 * one[c]) / count).toFixed(1)} %`)]);
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

  let before = "";
  trs.listeners.push(() => {
    const now = `${trs.get("layer")} ${trs.get("hide")}`;
    if (now === before) return;
    before = now;
    trs.showHidden();
    draw();
  });
  document.addEventListener("toggle", (event) => event.target.id === "shares" && trs.grid && shares(), true);
})();
