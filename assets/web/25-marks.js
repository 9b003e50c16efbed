// What lies in a slice besides the logits: the ball, [0, 1]^d, attack paths, training points and ticks, on a canvas above.
"use strict";

(() => {
  function line(context, points, width, dash) {
    for (const [colour, extra, pattern] of [["rgba(255,255,255,.8)", 1.6, []], ["black", 0, dash]]) {
      context.strokeStyle = colour;
      context.lineWidth = width + extra * trs.unit;
      context.setLineDash(pattern.map((length) => length * trs.unit));
      context.beginPath();
      points.forEach((point, i) => context[i ? "lineTo" : "moveTo"](...point));
      context.stroke();
    }
    context.setLineDash([]);
  }

  const closed = (points) => (points.length ? [...points, points[0]] : points);

  function cross(context, [x, y], reach) {
    line(context, [[x - reach, y - reach], [x + reach, y + reach]], 3 * trs.unit, []);
    line(context, [[x - reach, y + reach], [x + reach, y - reach]], 3 * trs.unit, []);
  }

  function ring(context, [x, y], radius) {
    for (const [colour, width] of [["white", 4], ["black", 2]]) {
      context.strokeStyle = colour;
      context.lineWidth = width * trs.unit;
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.stroke();
    }
  }

  function star(context, [x, y], radius) {
    context.beginPath();
    for (let i = 0; i < 10; i++) {
      const reach = i % 2 ? radius * 0.45 : radius, angle = (Math.PI * i) / 5 - Math.PI / 2;
      context[i ? "lineTo" : "moveTo"](x + reach * Math.cos(angle), y + reach * Math.sin(angle));
    }
    context.closePath();
    context.fillStyle = "white";
    context.strokeStyle = "black";
    context.lineWidth = 1.5 * trs.unit;
    context.fill();
    context.stroke();
  }

  function examples(context, points, size) {
    for (const [a, b, y] of points) {
      const [px, py] = trs.toPixel([a, b], size, trs.scene), r = 2.5 * trs.unit;
      context.fillStyle = trs.meta.colours[y % trs.meta.colours.length];
      context.strokeStyle = "black";
      context.lineWidth = trs.unit;
      context.beginPath();
      if (y) context.rect(px - r, py - r, 2 * r, 2 * r);
      else context.arc(px, py, r, 0, 2 * Math.PI);
      context.fill();
      context.stroke();
    }
  }

  function ticks(context, size) {
    const {low, high} = trs.scene, height = 11 * trs.unit, name = (value) => String(Number(value.toPrecision(3))).replace("-", "−");
    for (const share of [0.25, 0.5, 0.75]) {
      const value = low + (high - low) * share, at = share * size;
      line(context, [[at, size], [at, size - 4 * trs.unit]], trs.unit, []);
      line(context, [[0, size - at], [4 * trs.unit, size - at]], trs.unit, []);
      trs.write(context, name(value), at, size - 11 * trs.unit, height, "normal");
      trs.write(context, name(value), 14 * trs.unit, size - at, height, "normal");
    }
  }

  // A panel shows the attack on its own model (solid) and that on the surrogate (dashed). A cross ends what fools the panel's model.
  function markPanel(canvas, model) {
    const {scene, walks} = trs, size = canvas.width, context = canvas.getContext("2d"), to = (point) => trs.toPixel(point, size, scene);
    trs.unit = size / canvas.clientWidth || 1;
    context.clearRect(0, 0, size, size);
    ticks(context, size);
    examples(context, scene.examples, size);
    line(context, closed(scene.box.map(to)), 1.8 * trs.unit, [2, 4]);
    if (!walks) return;
    line(context, closed(walks.ball.map(to)), 1.8 * trs.unit, []);
    for (const attacked of new Set([Number(trs.get("surrogate")), model])) {
      const trail = walks.trails[attacked].map(to), own = attacked === model;
      line(context, trail, (own ? 2.5 : 1.5) * trs.unit, own ? [] : [6, 4]);
      if (walks.before[model] === scene.y && walks.ends[model][attacked] !== scene.y) cross(context, trail.at(-1), (own ? 5 : 3.5) * trs.unit);
      else ring(context, trail.at(-1), (own ? 5 : 4) * trs.unit);
    }
    star(context, to(walks.start), 8 * trs.unit);
  }

  trs.walks = null; // the attacks in trs.scene: {start, ball, trails, before, ends, headlines}

  trs.askWalks = trs.asker("walks", (told) => {
    if (told.wrong || told.notice) trs.say(told.wrong || told.notice);
    if (!trs.scene || (!told.wrong && (told.key !== trs.scene.key || told.stale))) return; // the page has gone on, and asked again
    trs.walks = told.wrong ? null : told;
    trs.fill("slice-words", told.words || "");
    trs.fill("fooled-words", told.fooledWords || "");
    trs.title(trs.scene);
    trs.mark();
    trs.push();
    trs.afterFrame(trs.askAngles);
  });

  // The first of the walks, in those that are on the screen until the others come.
  trs.askSurrogate = trs.asker("surrogate", (told) => {
    if (told.wrong || !trs.scene || !trs.walks || told.key !== trs.scene.key) return;
    const {attacked, start, ball, trail} = told, {trails, ends} = trs.walks;
    trs.walks = {
      ...trs.walks, start, ball, trails: trails.with(attacked, trail),
      ends: ends.map((seen, model) => seen.with(attacked, told.ends[model])),
    };
    trs.mark();
  });

  trs.askAngles = trs.asker("angles", (told) => {
    if (!trs.scene || told.wrong || told.key !== trs.scene.key) return;
    trs.fill("angle-words", told.words);
    trs.fill("angle-table", told.table);
  });

  trs.mark = () => {
    if (!trs.scene) return;
    for (const {panel, model} of trs.panels()) {
      const canvas = panel.querySelector(".marks");
      if (canvas.width > 1) markPanel(canvas, model);
    }
    document.dispatchEvent(new CustomEvent("trs:marked"));
  };
})();
