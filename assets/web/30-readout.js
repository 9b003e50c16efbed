// The crosshair that all panels share, by mouse, touch or keys, and what every model says at that point.
"use strict";

(() => {
  trs.cross = null; // [a, b]

  function pointAt(event) {
    const frame = event.target.closest && event.target.closest("#panels .frame");
    if (!frame || !trs.scene) return null;
    const box = frame.getBoundingClientRect(), width = trs.scene.high - trs.scene.low;
    return [trs.scene.low + ((event.clientX - box.left) / box.width) * width, trs.scene.high - ((event.clientY - box.top) / box.height) * width];
  }

  function drawCross() {
    const width = trs.scene.high - trs.scene.low;
    for (const frame of document.querySelectorAll("#panels .frame")) {
      const [across, up] = [frame.querySelector(".across"), frame.querySelector(".up")];
      across.hidden = up.hidden = !trs.cross;
      if (!trs.cross) continue;
      across.style.top = `${((trs.scene.high - trs.cross[1]) / width) * 100}%`;
      up.style.left = `${((trs.cross[0] - trs.scene.low) / width) * 100}%`;
    }
  }

  // The crosshair; without one, where the attacks start.
  const here = () => trs.cross || (trs.walks ? trs.walks.start : trs.scene.home);

  function read() {
    const {scene, grid} = trs, box = document.getElementById("readout");
    if (!scene || !grid || !grid.models.length) return;
    const [a, b] = here();
    picture(a, b);
    const n = grid.n, width = scene.high - scene.low;
    const cell = (value) => Math.max(0, Math.min(n - 1, Math.round(((value - scene.low) / width) * (n - 1))));
    const i = cell(b) * n + cell(a), members = scene.models.length - 1;
    const classes = [...Array(scene.classes).keys()];
    const rows = scene.models.map((name, k) => {
      const model = grid.models[k];
      const logits = k < members ? classes.map((c) => grid.logits[(i * members + k) * scene.classes + c].toFixed(1)) : classes.map(() => "");
      return [name, String(model.cls[i]), `${(100 * model.conf[i]).toFixed(1)} %`, model.margin[i].toFixed(2), ...logits];
    });
    const table = trs.table(["model", "class", "confidence", `margin of ${scene.y}`, ...classes.map((c) => `logit ${c}`)], rows);
    table.createCaption().textContent = `at (${a.toFixed(2)}, ${b.toFixed(2)})${trs.cross ? "" : ", where the attack starts"}`;
    box.replaceChildren(table);
  }

  function picture(a, b) {
    const {scene} = trs, canvas = document.getElementById("picture"), [channels, height, width] = scene.shape;
    canvas.hidden = scene.kind === "domain";
    if (canvas.hidden) return;
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    const context = canvas.getContext("2d"), pixels = context.createImageData(width, height), size = width * height;
    for (let i = 0; i < size; i++) {
      for (let c = 0; c < 3; c++) {
        const at = (channels === 3 ? c : 0) * size + i;
        pixels.data[4 * i + c] = 255 * (scene.origin[at] + a * scene.u[at] + b * scene.v[at]); // a clamped array: cut to [0, 255]
      }
      pixels.data[4 * i + 3] = 255;
    }
    context.putImageData(pixels, 0, 0);
  }

  function move(point) {
    trs.cross = point && point.map((value) => Math.max(trs.scene.low, Math.min(trs.scene.high, value)));
    trs.readAgain();
  }

  trs.readAgain = () => {
    if (!trs.scene) return;
    drawCross();
    read();
  };

  const attackFrom = (point) => trs.set({start: point ? point.map((value) => Number(value.toPrecision(4))).join(",") : ""});

  document.addEventListener("pointermove", (event) => {
    const point = pointAt(event);
    if (point) move(point);
  });
  document.addEventListener("click", (event) => {
    const point = pointAt(event);
    if (!point) return;
    move(point);
    attackFrom(point);
  });
  document.addEventListener("keydown", (event) => {
    const steps = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowDown: [0, -1], ArrowUp: [0, 1]}[event.key];
    if (event.target.id !== "slice-box" || !trs.scene) return;
    if (steps) {
      const unit = ((trs.scene.high - trs.scene.low) / 48) * (event.shiftKey ? 4 : 1), from = here();
      move([from[0] + steps[0] * unit, from[1] + steps[1] * unit]);
    } else if (event.key === "Enter" && trs.cross) attackFrom(trs.cross);
    else if (event.key === "Escape") {
      move(null);
      attackFrom(null);
    } else return;
    event.preventDefault();
  });
  document.addEventListener("trs:painted", trs.readAgain);
  document.addEventListener("trs:marked", trs.readAgain);
})();
