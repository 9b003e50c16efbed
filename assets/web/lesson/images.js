// Real images: attacks on the four runs, and the picture of what they find. Robust accuracies are drawn once they are revealed.
"use strict";

(() => {
  const found = {}; // by run: what the machine has told of it, under the settings in `under`
  const under = {}; // by run: settings as text
  let active = ""; // what is being followed
  const section = () => document.getElementById("card-images");
  const rows = () => [...section().querySelectorAll("tr[data-run]")];
  const settings = ({eps, pairs, n, steps, seed}) => ({eps, pairs, n, steps, seed});

  function draw(state) {
    const text = JSON.stringify(settings(state));
    const wanted = lesson.revealed() ? rows().map((row) => row.dataset.run) : state.attacked.split(",");
    for (const {dataset: {run}} of rows()) {
      if (!wanted.includes(run) || lesson.missing(run) || under[run] === text) continue;
      under[run] = text;
      found[run] = {};
    }
    paint();
    next();
  }

  // One run after the other, so that the first is there soon.
  function next() {
    const run = rows().map((row) => row.dataset.run).find((one) => one in under && !found[one].done), asked = under[run];
    if (!run || active === `${run} ${asked}`) return;
    active = `${run} ${asked}`;
    lesson.follow("images", "attack", {...JSON.parse(asked), run}, (told) => {
      found[run] = told;
      paint();
      if (told.done) next();
    });
  }

  function left() {
    active = ""; // what is not done is asked again
  }

  // --- what is on the screen -------------------------------------------------------------------------------------------

  function paint() {
    const locked = Number(lesson.kept.lock) === 1;
    for (const button of section().querySelectorAll("[data-act]")) {
      const run = button.dataset.act;
      button.disabled = locked || (run !== "all" && Boolean(lesson.missing(run)));
      if (run !== "all") button.setAttribute("aria-pressed", String(run in under));
    }
    for (const row of rows()) fillRow(row);
    const told = Object.values(found).find((one) => one.of), notices = Object.values(found).map((one) => one.notice).filter(Boolean);
    lesson.put(section().querySelector(".of"), told ? `${told.of}.` : "");
    if (notices.length) lesson.say(notices[0]);
    chart(section().querySelector(".stage > canvas"));
  }

  function fillRow(row) {
    const {run, colour, mark} = row.dataset, told = found[run];
    const [pen, width, height] = lesson.canvas(row.querySelector("canvas"));
    lesson.mark(pen, mark, width / 2, height / 2, height * 0.4, colour);
    for (const cell of row.querySelectorAll("[data-share]")) {
      const what = cell.dataset.share, share = told && told[what];
      const none = told?.done && what === "transfer" ? "no image fooled a member" : "";
      if (share) lesson.bar(cell, share, colour);
      else lesson.put(cell, lesson.missing(run) || told?.wrong || none || (told ? "..." : "not attacked yet"));
    }
  }

  // x: transfer, y: robust accuracy. Before they are revealed points lie on the axis: the class is to say how far they rise.
  function chart(canvas) {
    const [pen, width, height] = lesson.canvas(canvas), [ink, faint, line] = ["ink", "faint", "line"].map(lesson.colour);
    const text = Math.max(11, Math.min(20, height / 20, width / 32)), revealed = lesson.revealed();
    const frame = {left: 3.4 * text, right: width - 1.5 * text, top: text, bottom: height - 2.9 * text};
    const x = (share) => frame.left + share * (frame.right - frame.left), y = (share) => frame.bottom - share * (frame.bottom - frame.top);
    const write = (words, at, up, align, colour = faint, weight = "") => {
      Object.assign(pen, {font: `${weight} ${text}px system-ui, sans-serif`, textAlign: align, textBaseline: "middle", fillStyle: colour});
      pen.fillText(words, at, up);
    };
    pen.strokeStyle = line;
    pen.lineWidth = 1;
    for (const tick of [0, 0.25, 0.5, 0.75, 1]) {
      pen.beginPath();
      pen.moveTo(x(tick), frame.top);
      pen.lineTo(x(tick), frame.bottom);
      pen.moveTo(frame.left, y(tick));
      pen.lineTo(frame.right, y(tick));
      pen.stroke();
      write(`${100 * tick}`, x(tick), frame.bottom + 0.8 * text, "center");
      write(`${100 * tick}`, frame.left - 0.4 * text, y(tick), "right");
    }
    write("transfer between members, %", (frame.left + frame.right) / 2, frame.bottom + 2.1 * text, "center", ink);
    lesson.upwards(pen, 0.9 * text, (frame.top + frame.bottom) / 2, () => write("whole ensemble right, %", 0, 0, "center", ink));
    const corners = [["robust, members apart", 0.02, 0.94], ["robust, members fall together", 0.98, 0.94], ["falls, members apart", 0.02, 0.32],
      ["falls, members fall together", 0.98, 0.32]];
    if (width > 34 * text) for (const [words, at, up] of corners) write(words, x(at), y(up), at < 0.5 ? "left" : "right");
    const said = [], names = [];
    for (const {dataset: {run, name, colour, mark}} of rows()) {
      const {transfer, robust} = found[run] || {};
      if (!transfer) continue;
      const up = revealed && robust ? y(robust.share) : frame.bottom;
      Object.assign(pen, {strokeStyle: colour, lineWidth: 2.5});
      pen.beginPath();
      pen.moveTo(x(transfer.low), up);
      pen.lineTo(x(transfer.high), up);
      if (revealed && robust) {
        pen.moveTo(x(transfer.share), y(robust.low));
        pen.lineTo(x(transfer.share), y(robust.high));
      }
      pen.stroke();
      lesson.mark(pen, mark, x(transfer.share), up, text * 0.55, colour);
      names.push({words: revealed && robust ? name : `${name} ?`, at: x(transfer.share), up: up - 0.9 * text});
      said.push(`${name}: transfer ${percent(transfer)}${revealed && robust ? `, right ${percent(robust)}` : ""}`);
    }
    // Names stand beside their points, a line higher where one would lie on another.
    pen.font = `bold ${text}px system-ui, sans-serif`;
    names.sort((a, b) => a.at - b.at).forEach((name, k) => {
      const length = pen.measureText(name.words).width, leftwards = name.at + text + length > width;
      name.from = leftwards ? name.at - 0.9 * text - length : name.at + 0.9 * text;
      const hits = (other) => name.from < other.to + 0.4 * text && other.from < name.from + length && Math.abs(other.up - name.up) < 1.1 * text;
      while (names.slice(0, k).some(hits)) name.up -= 0.5 * text;
      name.to = name.from + length;
      write(name.words, name.from, name.up, "left", ink, "bold");
    });
    canvas.setAttribute("aria-label", said.length
      ? `transfer between members to the right${revealed ? ", what the whole ensemble has right upwards" : ""}. ${said.join("; ")}`
      : "nothing has been attacked yet");
  }

  const percent = ({share}) => `${Math.round(100 * share)} %`;

  document.addEventListener("click", ({target}) => {
    const button = target.closest("#card-images [data-act]");
    if (!button) return;
    const all = rows().map((row) => row.dataset.run), before = String(lesson.get("attacked")).split(",");
    const chosen = all.filter((run) => button.dataset.act === "all" || run === button.dataset.act || before.includes(run));
    lesson.set({attacked: chosen.join(",")});
  });

  lesson.cards.images = {draw, left, found};
})();
