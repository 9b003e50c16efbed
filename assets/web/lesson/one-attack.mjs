// Two straight boundaries and the attack on one of them. Distances are those of the plane; x is its origin.
import * as drawing from "./drawing.mjs";

const TO_F = 0.4; // from x to F's boundary: less than any step, so that the attack on F always succeeds
const VIEW = {left: -1.15, right: 1.95, up: 1.25};
const EQUAL = 1e-9; // on a boundary, but for rounding: still right

// A model that is right about p where toward . p < far: `toward` is the shortest way to where it is wrong.
const model = (angle, far) => ({toward: [Math.cos(angle), Math.sin(angle)], far});
const dot = (a, b) => a[0] * b[0] + a[1] * b[1];
const wrong = ({toward, far}, p) => dot(toward, p) > far + EQUAL;

// The attack on F in L2: a step of length eps along the gradient of F's loss, which is against that of its margin far - toward . p.
function measure({angle, distance, eps}) {
  const F = model(0, TO_F), G = model((angle * Math.PI) / 180, distance), x = [0, 0];
  const attacked = F.toward.map((part) => eps * part);
  const told = {x, attacked, F, G, cos: dot(F.toward, G.toward), nearer: dot(G.toward, attacked)};
  const before = [wrong(F, x), wrong(G, x)], after = [wrong(F, attacked), wrong(G, attacked)];
  return {...told, before, after, transfers: !before[0] && !before[1] && after[0] && after[1]};
}

// The side on which a model is wrong: tinted, and hatched along its boundary's direction turned by 45 degrees.
function wrongSide({pen}, {toward, far}, at, colour, dash) {
  const point = (way, side) => at(way * toward[0] - side * toward[1], way * toward[1] + side * toward[0]);
  pen.save();
  pen.beginPath();
  [[far, -9], [far, 9], [9, 9], [9, -9]].forEach(([way, side]) => pen.lineTo(...point(way, side)));
  pen.clip();
  Object.assign(pen, {globalAlpha: 0.08, fillStyle: colour});
  pen.fill();
  pen.globalAlpha = 0.35;
  drawing.path(pen, colour, 1, () => {
    for (let side = -9; side < 9; side += 0.11) {
      pen.moveTo(...point(far, side));
      pen.lineTo(...point(far + 3.5, side + 3.5));
    }
  });
  pen.restore();
  pen.setLineDash(dash);
  drawing.path(pen, colour, 3, () => {
    pen.moveTo(...point(far, -9));
    pen.lineTo(...point(far, 9));
  });
  pen.setLineDash([]);
}

// Where a model's name stands: along its boundary as far as the picture goes, on the wrong side, and not on another name.
function nameOf({width, height, em}, {toward, far}, at, other = [-1e9, 0]) {
  const beside = 2.4 * em * Math.abs(toward[0]) + 0.9 * em * Math.abs(toward[1]) + 3, [right, down] = [toward[0], -toward[1]];
  const inside = ([x, y]) => x > 2.4 * em && x < width - 2.4 * em && y > em && y < height - em;
  const free = ([x, y]) => Math.abs(x - other[0]) > 5 * em || Math.abs(y - other[1]) > 1.4 * em;
  const spots = [1.1, -1.1, 0.95, -0.95, 0.8, -0.8, 0.65, -0.65, 0].map((side) => {
    const [x, y] = at(far * toward[0] - side * toward[1], far * toward[1] + side * toward[0]);
    return [x + beside * right, y + beside * down];
  });
  return spots.find((spot) => inside(spot) && free(spot)) || spots.at(-1);
}

// The gradients of the losses: each points the shortest way to where its model is wrong, which is the attack's way.
function gradients(sheet, {F, G}, at, angle, revealed) {
  const {pen, em, ink, second} = sheet, [x, y] = at(0, 0), reach = 0.33, half = 1.9 * em;
  const tip = ({toward}, length = reach) => at(length * toward[0], length * toward[1]);
  const way = (-angle * Math.PI) / 360;
  drawing.path(pen, sheet.faint, 1.5, () => pen.arc(x, y, half, 0, 2 * way, true));
  drawing.arrow(sheet, [x, y], tip(F), ink, 4);
  drawing.arrow(sheet, [x, y], tip(G), second, 4);
  const aside = angle < 20 ? -em : angle < 50 ? -0.5 * em : 0, [fx, fy] = tip(F), [gx, gy] = tip(G, reach + 0.1);
  drawing.words(sheet, "∇F", fx - 0.2 * em, fy + 0.95 * em, {align: "center", bold: true});
  drawing.words(sheet, "∇G", gx, gy + aside, {align: "center", bold: true, colour: second});
  const beside = [x + 1.75 * half * Math.cos(way), y + 1.75 * half * Math.sin(way)];
  if (angle > 20) drawing.words(sheet, `${angle}°`, ...beside, {align: "center"});
  if (!revealed) drawing.words(sheet, "x", x - 0.9 * em, y + 0.9 * em, {bold: true});
}

