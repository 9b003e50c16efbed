// The page's state: one dictionary of fields, mirrored in the address, and what is asked where one of them has changed.
"use strict";

window.compare = {
  meta: null,
  wish: {}, // what the user has chosen, or the address
  fixed: {}, // all fields, as the server last understood them
  asked: {}, // by question, the state that it was last asked for
  answered: {}, // and the one that it was last answered for
  shown: {}, // that answer
  notices: {}, // what each answer, or the last action, has to say
  busy: {},
  timers: {},
  client: Math.random().toString(36).slice(2),

  // Which fields each question depends on; `live` and `stored` have figures in the theme's colours.
  groups: {
    slices: ["a", "b", "image", "along", "span", "seed", "eps", "attack", "loss", "steps", "step_size", "restarts", "norm"],
    live: ["a", "b", "seed", "eps", "attack", "loss", "steps", "step_size", "restarts", "norm", "n", "dark"],
    stored: ["a", "b", "dark"],
  },

  start(meta) {
    compare.meta = meta;
    for (const [name, value] of new URLSearchParams(location.search)) {
      if (meta.fields.includes(name) || name === "theme") compare.wish[name] = value;
    }
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => compare.push());
    compare.push();
  },

  get: (name) => compare.wish[name] ?? compare.fixed[name] ?? "",

  dark() {
    const theme = compare.wish.theme;
    return theme === "dark" || (theme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  },

  set(fields) {
    compare.say("action", "");
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
    for (const what of Object.keys(compare.groups)) {
      const wanted = compare.wanted(what);
      if (wanted === compare.asked[what]) continue;
      compare.asked[what] = wanted;
      compare.askIn(what, what === "live" && compare.shown.live ? 400 : 30);
    }
    compare.writeControls();
    compare.later();
  },

  // The state that a question is asked for: by what is wished, or else has been understood.
  wanted(what) {
    const all = {...compare.fixed, ...compare.wish, dark: compare.dark() ? 1 : ""};
    return JSON.stringify(compare.groups[what].map((name) => String(all[name] ?? "")));
  },

  askIn(what, ms, again = "") {
    clearTimeout(compare.timers[what]);
    compare.timers[what] = setTimeout(() => compare.ask(what, again), ms);
  },

  // One question of a kind at a time, then the newest. again: it is the same as before.
  async ask(what, again) {
    if (compare.busy[what]) return;
    compare.busy[what] = true;
    const asked = compare.asked[what];
    let told = null, words = "the explorer does not answer: is it still running? Asking again ...";
    try {
      const fields = {...compare.wish, dark: compare.dark() ? 1 : "", client: compare.client, again};
      const answer = await fetch(`${compare.meta.root}/compare/${what}?${new URLSearchParams(fields)}`);
      if (answer.ok) told = await answer.json();
      else if (answer.status === 429) words = await answer.text(); // no room for it now
    } catch {
      // said below
    }
    compare.busy[what] = false;
    if (asked !== compare.asked[what]) return compare.askIn(what, 0);
    if (told) return compare.take(what, told);
    compare.say(what, words);
    compare.askIn(what, 3000);
  },

  take(what, told) {
    if (told.wrong) return compare.say(what, told.wrong);
    compare.say(what, told.notice);
    compare.understand(told.fixed, what);
    compare.shown[what] = told;
    compare.draw[what](told);
    if (what !== "live") return;
    const slices = compare.shown.slices, older = slices && JSON.stringify(slices.digests) !== JSON.stringify(told.digests);
    if (older && compare.whole()) compare.askIn("slices", 0); // there is a newer checkpoint
    if (!told.done) compare.askIn("live", 300, 1);
    else if (told.training) compare.askIn("live", 5000, 1);
  },

  // The state as the server has understood it. What was wished otherwise is wished no more, and this question is answered.
  understand(fixed, what) {
    const same = (a, b) => String(a) === String(b) || (a !== "" && Number(a) === Number(b));
    for (const [name, value] of Object.entries(fixed)) {
      if (name in compare.wish && !same(compare.wish[name], value)) compare.wish[name] = value;
    }
    compare.fixed = fixed;
    compare.asked[what] = compare.answered[what] = compare.wanted(what);
    for (const other of Object.keys(compare.groups)) {
      if (!compare.shown[other] && compare.asked[other]) compare.asked[other] = compare.wanted(other); // asked for the same, in fewer words
    }
    compare.push();
  },

  // Whether all that is shown is of one state, the one on the controls.
  whole: () => Object.keys(compare.groups).every((what) => compare.answered[what] && compare.answered[what] === compare.wanted(what)),

  query() {
    const all = {...compare.fixed, ...compare.wish};
    return `?${new URLSearchParams(Object.entries(all).filter(([, value]) => value !== ""))}`;
  },

  later() {
    compare.timers.address ||= setTimeout(() => {
      compare.timers.address = 0;
      history.replaceState(null, "", compare.query());
    }, 300);
  },

  writeControls() {
    if (!compare.get("a")) return; // nothing is known yet
    for (const name of compare.meta.fields) {
      const control = document.getElementById(name);
      if (control && (control !== document.activeElement || control.tagName === "SELECT")) control.value = String(compare.get(name));
    }
    const widest = compare.get("norm") === "l2" ? 5 : 1, slider = document.getElementById("eps");
    if (slider.max !== String(widest)) Object.assign(slider, {max: widest, step: widest / 200, value: compare.get("eps")});
    document.getElementById("eps-value").textContent = Number(compare.get("eps")).toFixed(3);
    const data = compare.meta.runs[compare.get("a")];
    document.querySelectorAll("#b option").forEach((option) => (option.hidden = compare.meta.runs[option.value] !== data));
    const flat = compare.shown.slices?.kind === "domain"; // the plane itself is the only one there is
    for (const name of ["along", "span", "seed"]) document.getElementById(name).closest("label").hidden = flat;
  },

  // what: whose word it is; that of an action goes when something else is done.
  say(what, text) {
    compare.notices[what] = text;
    const notice = document.getElementById("notice"), all = [...new Set(Object.values(compare.notices).filter(Boolean))].join("\n");
    if (notice.textContent !== all) notice.textContent = all;
  },
};

(() => {
  let waiting = 0;
  const take = ({target}) => {
    if (!compare.meta?.fields.includes(target.id) || target.value === "") return;
    if (target.tagName === "SELECT") target.blur(); // its letters are keys again
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
        compare.say("action", "the link is in the clipboard");
      } catch {
        compare.say("action", text);
      }
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, dialog[open]")) return;
    const planes = compare.meta.along;
    const nextPlane = () => compare.set({along: planes[(planes.indexOf(compare.get("along")) + 1) % planes.length]});
    const actions = {
      s: compare.swap,
      ",": () => compare.set({image: Math.max(0, Number(compare.get("image")) - 1)}),
      ".": () => compare.set({image: Number(compare.get("image")) + 1}),
      p: () => compare.shown.slices?.kind === "domain" || nextPlane(),
      t: turn,
      "?": () => document.getElementById("help").showModal(),
    };
    if (!(event.key in actions)) return;
    event.preventDefault();
    actions[event.key]();
  });
})();
