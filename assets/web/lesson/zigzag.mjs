// The zigzag, exact: F says class 1 where y > z(x), G where y > -z(x). z is a triangle wave of slope 1 and -1 through the origin;
// `tooth` is its height from valley to tip, and so is each flank's width.
import * as drawing from "./drawing.mjs";

const SEED = 1, POINTS = 120; // half of each class
const NEAR = 0.05, FAR = 0.25, WIDE = 1.15; // how far they are from the axis y = 0, and along it from the origin
const FEW = [0.01, 0.1, 0.15, 0.2, 0.3, 0.45]; // the tooth sizes that the text names
const STRIP = {from: 0.01, to: 0.5, step: 0.01}; // those of the chart, which are the slider's

// mulberry32: the same points in every browser.
function numbers(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

const next = numbers(SEED);
const points = Array.from({length: POINTS}, (_, i) => {
  const label = i % 2, x = WIDE * (2 * next() - 1), away = NEAR + (FAR - NEAR) * next();
  return {x, y: label ? away : -away, label};
});

// --- the two models ---

// Where x stands in its period of two flanks: 0 in a valley, tooth at a tip.
const phase = (x, tooth) => x + tooth / 2 - 2 * tooth * Math.floor((x + tooth / 2) / (2 * tooth));
const wave = (x, tooth) => tooth / 2 - Math.abs(phase(x, tooth) - tooth);
const slope = (x, tooth) => (phase(x, tooth) < tooth ? 1 : -1);
const models = {F: 1, G: -1}; // y > sign * z(x)
const margin = (sign, {x, y}, tooth) => y - sign * wave(x, tooth);
const gradient = (sign, {x}, tooth) => [-sign * slope(x, tooth), 1];
const isRight = (sign, p, label, tooth) => margin(sign, p, tooth) > 0 === (label === 1);

const dot = (a, b) => a[0] * b[0] + a[1] * b[1];
const norm = (a) => Math.sqrt(dot(a, a));
const absCos = (p, tooth) => {
  const [f, g] = [gradient(models.F, p, tooth), gradient(models.G, p, tooth)];
  return Math.abs(dot(f, g)) / (norm(f) * norm(g));
};

// The point of the L2 ball around (x, y) where F's margin, counted for the point's class, is lowest. For class 1, u along the
// axis, the ball's edge is sqrt(eps² - u²) below, so that h(u) = -sqrt(eps² - u²) - z(x + u) is to be least. z rises by |u| at
// most, and by just that up the flank to the nearest tip: h >= -sqrt(eps² - u²) - |u| - z(x), which falls until |u| is
// eps / sqrt(2), the gradient's own step. If the tip is nearer than that, it is best: beyond it neither part of h gets lower.
// Class 0 is the mirror image.
function attack({x, y, label}, tooth, eps) {
  const side = label ? 1 : -1, first = (side * tooth) / 2; // a tip of side * z; the others are 2 teeth apart
  const tip = first + 2 * tooth * Math.round((x - first) / (2 * tooth)) - x, far = eps / Math.SQRT2;
  const u = Math.max(-far, Math.min(far, tip));
  return {x: x + u, y: y - side * Math.sqrt(eps * eps - u * u)};
}

// --- what is measured ---

let lows = []; // of 95 % intervals, [n][k]: the server's
const interval = (k, n) => [lows[n][k], 1 - lows[n][n - k]];

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

// At a tip there are two gradients: both are asked, a hair on either side, and the larger |cos| counts.
const cosAround = (p, tooth) => Math.max(...[-1, 1].map((side) => absCos({x: p.x + side * 1e-6 * tooth, y: p.y}, tooth)));

// Definition 6, as a share of the n points that both get right and whose attack fools F.
function transfer(tooth, eps) {
  const attacked = points.map((p) => attack(p, tooth, eps));
  const fate = points.map((p, i) => {
    if (!Object.values(models).every((sign) => isRight(sign, p, p.label, tooth))) return "wrong before";
    if (isRight(models.F, attacked[i], p.label, tooth)) return "right after";
    return isRight(models.G, attacked[i], p.label, tooth) ? "F" : "both";
  });
  const both = fate.filter((one) => one === "both").length, n = both + fate.filter((one) => one === "F").length;
  return {attacked, fate, both, n, share: n ? both / n : null, interval: interval(both, n)};
}

// From the middle of a flank of F to that of the next: any model with these two gradients has at least this beta.
function leastBeta(tooth) {
  const [a, b] = [{x: 0, y: 0}, {x: tooth, y: 0}], [from, to] = [a, b].map((p) => gradient(models.F, p, tooth));
  const jump = norm([to[0] - from[0], to[1] - from[1]]);
  return {jump, beta: jump / (b.x - a.x)};
}

function measure({tooth, eps}) {
  const measured = {tooth, eps, seed: SEED, points, ...transfer(tooth, eps), ...leastBeta(tooth)};
  const [before, after] = [points.map((p) => absCos(p, tooth)), measured.attacked.map((p) => cosAround(p, tooth))];
  measured.cos = {points: mean(before), attacked: mean(after)};
  measured.norm = Math.max(...points.flatMap((p) => Object.values(models).map((sign) => norm(gradient(sign, p, tooth)))));
  return measured;
}

let strip = {eps: null, shares: []};
function stripOf(eps) {
  if (strip.eps !== eps) {
    const steps = Math.round((STRIP.to - STRIP.from) / STRIP.step);
    const teeth = Array.from({length: steps + 1}, (_, k) => Number((STRIP.from + k * STRIP.step).toFixed(2)));
    strip = {eps, shares: teeth.map((tooth) => {
      const {share, n, both, interval} = transfer(tooth, eps), cos = mean(points.map((p) => absCos(p, tooth)));
      return {tooth, share, n, both, interval, cos};
    })};
  }
  return strip.shares;
}

// --- the pictures ---

const {path} = drawing;
const lines = (pen, colour, width, pairs) => path(pen, colour, width, () => pairs.forEach(([from, to]) => {
  pen.moveTo(...from);
  pen.lineTo(...to);
}));

// The corners of a boundary between two x.
function corners(sign, tooth, from, to) {
  const corners = [[from, sign * wave(from, tooth)]];
  for (let k = Math.ceil(from / tooth - 0.5); (k + 0.5) * tooth < to; k++) {
    corners.push([(k + 0.5) * tooth, (sign * (k % 2 ? -1 : 1) * tooth) / 2]);
  }
  return [...corners, [to, sign * wave(to, tooth)]];
}

function boundaries({pen, ink, second}, tooth, from, to, at, width) {
  [["G", second, [9, 6]], ["F", ink, []]].forEach(([name, colour, dash]) => {
    pen.setLineDash(dash);
    path(pen, colour, width, () => corners(models[name], tooth, from, to).forEach(([x, y]) => pen.lineTo(...at(x, y))));
  });
  pen.setLineDash([]);
}

// Each point's way under the attack; at its end a cross where it has fooled both, a ring where F only.
function attacks({pen, em, ink, faint, hit, paper}, {attacked, fate}, at) {
  const r = 0.24 * em, place = ({x, y}) => at(x, y);
  const of = (kind) => attacked.flatMap((p, i) => (fate[i] === kind ? [[place(points[i]), place(p)]] : []));
  const ways = (colour, pairs, alpha) => {
    pen.globalAlpha = alpha;
    lines(pen, colour, 1.2, pairs);
    pen.globalAlpha = 1;
  };
  const [both, only] = [of("both"), of("F")];
  ways(faint, of("right after"), 0.45);
  ways(ink, only, 0.6);
  ways(hit, both, 0.75);
  path(pen, ink, 1.6, () => only.forEach(([, end]) => drawing.ring(pen, end, r)));
  pen.fillStyle = paper;
  pen.fill();
  path(pen, hit, 2.2, () => both.forEach(([, end]) => drawing.cross(pen, end, r)));
}

// Class 0 as circles, class 1 as squares, in the explorer's colours.
function dots({pen, em, ink}, at, fate) {
  const r = 0.24 * em;
  ["#56b4e9", "#e69f00"].forEach((colour, label) => [false, true].forEach((out) => {
    Object.assign(pen, {fillStyle: colour, globalAlpha: out ? 0.35 : 1});
    path(pen, ink, 0.8, () => points.forEach((p, i) => {
      if (p.label !== label || (fate?.[i] === "wrong before") !== out) return;
      const [x, y] = at(p.x, p.y);
      if (label) pen.rect(x - r, y - r, 2 * r, 2 * r); else drawing.ring(pen, [x, y], r);
    }));
    pen.fill();
    pen.globalAlpha = 1;
  }));
}

function plane(canvas, measured, revealed) {
  const sheet = drawing.sheet(canvas, ["ink", "faint", "paper", "second", "hit"]), {pen, width, height, em} = sheet;
  const unit = Math.min(width / (2 * WIDE + 0.1), height / 0.98), at = (x, y) => [width / 2 + unit * x, height / 2 - unit * y];
  const half = width / unit / 2;
  if (revealed) attacks(sheet, measured, at);
  boundaries(sheet, measured.tooth, -half, half, at, 2);
  dots(sheet, at, revealed ? measured.fate : null);
  drawing.words(sheet, "class 1 above", 0.5 * em, 0.9 * em);
  drawing.words(sheet, "class 0 below", 0.5 * em, height - 0.9 * em);
  const bar = measured.eps * unit, [x, y] = [width - 0.8 * em, height - 0.9 * em];
  lines(pen, sheet.ink, 2, [[[x, y - 4], [x, y + 4]], [[x, y], [x - bar, y]], [[x - bar, y - 4], [x - bar, y + 4]]]);
  drawing.words(sheet, "ε", x - bar / 2, y - 0.75 * em, {align: "center"});
  return unit;
}

// The same boundaries, magnified until a tooth is as large as ever: the gradients are at right angles.
function zoom(canvas, {tooth}, planeUnit) {
  const sheet = drawing.sheet(canvas, ["ink", "faint", "paper", "second"]), {width, height, em} = sheet;
  const unit = height / (1.4 * tooth), half = width / unit / 2, at = (x, y) => [width / 2 + unit * x, 0.55 * height - unit * y];
  boundaries(sheet, tooth, -half, half, at, 2.5);
  for (const [name, colour] of [["F", sheet.ink], ["G", sheet.second]]) {
    const [a, b] = gradient(models[name], {x: 0, y: 0}, tooth), reach = 0.35 * tooth, [x, y] = at(reach * a, reach * b);
    drawing.arrow(sheet, at(0, 0), [x, y], colour, 3);
    drawing.words(sheet, `∇${name}`, x + 1.2 * a * em, y, {align: "center", bold: true, colour});
  }
  const times = unit / planeUnit;
  drawing.words(sheet, `magnified ${drawing.fixed(times, times < 10 ? 1 : 0)} times`, 0.4 * em, height - 0.7 * em, {size: 0.8});
}

// Transfer over tooth size, and under it |cos|.
function chart(canvas, measured, shares) {
  const sheet = drawing.sheet(canvas, ["ink", "faint", "paper", "hit", "line", "mark"]), {pen, width, height, em} = sheet;
  const [left, right, up, down] = [2.4 * em, width - 0.8 * em, 1.5 * em, height - 1.9 * em];
  const at = (tooth, share) => [left + ((right - left) * tooth) / STRIP.to, down - (down - up) * share];
  const small = (text, x, y, align = "center") => drawing.words(sheet, text, x, y, {size: 0.75, align, colour: sheet.faint});
  lines(pen, sheet.line, 1, [0, 0.5, 1].map((share) => [at(0, share), at(STRIP.to, share)]));
  ["0", "0.5", "1"].forEach((text, i) => small(text, left - 0.4 * em, at(0, i / 2)[1], "right"));
  [0, 0.1, 0.2, 0.3, 0.4, 0.5].forEach((tooth) => small(String(tooth), at(tooth, 0)[0], down + 0.65 * em));
  small("tooth height", (left + right) / 2, height - 0.5 * em);
  const eligible = shares.filter(({n}) => n);
  Object.assign(pen, {fillStyle: sheet.hit, globalAlpha: 0.18});
  pen.beginPath();
  eligible.forEach(({tooth, interval}) => pen.lineTo(...at(tooth, interval[1])));
  [...eligible].reverse().forEach(({tooth, interval}) => pen.lineTo(...at(tooth, interval[0])));
  pen.fill();
  pen.globalAlpha = 1;
  path(pen, sheet.hit, 3, () => eligible.forEach(({tooth, share}) => pen.lineTo(...at(tooth, share))));
  pen.setLineDash([7, 5]);
  path(pen, sheet.ink, 2.5, () => shares.forEach(({tooth, cos}) => pen.lineTo(...at(tooth, cos))));
  pen.setLineDash([2, 3]);
  lines(pen, sheet.mark, 2, [[at(measured.tooth, 0), at(measured.tooth, 1)]]);
  pen.setLineDash([]);
  if (measured.n) path(pen, sheet.mark, 3, () => drawing.ring(pen, at(measured.tooth, measured.share), 0.35 * em));
  drawing.words(sheet, "transfer from F to G", left + 0.4 * em, up - 0.75 * em, {size: 0.85, bold: true, colour: sheet.hit});
  drawing.words(sheet, "|cos| of the gradients", left + 0.4 * em, down - 0.75 * em, {size: 0.85, bold: true});
}

// --- the words ---

const share = ({share: value}) => (value === null ? "none" : drawing.fixed(value));
const between = ({interval}) => interval.map((end) => drawing.fixed(end)).join(" to ");
const few = (shares) => shares.filter(({tooth}) => FEW.includes(tooth));

function say(measured, shares, write) {
  write({
    share: share(measured),
    counts: `transfer: ${measured.both} of the ${measured.n} that fool F (95 % interval ${between(measured)})`,
    cos: drawing.fixed(measured.cos.points),
    cosAfter: `mean |cos| at the ${POINTS} points; ${drawing.fixed(measured.cos.attacked)} where the attack has led`,
    norm: drawing.fixed(measured.norm),
    beta: `≥ ${measured.beta < 20 ? drawing.fixed(measured.beta, 1) : drawing.fixed(measured.beta, 0)}`,
    betaHow: `β: the gradient changes by ${drawing.fixed(measured.jump, 1)} over ${measured.tooth}, from flank to flank`,
    few: few(shares).map((one) => `${one.tooth}: ${share(one)} (${between(one)}, n = ${one.n})`).join(" · "),
    reach: drawing.fixed(measured.eps),
  });
}

function inWords(measured, revealed) {
  const size = `${measured.tooth} high, that is ${drawing.fixed(measured.tooth / measured.eps)} ε`;
  const seen = `Two mirrored zigzag boundaries with teeth ${size}, and ${POINTS} points of two classes.`;
  if (!revealed) return seen;
  return `${seen} The attack on F fools F at ${measured.n} points that both had right, and G too at ${measured.both} of them.`;
}

export function draw(section, state, revealed, write) {
  const canvas = (name) => section.querySelector(`canvas.${name}`);
  if (!lows.length) lows = JSON.parse(canvas("strip").dataset.intervals);
  const measured = measure(state), shares = stripOf(state.eps);
  write({ratio: `= ${drawing.fixed(state.tooth / state.eps)} ε`});
  canvas("plane").setAttribute("aria-label", inWords(measured, revealed));
  zoom(canvas("zoom"), measured, plane(canvas("plane"), measured, revealed));
  if (!revealed) return {...measured, strip: shares};
  say(measured, shares, write);
  const curve = few(shares).map((one) => `${share(one)} at ${one.tooth}`).join(", ");
  const cos = `|cos| is at most ${drawing.fixed(Math.max(...shares.map((one) => one.cos)))}`;
  canvas("strip").setAttribute("aria-label", `Transfer over tooth height at ε ${state.eps}: ${curve}. ${cos}.`);
  chart(canvas("strip"), measured, shares);
  return {...measured, strip: shares};
}
