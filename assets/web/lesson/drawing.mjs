// What the cards draw with that are drawn in the browser.

// A number as text; never "-0.00".
export function fixed(number, digits = 2) {
  const text = number.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : text;
}

// A canvas with as many pixels as the screen has for it; drawing is in CSS pixels. Gives its context, width and height.
function canvas(element) {
  const {width, height} = element.getBoundingClientRect(), ratio = devicePixelRatio || 1;
  const [w, h] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  if (element.width !== w || element.height !== h) Object.assign(element, {width: w, height: h});
  const pen = element.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  return [pen, width, height];
}

// What a drawing needs of its canvas: its context and size, the size of its text, and the colours of the theme.
export function sheet(element, names) {
  const [pen, width, height] = canvas(element);
  const style = getComputedStyle(element), colours = names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]);
  pen.lineJoin = "round";
  return {pen, width, height, em: parseFloat(style.fontSize), ...Object.fromEntries(colours)};
}

// A line, or several, that draw() leads the pen along.
export function path(pen, colour, width, draw) {
  Object.assign(pen, {strokeStyle: colour, lineWidth: width});
  pen.beginPath();
  draw();
  pen.stroke();
}

// A cross or a ring around a point.
export function cross(pen, [x, y], r) {
  [[-1, -1], [-1, 1]].forEach(([a, b]) => {
    pen.moveTo(x + a * r, y + b * r);
    pen.lineTo(x - a * r, y - b * r);
  });
}

export function ring(pen, [x, y], r) {
  pen.moveTo(x + r, y);
  pen.arc(x, y, r, 0, 7);
}

// Words with the paper's colour behind each letter, so that lines below don't cut them.
export function words({pen, em, paper, ink}, text, x, y, {size = 0.9, align = "left", colour = ink, bold = false} = {}) {
  pen.font = `${bold ? "700 " : ""}${size * em}px system-ui, sans-serif`;
  Object.assign(pen, {textAlign: align, textBaseline: "middle", lineWidth: 4, strokeStyle: paper, fillStyle: colour});
  pen.strokeText(text, x, y);
  pen.fillText(text, x, y);
}

export function arrow({pen, em}, [x0, y0], [x1, y1], colour, width = 2.5) {
  const way = Math.atan2(y1 - y0, x1 - x0), length = Math.hypot(x1 - x0, y1 - y0), head = Math.min(0.65 * em, length / 2);
  const back = (turn) => [x1 - head * Math.cos(way + turn), y1 - head * Math.sin(way + turn)];
  path(pen, colour, width, () => {
    pen.moveTo(x0, y0);
    pen.lineTo(x1 - 0.8 * head * Math.cos(way), y1 - 0.8 * head * Math.sin(way));
  });
  pen.fillStyle = colour;
  pen.beginPath();
  pen.moveTo(x1, y1);
  pen.lineTo(...back(0.45));
  pen.lineTo(...back(-0.45));
  pen.fill();
}
