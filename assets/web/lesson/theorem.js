// The pairs of card three in the plane of beta and cosine, and what the bounds say of them.
"use strict";

(() => {
  const CARD = "theorem", LETTERS = "ABCDEF";
  let stored = null; // ten seeds of every corner, as the server has them
  let asked = false;

  async function load() {
    asked = true;
    try {
      stored = await lesson.ask("stored", {}, CARD);
      if (lesson.name === CARD) draw();
    } catch (error) {
      asked = false;
      lesson.say(error.message);
    }
  }

  document.addEventListener("click", async ({target}) => {
    const button = target.closest("#card-theorem [data-act]");
    if (!button) return;
    const settings = {...JSON.parse(button.dataset.weights), seed: lesson.get("seed")}, before = lesson.pairs.length;
    lesson.write({training: `training ${button.textContent.slice(2)}, seed ${settings.seed}`});
    await lesson.training.train(settings);
    if (lesson.name === CARD && !lesson.training.busy()) lesson.write({training: lesson.pairs.length > before ? "done" : ""});
  });

  // --- the picture ---------------------------------------------------------------------------------------------------

  const letter = (pair) => LETTERS[stored.corners.indexOf(pair.corner)] || "·";
  const mean = (rows, name) => rows.reduce((sum, row) => sum + row[name], 0) / rows.length;
  const share = (rows) => rows.reduce((sum, row) => sum + row.transferred / row.shown, 0) / rows.length;
  const percent = (value) => `${lesson.fixed(100 * value, value > 0 && value < 0.01 ? 1 : 0)}\u00a0%`;
  const COLOURS = ["#56b4e9", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#0072b2"]; // of figures.py; the letter says it too

  function draw() {
    if (!stored) return;
    table(); // first: it takes room from the chart
    chart(lesson.revealed());
  }

  function chart(revealed) {
    const canvas = lesson.section().querySelector("canvas"), sheet = lesson.sheet(canvas, ["ink", "faint", "paper", "line"]);
    const {pen, width, height, em} = sheet, [left, right, top, bottom] = [3.2 * em, width - em, 1.6 * em, height - 2.6 * em];
    const y = (cosine) => bottom - ((cosine + 1.05) / 2.1) * (bottom - top);
    const all = [...stored.rows, ...lesson.pairs], betas = all.map((pair) => Math.log(pair.beta));
    const [low, high] = [Math.min(...betas) - 0.25, Math.max(...betas) + 0.25];
    const wide = (right - left) / stored.corners.length;
    const x = (pair, k) => {
      if (revealed) return left + ((Math.log(pair.beta) - low) / (high - low)) * (right - left);
      const corner = stored.corners.indexOf(pair.corner);
      return left + wide * (Math.max(0, corner) + 0.5) + wide * 0.06 * (k - 4.5);
    };
    axes(sheet, {left, right, top, bottom, y, low, high, revealed});
    stored.corners.forEach((corner, number) => {
      stored.rows.filter((row) => row.corner === corner).forEach((row, k) => line(sheet, x(row, k), row, y, COLOURS[number], 2.5));
    });
    lesson.pairs.forEach((pair) => {
      if (!revealed && letter(pair) === "·") return;
      line(sheet, x(pair, 11), pair, y, sheet.ink, 2);
    });
    labels(sheet, {x, y, wide, left, right, revealed});
    canvas.setAttribute("aria-label", inWords(revealed));
  }

  function axes(sheet, {left, right, top, bottom, y, low, high, revealed}) {
    const {pen, em, faint, line: grey} = sheet;
    const stroke = (...points) => {
      Object.assign(pen, {strokeStyle: grey, lineWidth: 1});
      pen.beginPath();
      points.forEach((point) => pen.lineTo(...point));
      pen.stroke();
    };
    [-1, -0.5, 0, 0.5, 1].forEach((cosine) => {
      stroke([left, y(cosine)], [right, y(cosine)]);
      lesson.words(sheet, String(cosine), left - 0.4 * em, y(cosine), {align: "right", colour: faint, size: 0.8});
    });
    lesson.words(sheet, "cosine of the gradients, all around the points", left, top - 0.9 * em, {colour: faint, size: 0.8});
    if (!revealed) return;
    for (const value of [1, 2, 5, 10, 20, 50, 100, 200]) {
      const at = left + ((Math.log(value) - low) / (high - low)) * (right - left);
      if (at < left || at > right) continue;
      stroke([at, bottom], [at, bottom + 0.3 * em]);
      lesson.words(sheet, String(value), at, bottom + 0.9 * em, {align: "center", colour: faint, size: 0.8});
    }
    lesson.words(sheet, "← smoother   β of the loss, the largest found", right, bottom + 2 * em, {align: "right", colour: faint, size: 0.8});
  }

  // From the lowest to the highest cosine of a pair; the ends have bars, so that a line of no length is seen too.
  function line({pen}, x, {lowest, highest}, y, colour, lineWidth) {
    Object.assign(pen, {strokeStyle: colour, lineWidth, globalAlpha: 0.75});
    pen.beginPath();
    pen.moveTo(x, y(lowest));
    pen.lineTo(x, y(highest));
    [lowest, highest].forEach((cosine) => {
      pen.moveTo(x - 4, y(cosine));
      pen.lineTo(x + 4, y(cosine));
    });
    pen.stroke();
    pen.globalAlpha = 1;
  }

  // A corner's letter above its lines, below them, or within them where they are long; never on another letter.
  function labels(sheet, {x, y, wide, left, right, revealed}) {
    const {em} = sheet, taken = [];
    stored.corners.forEach((corner, number) => {
      const rows = stored.rows.filter((row) => row.corner === corner);
      const middle = revealed ? rows.reduce((sum, row) => sum + x(row, 0), 0) / rows.length : left + wide * (number + 0.5);
      const text = revealed ? `${LETTERS[number]}: ${percent(share(rows))}` : LETTERS[number];
      const half = 0.28 * em * text.length + 4, at = Math.min(right - half, Math.max(left + half, middle));
      const [low, high] = [Math.min(...rows.map((row) => row.lowest)), Math.max(...rows.map((row) => row.highest))];
      const places = high - low > 1 ? [y(0.3), y(0), y(-0.3), y(-0.6)] : [y(high) - em, y(low) + em, y(low) + 2.2 * em, y(low) + 3.4 * em];
      const free = (down) => down > y(1.02) && !taken.some(([a, b, h]) => Math.abs(a - at) < half + h && Math.abs(b - down) < 1.2 * em);
      const down = places.find(free) ?? places.at(-1);
      taken.push([at, down, half]);
      if (high - low <= 1) taken.push([middle, y((low + high) / 2), half / 2]);
      lesson.words(sheet, text, at, down, {align: "center", bold: true, size: revealed ? 1 : 1.2});
    });
  }

  // --- in words ------------------------------------------------------------------------------------------------------

  const short = (cosine) => (Math.abs(cosine) > 0.995 ? String(Math.sign(cosine)) : lesson.fixed(cosine)).replace("-", "−");
  const range = (low, high) => `${short(low)} to ${short(high)}`;
  const betaText = (beta) => lesson.fixed(beta, beta < 10 ? 1 : 0);
  const lower = (rows) => said(rows.filter((row) => row.lower !== null && row.lower > 0).map((row) => row.lower), rows.length);
  const upper = (rows) => said(rows.filter((row) => row.upper !== null && row.upper < 1).map((row) => row.upper), rows.length);
  const said = (bounds, n) => (bounds.length ? `${bounds.map(percent).join(", ")} (${bounds.length} of ${n})` : "vacuous");

  function cells(rows, first) {
    const [fooled, tried] = [rows.reduce((sum, row) => sum + row.within[0], 0), rows.reduce((sum, row) => sum + row.shown, 0)];
    const hit = rows.reduce((sum, row) => sum + row.transferred, 0);
    return [letter(rows[0]), first, lesson.fixed(mean(rows, "cosine"), 3), range(mean(rows, "lowest"), mean(rows, "highest")),
      betaText(mean(rows, "beta")), lower(rows), upper(rows), lesson.fixed(mean(rows, "promised"), 3), `${fooled} of ${tried}`,
      `${percent(share(rows))}: ${hit} of ${tried}`];
  }

  function table() {
    const groups = stored.corners.map((corner) => [stored.rows.filter((row) => row.corner === corner), corner]);
    const own = lesson.pairs.map((pair) => [[pair], `${pair.corner}, seed ${pair.seed}`]);
    document.getElementById("bounds").replaceChildren(...[...groups, ...own].map(([rows, first]) => {
      const row = document.createElement("tr");
      row.append(...cells(rows, first).map((text, k) => Object.assign(document.createElement(k === 1 ? "th" : "td"), {textContent: text})));
      row.children[1].scope = "row";
      return row;
    }));
    const radii = groups.map(([rows]) => mean(rows, "promised")), all = stored.rows;
    const alone = all.reduce((sum, row) => sum + row.within[0], 0), both = all.reduce((sum, row) => sum + row.within[1], 0);
    lesson.write({
      within: `below ε ${lesson.fixed(Math.min(...radii))} to ${lesson.fixed(Math.max(...radii))}, and there PGD fools even one network `
        + `in ${alone} of ${all.reduce((sum, row) => sum + row.shown, 0)} attacks, both in ${both}`,
    });
  }

  function inWords(revealed) {
    const each = stored.corners.map((corner, number) => {
      const rows = stored.rows.filter((row) => row.corner === corner);
      const more = revealed ? `, beta ${betaText(mean(rows, "beta"))}, transfer ${percent(share(rows))}` : "";
      return `${LETTERS[number]}, ${corner}: cosines from ${range(mean(rows, "lowest"), mean(rows, "highest"))}${more}`;
    });
    return `Means of ten seeds. ${each.join(". ")}. ${lesson.pairs.length} trained here.`;
  }

  lesson.cards[CARD] = {
    draw() {
      if (!asked) load();
      draw();
    },
  };
})();