// The step, and how far it leads towards G's boundary: its part along G's own shortest way.
function attack(sheet, {attacked, G, nearer, transfers}, at) {
  const {pen, em, hit, second} = sheet, end = at(...attacked), foot = at(nearer * G.toward[0], nearer * G.toward[1]);
  pen.setLineDash([3, 4]);
  drawing.path(pen, second, 2, () => [at(0, 0), foot, end].forEach((point) => pen.lineTo(...point)));
  pen.setLineDash([]);
  drawing.arrow(sheet, at(0, 0), end, hit, 4);
  pen.fillStyle = sheet.paper;
  drawing.path(pen, hit, 3, () => {
    if (transfers) return drawing.cross(pen, end, 0.4 * em);
    drawing.ring(pen, end, 0.4 * em);
    pen.fill();
  });
  const said = transfers ? "fools F and G" : "fools F only";
  drawing.words(sheet, said, end[0] - 0.2 * em, end[1] + 1.3 * em, {bold: true, align: "center"});
}

function paint(canvas, measured, {angle, eps}, revealed) {
  const sheet = drawing.sheet(canvas, ["ink", "faint", "paper", "second", "hit"]), {pen, width, height, em, ink, second} = sheet;
  const unit = Math.min(width / (VIEW.right - VIEW.left), height / (2 * VIEW.up));
  sheet.em = Math.min(em, 0.115 * unit); // on a phone the names would lie on each other
  const middle = (width - unit * (VIEW.right + VIEW.left)) / 2, at = (x, y) => [middle + unit * x, height / 2 - unit * y];
  wrongSide(sheet, measured.F, at, ink, []);
  wrongSide(sheet, measured.G, at, second, [11, 6]);
  if (revealed) {
    pen.setLineDash([2, 5]);
    drawing.path(pen, sheet.faint, 1.5, () => drawing.ring(pen, at(0, 0), eps * unit));
    pen.setLineDash([]);
    drawing.words(sheet, "ε", ...at(-eps * 0.72, -eps * 0.72), {align: "center"});
  }
  if (revealed) attack(sheet, measured, at);
  gradients(sheet, measured, at, angle, revealed);
  pen.fillStyle = ink;
  pen.beginPath();
  drawing.ring(pen, at(0, 0), 0.4 * sheet.em);
  pen.fill();
  const F = nameOf(sheet, measured.F, at), G = nameOf(sheet, measured.G, at, F);
  drawing.words(sheet, "F wrong", ...F, {bold: true, align: "center"});
  drawing.words(sheet, "G wrong", ...G, {bold: true, colour: second, align: "center"});
  return {F, G, em: sheet.em};
}

const verdict = ({transfers}) =>
  transfers ? "Both are wrong: the attack transfers." : "F is wrong, G still right: the attack does not transfer.";

function inWords({angle, distance, eps}, measured, revealed) {
  const sides = `A point x, a straight boundary of F ${TO_F} to its right, and one of G ${distance} away.`;
  const said = `${sides} The gradients of F and G at x are ${angle} degrees apart.`;
  return revealed ? `${said} The attack on F moves x by ${eps} to the right. ${verdict(measured)}` : said;
}

export function draw(section, state, revealed, write) {
  const canvas = section.querySelector("canvas"), measured = measure(state), sign = wrong(measured.G, measured.attacked) ? ">" : "≤";
  write({
    cos: drawing.fixed(measured.cos),
    law: `${drawing.fixed(measured.nearer)} ${sign} ${drawing.fixed(state.distance)}`,
    verdict: verdict(measured),
  });
  canvas.setAttribute("aria-label", inWords(state, measured, revealed));
  return {...measured, names: paint(canvas, measured, state, revealed)};
}
