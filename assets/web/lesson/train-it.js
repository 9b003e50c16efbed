// Two networks that this machine trains while one looks on. lesson.pairs has what was trained here, for the next card too.
"use strict";

(() => {
  const CARD = "train-it", EVERY_MS = 100, KEPT = "trs lesson: pairs";
  const ME = Math.random().toString(36).slice(2); // the newest training of this page replaces its older one
  const NAMES = ["lambda_a", "neighbours", "smooth", "seed"];

  let shown = null; // what the picture shows, as the server told it
  let running = 0; // the number of the training that is followed, 0 for none
  let looked = ""; // the settings that were last looked up
  let count = 0;

  const keyOf = (settings) => NAMES.map((name) => settings[name]).join(" ");
  const settingsOf = (state) => Object.fromEntries(NAMES.map((name) => [name, state[name]]));
  const floats = (text) => new Float32Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);

  // --- what was trained here -----------------------------------------------------------------------------------------

  lesson.pairs = (() => {
    try {
      return JSON.parse(sessionStorage.getItem(KEPT)) || [];
    } catch {
      return []; // a browser that keeps nothing
    }
  })();

  function keep({settings, result}) {
    const {attacks, ...figures} = result, pair = {...settings, ...figures, corner: nameOf(settings)};
    lesson.pairs = [...lesson.pairs.filter((other) => keyOf(other) !== keyOf(pair)), pair];
    try {
      sessionStorage.setItem(KEPT, JSON.stringify(lesson.pairs));
    } catch {
      // the table is then only in this page
    }
  }

  const corners = () => [...document.querySelectorAll("#card-train-it .corners [data-set]")];
  function nameOf(settings) {
    const is = (button) => Object.entries(JSON.parse(button.dataset.set)).every(([name, value]) => settings[name] === value);
    return corners().find(is)?.textContent || `${settings.lambda_a}, ${settings.neighbours}, ${settings.smooth}`;
  }

  // --- asking --------------------------------------------------------------------------------------------------------

  function take(told) {
    const same = shown && shown.key === keyOf(told.settings) && shown.step === told.step && !told.result === !shown.result;
    const margins = same ? shown.margins : floats(told.margins);
    shown = {...told, key: keyOf(told.settings), margins, points: floats(told.points)};
    if (told.result) keep(told);
    if (told.state === "failed") lesson.say(`the training failed: ${told.error}`);
    if (told.state === "cancelled") lesson.say("the training was stopped, because others were started: press Train again");
    if (lesson.name === CARD) paint();
  }

  async function train(settings) {
    const number = (running = ++count);
    lesson.say("");
    try {
      let told = await lesson.ask("train", {...settings, client: ME}, CARD);
      while (number === running) {
        take(told);
        if (told.state !== "running") return;
        await new Promise((wake) => setTimeout(wake, EVERY_MS));
        told = await lesson.ask("state", settings, CARD);
      }
    } catch (error) {
      if (number === running) lesson.say(error.message);
    } finally {
      if (number === running) {
        running = 0;
        lesson.show(); // other cards have use for it too
      }
    }
  }

  async function trainAll() {
    for (const button of corners()) {
      const turn = count;
      lesson.set(JSON.parse(button.dataset.set));
      await train(settingsOf({...lesson.state(), ...JSON.parse(button.dataset.set)}));
      if (count !== turn + 1 || lesson.name !== CARD) return; // someone has pressed something else
    }
  }

  // The pair of other settings: trained already, or before its first step.
  async function look(settings) {
    const key = (looked = keyOf(settings));
    try {
      const told = await lesson.ask("state", settings, CARD);
      if (key !== looked || running) return;
      if (told.state === "running") train(settings); // the page was loaded anew meanwhile
      else take(told);
    } catch (error) {
      if (key === looked) lesson.say(error.message);
    }
  }

  document.addEventListener("click", ({target}) => {
    const act = target.closest("#card-train-it [data-act]")?.dataset.act;
    if (act === "train") train(settingsOf(lesson.state()));
    if (act === "train-all") trainAll();
  });

  // --- the picture ---------------------------------------------------------------------------------------------------

  // The lines where a grid of numbers is 0, as chains of points in units of cells: of short pieces no dash could be made.
  function contours(values, n) {
    const ends = new Map(), at = (row, column) => values[row * n + column];
    const edge = (row, column, up) => {
      const a = at(row, column), b = up ? at(row + 1, column) : at(row, column + 1);
      if (a > 0 === b > 0) return null;
      const part = a / (a - b);
      return {key: `${row} ${column} ${up}`, point: up ? [column, row + part] : [column + part, row]};
    };
    const pieces = [];
    for (let row = 0; row < n - 1; row++) {
      for (let column = 0; column < n - 1; column++) {
        const crossed = [edge(row, column, false), edge(row, column + 1, true), edge(row + 1, column, false), edge(row, column, true)];
        const found = crossed.filter(Boolean);
        for (let k = 0; k + 1 < found.length; k += 2) pieces.push([found[k], found[k + 1]]);
      }
    }
    pieces.forEach((piece) => piece.forEach(({key}) => ends.set(key, [...(ends.get(key) || []), piece])));
    const used = new Set(), lines = [];
    const follow = (piece, from) => {
      const line = [from.point];
      while (piece) {
        used.add(piece);
        from = piece[0].key === from.key ? piece[1] : piece[0];
        line.push(from.point);
        piece = ends.get(from.key).find((next) => !used.has(next));
      }
      return line;
    };
    const open = pieces.flatMap((piece) => piece.filter(({key}) => ends.get(key).length === 1).map((end) => [piece, end]));
    [...open, ...pieces.map((piece) => [piece, piece[0]])].forEach(([piece, end]) => used.has(piece) || lines.push(follow(piece, end)));
    return lines;
  }

  const FINE = 6; // pixels of the picture a cell
  const CLASSES = [[86, 180, 233], [230, 159, 0]]; // those of figures.py

  // Where F and G say the same class: its colour. Where they don't: hatched.
  function regions(F, G, n, ink) {
    const size = (n - 1) * FINE, picture = new ImageData(size, size), pixels = picture.data;
    const hatch = ink.match(/[0-9a-f]{2}/gi).map((part) => parseInt(part, 16));
    const between = (values, row, column, up, right) => {
      const k = row * n + column, low = values[k] * (1 - right) + values[k + 1] * right;
      return low * (1 - up) + (values[k + n] * (1 - right) + values[k + n + 1] * right) * up;
    };
    for (let y = 0; y < size; y++) {
      const row = Math.floor(y / FINE), up = (y % FINE + 0.5) / FINE;
      for (let x = 0; x < size; x++) {
        const column = Math.floor(x / FINE), right = (x % FINE + 0.5) / FINE;
        const f = between(F, row, column, up, right) > 0, g = between(G, row, column, up, right) > 0;
        const k = 4 * ((size - 1 - y) * size + x), colour = f === g ? CLASSES[Number(f)] : hatch;
        pixels.set([...colour, f === g ? 82 : (x + y) % 12 < 2 ? 110 : 0], k);
      }
    }
    return picture;
  }

  function draw({margins, points, half, result}) {
    const canvas = lesson.section().querySelector("canvas"), sheet = lesson.sheet(canvas, ["ink", "faint", "paper", "second", "hit"]);
    const {pen, width, height} = sheet, side = Math.min(width, height), n = Math.sqrt(margins.length / 2);
    const [left, top] = [(width - side) / 2, (height - side) / 2];
    const at = (x, y) => [left + (side * (x + half)) / (2 * half), top + (side * (half - y)) / (2 * half)];
    const F = margins.subarray(0, n * n), G = margins.subarray(n * n), picture = regions(F, G, n, sheet.ink);
    const hidden = Object.assign(document.createElement("canvas"), {width: picture.width, height: picture.height});
    hidden.getContext("2d").putImageData(picture, 0, 0);
    pen.save();
    pen.beginPath();
    pen.rect(left, top, side, side);
    pen.clip();
    pen.drawImage(hidden, left, top, side, side);
    dots(pen, points, at, sheet);
    [[F, sheet.ink, []], [G, sheet.second, [11, 6]]].forEach(([values, colour, dash]) => {
      const cell = (2 * half) / (n - 1), lines = contours(values, n);
      [[6, sheet.paper, []], [3, colour, dash]].forEach(([lineWidth, strokeStyle, pattern]) => {
        Object.assign(pen, {lineWidth, strokeStyle, globalAlpha: lineWidth > 3 ? 0.7 : 1});
        pen.setLineDash(pattern);
        pen.beginPath();
        lines.forEach((line) => line.forEach(([x, y], k) => pen[k ? "lineTo" : "moveTo"](...at(x * cell - half, y * cell - half))));
        pen.stroke();
      });
      pen.setLineDash([]);
    });
    if (result && lesson.revealed()) result.attacks.forEach((attack) => arrow(sheet, attack, at));
    pen.restore();
    Object.assign(pen, {strokeStyle: sheet.faint, lineWidth: 1});
    pen.strokeRect(left, top, side, side);
    canvas.setAttribute("aria-label", inWords(F, G));
  }

  function dots(pen, points, at, {ink}) {
    for (let k = 0; k < points.length; k += 3) {
      const [x, y] = at(points[k], points[k + 1]), second = points[k + 2] > 0;
      Object.assign(pen, {fillStyle: `rgb(${CLASSES[Number(second)]})`, strokeStyle: ink, lineWidth: 0.8});
      pen.beginPath();
      if (second) pen.rect(x - 2.4, y - 2.4, 4.8, 4.8);
      else pen.arc(x, y, 2.7, 0, 7);
      pen.fill();
      pen.stroke();
    }
  }

  function arrow({pen, em, hit, ink, paper}, [x0, y0, x1, y1, both], at) {
    const colour = both ? hit : ink, to = at(x1, y1), r = 0.3 * em;
    lesson.path(pen, colour, both ? 2 : 1.2, () => {
      pen.moveTo(...at(x0, y0));
      pen.lineTo(...to);
    });
    lesson.path(pen, colour, both ? 3 : 2, () => (both ? lesson.cross(pen, to, r) : lesson.ring(pen, to, r)));
    if (both) return;
    pen.fillStyle = paper;
    pen.fill();
    pen.stroke();
  }

  // --- in words ------------------------------------------------------------------------------------------------------

  const percent = (share, digits = 0) => `${lesson.fixed(100 * share, digits)}\u00a0%`;

  function inWords(F, G) {
    const agree = percent(F.filter((value, k) => value > 0 === G[k] > 0).length / F.length);
    const attacks = shown.result && lesson.revealed() ? shown.result.attacks : [];
    const drawn = attacks.length ? ` ${attacks.length} attacks that fool F: ${attacks.filter((one) => one[4]).length} fool G too.` : "";
    return `300 points of two classes, left and right, and the boundaries of F and G at step ${shown.step} of ${shown.steps}: `
      + `they give the same answer on ${agree} of the plane.${drawn}`;
  }

  function paint() {
    if (!shown) return;
    draw(shown);
    const {result, step, steps, settings, cosine, terms, state} = shown, bar = document.getElementById("training-bar");
    Object.assign(bar, {max: steps, value: step});
    const which = `${nameOf(settings)}, seed ${settings.seed}`;
    const doing = step < steps ? `step ${step} of ${steps}` : state === "running" ? "attacking both" : `trained in ${lesson.fixed(shown.seconds, 1)}\u00a0s`;
    const total = Object.values(terms).reduce((sum, term) => sum + term, 0);
    const parts = Object.entries(terms).map(([name, term]) => `${name} ${lesson.fixed(term, 4)}`);
    lesson.write({
      step: state === "none" ? `${which}: not trained yet` : `${which}: ${doing}`,
      now: cosine === null ? "" : `|cos| at the points ${lesson.fixed(cosine, 3)}`,
      terms: parts.length ? `loss ${lesson.fixed(total, 4)} = ${parts.join(" + ")}` : "",
    });
    numbers(result);
    rows();
  }

  function numbers(result) {
    if (!result) return lesson.write({share: "–", counts: "transfer: these settings are not trained yet", rest: ""});
    const {fooled, eligible, interval, cosine, around, roughness, accuracy, n} = result;
    lesson.write({
      share: eligible ? percent(fooled / eligible) : "–",
      counts: `transfer: ${fooled} of ${eligible} attacks that fool one; 95 %: ${percent(interval[0])} to ${percent(interval[1])}; seed ${shown.settings.seed}`,
      rest: `mean |cos| ${lesson.fixed(cosine, 3)} at the points, ${lesson.fixed(around)} around them · β of the margins about `
        + `${lesson.fixed(roughness, roughness < 1 ? 2 : 0)} · clean accuracy F ${percent(accuracy[0], 1)}, G ${percent(accuracy[1], 1)} of ${n}`,
    });
  }

  function rows() {
    const cells = (pair) => [pair.corner, pair.seed, lesson.fixed(pair.cosine, 3), lesson.fixed(pair.roughness, pair.roughness < 1 ? 2 : 0),
      pair.eligible ? `${percent(pair.fooled / pair.eligible)} of ${pair.eligible}` : "–"];
    document.getElementById("trained-here").replaceChildren(...lesson.pairs.map((pair) => {
      const row = document.createElement("tr");
      row.append(...cells(pair).map((text, k) => Object.assign(document.createElement(k ? "td" : "th"), {textContent: text})));
      row.firstChild.scope = "row";
      return row;
    }));
  }

  lesson.cards[CARD] = {
    draw(state) {
      const settings = settingsOf(state);
      if (!running && keyOf(settings) !== looked) look(settings);
      looked = keyOf(settings);
      paint();
    },
  };

  lesson.training = {train, busy: () => Boolean(running)};
})();
