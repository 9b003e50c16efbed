// The page's state: one dictionary of fields, mirrored in the address, and what is asked where one of them has changed.
"use strict";

window.compare = {
  meta: null,
  wish: {}, // what the user has chosen, or the address
  fixed: {}, // all fields, as the server last understood them
  asked: {},
  shown: {}, // the newest answer by what was asked
  client: Math.random().toString(36).slice(2),

  // Which fields each question depends on; `live` and `stored` have figures in the theme's colours.
  groups: {
    slices: ["a", "b", "image", "along", "span", "seed", "eps", "attack", "steps", "norm"],
    live: ["a", "b", "seed", "eps", "attack", "steps", "norm", "n", "dark"],
    stored: ["a", "b", "dark"],
  },

  start(meta) {
    compare.meta = meta;
    for (const [name, value] of new URLSearchParams(location.search)) {
      if (name in meta.first || name === "theme") compare.wish[name] = value;
    }
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => compare.push());
    compare.push();
  },

  get: (name) => compare.wish[name] ?? compare.fixed[name] ?? compare.meta.first[name],

  dark() {
    const theme = compare.wish.theme;
    return theme === "dark" || (theme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  },

  set(fields) {
    for (const side of ["a", "b"]) {
      const data = compare.meta.runs;
      if (side in fields && data[fields[side]] !== data[compare.get(side)]) {
        for (const name of ["image", "span", "eps", "along", side === "a" ? "b" : "a"]) {
          if (!(name in fields)) delete compare.wish[name];
        }
        compare.fixed = {};
        if (side === "b") fields = {...fields, a: fields.b, b: ""};
      }
    }
    for (const [name, value] of Object.entries(fields)) {
      if (value === "") delete compare.wish[name];
      else compare.wish[name] = value;
    }
    compare.push();
  },

  swap() {
    const along = {a: "b", b: "a"}[compare.get("along")] || compare.get("along");
    compare.set({a: compare.get("b"), b: compare.get("a"), along});
  },

  push() {
    document.documentElement.dataset.theme = compare.dark() ? "dark" : "light";
    const all = {...compare.wish, dark: compare.dark() ? 1 : ""};
    for (const [what, fields] of Object.entries(compare.groups)) {
      const wanted = JSON.stringify(fields.map((name) => all[name]));
      if (wanted === compare.asked[what]) continue;
      compare.asked[what] = wanted;
      clearTimeout(compare[`${what}Timer`]);
      compare[`${what}Timer`] = setTimeout(() => compare.ask(what), what === "live" && compare.shown.live ? 400 : 30);
    }
    compare.writeControls();
    compare.later();
  },

  // One question of a kind at a time, then the newest.
  async ask(what) {
    compare.again ||= {};
    if (compare.busy?.[what]) return void (compare.again[what] = true);
    (compare.busy ||= {})[what] = true;
    const asked = compare.asked[what];
    let told;
    try {
      const fields = {...compare.wish, dark: compare.dark() ? 1 : "", client: compare.client};
      const answer = await fetch(`/compare/${what}?${new URLSearchParams(fields)}`);
      told = answer.ok ? await answer.json() : {wrong: await answer.text()};
    } catch {
      told = {wrong: "the explorer does not answer: is it still running?"};
    }
    compare.busy[what] = false;
    if (compare.again[what] || asked !== compare.asked[what]) {
      compare.again[what] = false;
      return compare.ask(what);
    }
    compare.take(what, told);
  },

  take(what, told) {
    if (told.wrong) return compare.say(told.wrong);
    if (what === "slices" || !compare.fixed.a) compare.fixed = told.fixed;
    compare.say(told.notice);
    compare.shown[what] = told;
    compare.writeControls();
    compare.later();
    compare.draw[what](told);
    if (what === "live" && !told.done) compare.liveTimer = setTimeout(() => compare.ask("live"), 300);
  },

  query() {
    const all = {...compare.fixed, ...compare.wish};
    return `?${new URLSearchParams(Object.entries(all).filter(([, value]) => value !== ""))}`;
  },

  later() {
    compare.addressTimer ||= setTimeout(() => {
      compare.addressTimer = 0;
      history.replaceState(null, "", compare.query());
    }, 300);
  },

  writeControls() {
    for (const name of Object.keys(compare.meta.first)) {
      const control = document.getElementById(name);
      if (control && control !== document.activeElement) control.value = String(compare.get(name));
    }
    const widest = compare.get("norm") === "l2" ? 5 : 1, slider = document.getElementById("eps");
    if (slider.max !== String(widest)) Object.assign(slider, {max: widest, step: widest / 200, value: compare.get("eps")});
    document.getElementById("eps-value").textContent = Number(compare.get("eps")).toFixed(3);
    const data = compare.meta.runs[compare.get("a")];
    document.querySelectorAll("#b option").forEach((option) => (option.hidden = compare.meta.runs[option.value] !== data));
    for (const side of ["a", "b"]) {
      document.getElementById(`transfer-${side}-title`).textContent = `Transfer in ${side.toUpperCase()}: ${compare.get(side)}`;
    }
  },

  say(text) {
    const notice = document.getElementById("notice");
    if (notice.textContent !== text) notice.textContent = text;
  },
};

(() => {
  let waiting = 0;
  const take = ({target}) => {
    if (!target.id || !compare.meta || !(target.id in compare.meta.first) || target.value === "") return;
    compare.set({[target.id]: target.value});
  };
  document.addEventListener("change", take);
  document.addEventListener("input", (event) => {
    if (event.target.type !== "range" || waiting) return;
    waiting = setTimeout(() => {
      waiting = 0;
      take(event);
    }, 60);
  });
  const turn = () => compare.set({theme: compare.dark() ? "light" : "dark"});
  document.addEventListener("click", async ({target}) => {
    if (target.closest("#swap")) compare.swap();
    else if (target.closest("#theme")) turn();
    else if (target.closest("#help-button")) document.getElementById("help").showModal();
    else if (target.closest("#help-close")) document.getElementById("help").close();
    else if (target.closest("#link")) {
      const text = location.origin + location.pathname + compare.query();
      try {
        await navigator.clipboard.writeText(text);
        compare.say("the link is in the clipboard");
      } catch {
        compare.say(text);
      }
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, dialog[open]")) return;
    const planes = compare.meta.along;
    const actions = {
      s: compare.swap,
      ",": () => compare.set({image: Math.max(0, Number(compare.get("image")) - 1)}),
      ".": () => compare.set({image: Number(compare.get("image")) + 1}),
      p: () => compare.set({along: planes[(planes.indexOf(compare.get("along")) + 1) % planes.length]}),
      t: turn,
      "?": () => document.getElementById("help").showModal(),
    };
    if (!(event.key in actions)) return;
    event.preventDefault();
    actions[event.key]();
  });
})();
