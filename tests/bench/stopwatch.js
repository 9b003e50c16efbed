// In every page that tests/bench/explore.py opens, before the page's own scripts: takes times inside the page, by its own signals.
// A time runs from the event's own time stamp to the second animation frame after a signal: by then the first has been painted.
"use strict";

window.stopwatch = (() => {
  const PATIENCE = 120000; // ms
  const QUIET = 6; // tenths of a second without a change
  let watch = null; // {start, event, marks, laps, before, resolve, reject}

  const text = (id) => (document.getElementById(id) || {}).textContent || "";
  const graph = () => document.querySelector("#slices .js-plotly-plot");
  const view = () => window.explorerView || {};
  const about = () => JSON.stringify(view().attack?.about);
  const there = (...selectors) => selectors.every((selector) => document.querySelector(selector));
  const words = (before) => (text("transfer-words") !== before.words ? text("transfer-words") : "");

  // What has to be seen for a mark. signal: who spoke.
  const reached = {
    still: (signal) => signal === "frame" && (document.querySelector("#still img")?.complete || graph()?._fullLayout?.images?.length > 0),
    rooms: (signal) => signal === "frame" && there("#matrix b", "#gallery button", "#angle-words:not(:empty)", "#history-figure .main-svg", "#slices .main-svg image"),
    crosshair: (signal) => signal === "crosshair",
    switched: (signal) => signal === "switched",
    newLines: (signal, before) => signal === "painted" && view().slice?.key !== before.key,
    path: (signal, before) => ["painted", "attack"].includes(signal) && about() !== before.attack,
    cells: (signal) => signal === "matrix" && /\/[1-9]/.test(text("matrix")),
    pairs: (signal, before) => signal === "matrix words" && words(before).includes("Transfer over all pairs"),
    everything: (signal, before) => signal === "matrix words" && words(before).includes("Ensemble robust accuracy"),
  };
  // Pixels of a grid: lines follow, see assets/web/at_once.mjs.
  for (const level of [0, 1, 2, 3]) reached[`level ${level}`] = (signal, before) => ["pixels", "painted"].includes(signal) && view().slice?.level >= level && view().slice?.key !== before.key;

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
    const spans = performance.getEntriesByType("resource").filter(({name}) => !name.endsWith("/alive"))
      .map((entry) => [Math.max(entry.startTime, start), Math.min(entry.responseEnd, end)]);
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
    const ids = {crosshair: "crosshair", matrix: "matrix", "transfer-words": "matrix words"};
    for (const [id, name] of Object.entries(ids)) {
      const box = document.getElementById(id);
      if (!box || box.listenedTo) continue;
      box.listenedTo = new MutationObserver(() => signal(name));
      box.listenedTo.observe(box, {childList: true, characterData: true, subtree: true}); // not attributes: marks of what is chosen
    }
  }

  for (const what of ["pixels", "painted", "attack", "switched"]) document.addEventListener(`explorer:${what}`, () => signal(what));

  // What nobody speaks of while the page is opened is looked for in every frame.
  function look() {
    signal("frame");
    if (!["still", "rooms"].every((mark) => watch.seen.has(mark) || !watch.marks.includes(mark))) requestAnimationFrame(look);
  }

  const own = {
    // From the start of the navigation to what stands there before plotly, the first figure, every section, the finest grid.
    opened: begin(0, ["still", "level 0", "rooms", "level 3"], {}),

    // From the next such event.
    arm(event, marks) {
      listen();
      performance.clearResourceTimings();
      own.done = begin(null, marks, {key: view().slice?.key, attack: about(), words: text("transfer-words")});
      const mine = watch;
      addEventListener(event, ({timeStamp}) => (mine.start = timeStamp), {capture: true, once: true});
    },

    // Until nothing is being computed for a while: neither slice nor matrix.
    settled: () => new Promise((resolve, reject) => {
      const since = performance.now();
      let quiet = 0;
      const look = setInterval(() => {
        const {slice} = view(), words = text("transfer-words");
        quiet = slice?.layers?.arrows && words && !words.endsWith("...") ? quiet + 1 : 0;
        if (quiet < QUIET && performance.now() - since < PATIENCE) return;
        clearInterval(look);
        quiet ? resolve() : reject(new Error("it never stops computing"));
      }, 100);
    }),
  };
  requestAnimationFrame(look);
  return own;
})();
