// In every page that tests/bench/explore.py opens, before the page's own scripts: takes times inside the page, by its own signals.
// A time runs from the event's own time stamp to the second animation frame after a signal: by then the first has been painted.
"use strict";

window.stopwatch = (() => {
  const PATIENCE = 120000; // ms
  let watch = null; // {start, event, marks, laps, before, resolve, reject}

  const text = (id) => (document.getElementById(id) || {}).textContent || "";
  const panels = () => trs.panels().length;
  const lines = () => JSON.stringify(trs.walks && trs.walks.trails);

  // What has to be seen for a mark. signal: who spoke.
  const reached = {
    readout: (signal) => signal === "readout",
    painted: (signal) => signal === "paint",
    panels: (signal, before) => signal === "marks" && panels() !== before.panels,
    path: (signal, before) => signal === "marks" && lines() !== before.lines,
    paths: (signal, before) => signal === "marks" && trs.walks.words !== before.said, // which say the radius
    cells: (signal) => signal === "matrix" && /\/[1-9]/.test(text("matrix")),
    pairs: (signal, before) => signal === "matrix words" && text("transfer-words") !== before.words && text("transfer-words").includes("Transfer over all pairs"),
    everything: (signal, before) => signal === "matrix words" && text("transfer-words") !== before.words && text("transfer-words").includes("Ensemble robust accuracy"),
  };
  for (const level of [0, 1, 2, 3]) reached[`level ${level}`] = (signal) => signal === `level ${level}`;

  function signal(name) {
    if (!watch || watch.start === null) return;
    for (const mark of watch.marks) {
      if (watch.seen.has(mark) || !reached[mark](name, watch.before)) continue;
      watch.seen.add(mark);
      const mine = watch;
      requestAnimationFrame(() => requestAnimationFrame(() => stamp(mine, mark)));
    }
  }

  function stamp(mine, mark) {
    const now = performance.now();
    mine.laps[mark] = [now - mine.start, waited(mine.start, now)];
    if (Object.keys(mine.laps).length === mine.marks.length) mine.resolve(mine.marks.map((name) => mine.laps[name]));
  }

  // Milliseconds between the two moments in which one request or more was under way.
  function waited(start, end) {
    const spans = performance.getEntriesByType("resource").map((entry) => [Math.max(entry.startTime, start), Math.min(entry.responseEnd, end)]);
    let total = 0, until = start;
    for (const [from, to] of spans.filter(([from, to]) => to > from).sort(([one], [other]) => one - other)) {
      total += Math.max(0, to - Math.max(from, until));
      until = Math.max(until, to);
    }
    return total;
  }

  function begin(start, marks, before) {
    watch = {start, marks, before, seen: new Set(), laps: {}};
    const mine = watch;
    const done = new Promise((resolve, reject) => {
      mine.resolve = resolve;
      setTimeout(() => reject(new Error(`not seen: ${marks.filter((mark) => !(mark in mine.laps)).join(", ")}`)), PATIENCE);
    });
    done.catch(() => 0); // it is for who asks
    return done;
  }

  // Listen to what the page shows by now; once for every thing.
  function listen() {
    const ids = {readout: "readout", matrix: "matrix", "transfer-words": "matrix words"};
    for (const [id, name] of Object.entries(ids)) {
      const box = document.getElementById(id);
      if (!box || box.listenedTo) continue;
      box.listenedTo = new MutationObserver(() => signal(name));
      box.listenedTo.observe(box, {childList: true, characterData: true, subtree: true}); // not attributes: marks of what is chosen
    }
    if (!trs.paint.listenedTo) {
      const paint = trs.paint;
      trs.paint = () => (paint(), signal("paint"));
      trs.paint.listenedTo = true;
    }
  }

  document.addEventListener("trs:marked", () => signal("marks"));
  document.addEventListener("trs:painted", ({detail}) => signal(`level ${detail.level}`));

  const own = {
    // From the start of the navigation to the first and to the finest picture.
    opened: begin(0, ["level 0", "level 3"], {}),

    // From the next such event.
    arm(event, marks) {
      listen();
      performance.clearResourceTimings();
      own.done = begin(null, marks, {panels: panels(), lines: lines(), words: text("transfer-words"), said: trs.walks && trs.walks.words});
      const mine = watch;
      addEventListener(event, ({timeStamp}) => (mine.start = timeStamp), {capture: true, once: true});
    },

    // Until nothing is being computed: neither slice nor matrix.
    settled: () => new Promise((resolve, reject) => {
      const since = performance.now();
      const look = setInterval(() => {
        const quiet = window.trs && trs.grid && trs.grid.level === 3 && text("transfer-words") && !text("transfer-words").endsWith("...");
        if (!quiet && performance.now() - since < PATIENCE) return;
        clearInterval(look);
        quiet ? resolve() : reject(new Error("it never stops computing"));
      }, 100);
    }),
  };
  return own;
})();
