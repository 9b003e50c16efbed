// The baseline: accuracy of both ensembles over eps under three attacks, and a slice through each along its own gradient.
"use strict";

(() => {
  const DASHES = {fgsm: [2, 4], pgd: [9, 5], mora: []}, NAMES = {fgsm: "FGSM", pgd: "PGD", mora: "MORA"};
  const found = {}, slices = {}, under = {};
  const section = () => document.getElementById("card-baseline");
  const rows = () => [...section().querySelectorAll("tr[data-run]")];
  const figures = () => [...section().querySelectorAll("[data-slice]")];
  const shown = () => (lesson.revealed() ? ["fgsm", "pgd", "mora"] : ["fgsm"]);

  function draw({eps, image, n, steps, seed}) {
    for (const {dataset: {run}} of rows()) {
      if (lesson.missing(run)) continue;
      ask(run, "curves", {n, steps, seed}, found);
      if (lesson.revealed()) ask(run, "slice", {image, eps, steps, seed}, slices);
    }
    paint();
  }

  function ask(run, what, asked, kept) {
    const text = JSON.stringify(asked), place = `${what} ${run}`;
    if (under[place] === text) return;
    under[place] = text;
    if (what === "curves") kept[run] = {};
    lesson.follow(place, what, {...asked, run}, (told) => {
      kept[run] = what === "slice" ? {...told, asked, done: true, image: load(told.picture)} : told;
      paint();
    });
  }

  function load(picture) {
    if (!picture) return null;
    const image = new Image();
    image.onload = paint;
    image.src = picture.uri;
    return image;
  }

  function left() {
    for (const place of Object.keys(under)) {
      const [what, run] = place.split(" ");
      if (!((what === "slice" ? slices : found)[run] || {}).done) delete under[place]; // to be asked again
    }
  }

  // --- curves ----------------------------------------------------------------------------------------------------------

  function paint() {
    const told = Object.values(found), wrong = rows().map(({dataset: {run}}) => lesson.missing(run) || found[run]?.wrong).filter(Boolean);
    const of = told.find((one) => one.of);
    const progress = told.some((one) => one.of && !one.done) ? " Measuring ..." : "";
    lesson.put(section().querySelector(".of"), [...wrong, of ? `${of.of}.${progress}` : ""].join(" "));
    const notice = [...told, ...Object.values(slices)].map((one) => one.notice).find(Boolean);
    if (notice) lesson.say(notice);
    chart(section().querySelector(".curves"));
    if (!lesson.revealed()) return;
    table();
    for (const figure of figures()) drawSlice(figure);
  }

  function points(run, attack) {
    const told = found[run];
    if (!told?.clean) return [];
    return [[0, told.clean], ...told.radii.map((eps, k) => [eps, told[attack][k]])].filter(([, share]) => share);
  }

  function chart(canvas) {
    const [pen, width, height] = lesson.canvas(canvas), [ink, faint, line] = ["ink", "faint", "line"].map(lesson.colour);
    const text = Math.max(10, Math.min(20, height / 14, width / 34)), most = 0.3;
    const frame = {left: 3.4 * text, right: width - 9.4 * text, top: text, bottom: height - 2.7 * text};
    const x = (eps) => frame.left + (eps / most) * (frame.right - frame.left), y = (share) => frame.bottom - share * (frame.bottom - frame.top);
    const write = (words, at, up, align, colour = faint, weight = "") => {
      Object.assign(pen, {font: `${weight} ${text}px system-ui, sans-serif`, textAlign: align, textBaseline: "middle", fillStyle: colour});
      pen.fillText(words, at, up);
    };
    Object.assign(pen, {strokeStyle: line, lineWidth: 1});
    pen.beginPath();
    for (const tick of [0, 0.25, 0.5, 0.75, 1]) {
      pen.moveTo(frame.left, y(tick));
      pen.lineTo(frame.right, y(tick));
      write(`${100 * tick}`, frame.left - 0.4 * text, y(tick), "right");
    }
    for (const eps of [0, 0.1, 0.15, 0.2, 0.3]) {
      pen.moveTo(x(eps), frame.top);
      pen.lineTo(x(eps), frame.bottom);
      write(`${eps}`, x(eps), frame.bottom + 0.8 * text, "center");
    }
    pen.stroke();
    write("eps", (frame.left + frame.right) / 2, frame.bottom + 2 * text, "center", ink);
    lesson.upwards(pen, 0.9 * text, (frame.top + frame.bottom) / 2, () => write("right, %", 0, 0, "center", ink));
    const said = [], ends = [];
    for (const attack of shown()) {
      for (const [place, {dataset: {run, name, colour, mark}}] of rows().entries()) {
        const curve = points(run, attack);
        if (curve.length < 2) continue;
        const aside = (place - 0.5) * 0.4 * text; // so that intervals do not hide each other
        Object.assign(pen, {strokeStyle: colour, lineWidth: 2.5});
        pen.setLineDash(DASHES[attack]);
        pen.beginPath();
        curve.forEach(([eps, {share}], k) => pen[k ? "lineTo" : "moveTo"](x(eps) + aside, y(share)));
        pen.stroke();
        pen.setLineDash([]);
        for (const [eps, share] of curve.slice(1)) {
          Object.assign(pen, {strokeStyle: colour, lineWidth: 1.5});
          pen.beginPath();
          pen.moveTo(x(eps) + aside, y(share.low));
          pen.lineTo(x(eps) + aside, y(share.high));
          pen.stroke();
          lesson.mark(pen, mark, x(eps) + aside, y(share.share), text * 0.3, colour);
        }
        const [eps, share] = curve.at(-1);
        if (eps === most) ends.push({words: `${name} ${NAMES[attack]}`, up: y(share.share)});
        said.push(`${name} ${NAMES[attack]}: ${curve.slice(1).map(([at, one]) => `${percent(one)} at ${at}`).join(", ")}`);
      }
    }
    ends.sort((a, b) => a.up - b.up).forEach((end, k) => (end.up = Math.max(end.up, k ? ends[k - 1].up + 1.05 * text : 0)));
    for (const {words, up} of ends) write(words, frame.right + text, up, "left", ink, "bold");
    canvas.setAttribute("aria-label", said.length ? `right of all images over eps. ${said.join("; ")}` : "nothing has been measured yet");
  }

  const percent = ({share}) => `${Math.round(100 * share)} %`;

  function table() {
    const radii = Object.values(found).find((one) => one.radii)?.radii || [], head = section().querySelector("details thead tr");
    head.replaceChildren(head.firstChild, ...radii.map((eps) => Object.assign(document.createElement("th"), {textContent: eps, scope: "col"})));
    for (const row of rows()) {
      const {run, name} = row.dataset;
      row.replaceChildren(row.firstChild, ...radii.map((_, k) => {
        const cell = document.createElement("td");
        cell.innerText = shown().map((attack) => `${NAMES[attack]} ${found[run]?.[attack]?.[k]?.words || "..."}`).join("\n");
        return cell;
      }));
      row.firstChild.textContent = name;
    }
  }

  // --- slices ----------------------------------------------------------------------------------------------------------

  function drawSlice(figure) {
    const {slice: run} = figure.dataset, told = slices[run], canvas = figure.querySelector("canvas"), name = figure.querySelector("b").textContent;
    const words = figure.querySelector("span");
    if (!told?.picture || !told.image.complete) {
      lesson.put(words, lesson.missing(run) || told?.wrong || "...");
      return;
    }
    const looks = [told.asked.image, told.asked.eps, canvas.clientWidth, lesson.dark(), devicePixelRatio].join();
    if (told.looks === looks) return; // curves that grow are painted often, slices are as they were
    told.looks = looks;
    const [pen, size] = lesson.canvas(canvas), {span, picture, reached: [along, across, off]} = told;
    const at = ([a, b]) => [((a + span) / (2 * span)) * size, size - ((b + span) / (2 * span)) * size];
    const line = (points, colour, width, close) => {
      Object.assign(pen, {strokeStyle: colour, lineWidth: width, lineJoin: "round"});
      pen.beginPath();
      points.forEach((point, k) => pen[k ? "lineTo" : "moveTo"](...at(point)));
      if (close) pen.closePath();
      pen.stroke();
    };
    pen.imageSmoothingEnabled = false;
    pen.drawImage(told.image, 0, 0, size, size);
    line(told.ball, "#000", 1.5, true);
    line(told.trail, "#000", 5);
    line(told.trail, "#fff", 2.5);
    for (const [label, x, y] of picture.labels) write(pen, String(label), x * size, size - y * size, size / 12);
    const fooled = told.seen !== told.y;
    lesson.mark(pen, fooled ? "square" : "circle", ...at(told.trail.at(-1)), size / 55, fooled ? "#fff" : "#000");
    const number = (value) => value.toFixed(1);
    lesson.put(words, `image ${told.asked.image}, a ${told.y}: PGD of eps ${told.asked.eps} goes ${number(along)} along the gradient, ` +
      `${number(Math.abs(across))} across and ${number(off)} out of the picture; seen as ${told.seen}${fooled ? ", fooled" : ""}.`);
    const seen = Object.entries(picture.counts).map(([label, count]) => `${label} on ${Math.round((100 * count) / Object.values(picture.counts).reduce((a, b) => a + b))} %`);
    canvas.setAttribute("aria-label", `${name}, gradient to the right, random direction upwards, ${span} each way: classes ${seen.join(", ")}`);
  }

  function write(pen, text, x, y, height) {
    Object.assign(pen, {font: `bold ${Math.round(height)}px system-ui, sans-serif`, textAlign: "center", textBaseline: "middle", lineJoin: "round"});
    Object.assign(pen, {lineWidth: height / 4, strokeStyle: "rgba(255,255,255,.85)", fillStyle: "black"});
    pen.strokeText(text, x, y);
    pen.fillText(text, x, y);
  }

  lesson.cards.baseline = {draw, left, found, slices};
})();
