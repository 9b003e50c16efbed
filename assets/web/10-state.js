// The page's state: one dictionary of fields, mirrored in the address. Whoever changes it calls trs.set({field: value}).
// Callbacks in Python are asked anew, group by group (layout.GROUPS), where one of the fields that they read has changed.
"use strict";

window.trs = {
  early: {scene: fetch(`scene${location.search}`)}, // asked before the page is built; who reads it sees to errors
  meta: null,
  wish: {},
  asked: {},
  fixed: {}, // the state as the server last understood it, complete
  client: Math.random().toString(36).slice(2),
  listeners: [],
  timers: {}, // what costs much is asked when a slider has come to rest
  later: new Map(), // nor before the first slice is on the screen, and Dash has started
  ready: false, // whether it has
  filled: {},

  start(meta) {
    if (trs.meta) return;
    trs.meta = meta;
    for (const [name, value] of new URLSearchParams(location.search)) {
      if (name in meta.first) trs.wish[name] = value;
    }
    if (!(trs.wish.run in meta.runs)) {
      const wrong = trs.wish.run;
      if (wrong) trs.early = {};
      trs.wish.run = meta.first.run;
      if (wrong) trs.late = `there is no run ${wrong} here: this is ${meta.first.run}`;
    }
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => trs.push());
    trs.push();
  },

  get(name) {
    const value = trs.wish[name];
    if (value !== undefined && value !== "") return value;
    return name in trs.fixed ? trs.fixed[name] : trs.meta.first[name];
  },

  dark() {
    const theme = trs.get("theme");
    return theme === "dark" || (theme === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
  },

  // rest: for how many ms nothing must change before what costs much is asked.
  set(fields, rest = 150) {
    if ("run" in fields && fields.run !== trs.wish.run) {
      const sameData = trs.meta.runs[fields.run] === trs.meta.runs[trs.wish.run];
      fields = {at: "", weights: "", start: "", hide: "", ...fields};
      if (!sameData) fields = {image: "", own: "", eps: "", span: "", plane: "", label: "", surrogate: "", target: "", ...fields};
      trs.fixed = {};
    }
    for (const name of Object.keys(fields)) if (fields[name] === "") delete trs.fixed[name];
    if ("image" in fields && !("own" in fields)) fields = {own: "", ...fields};
    const moved = ["run", "image", "own", "plane", "surrogate", "target", "second", "third", "seed", "swap", "at"];
    if (trs.wish.start && !("start" in fields) && moved.some((name) => name in fields && String(fields[name]) !== String(trs.get(name)))) {
      fields = {start: "", ...fields};
    }
    if ("at" in fields || "run" in fields) fields = {weights: "", ...fields};
    Object.assign(trs.wish, fields);
    trs.push(rest);
  },

  // Every field, so that a link shows the same when defaults have changed.
  query() {
    const all = {...trs.fixed, ...Object.fromEntries(Object.entries(trs.wish).filter(([, value]) => value !== ""))};
    const kept = Object.entries(all).filter(([name, value]) => value !== "" && !(name === "theme" && value === "auto"));
    return "?" + new URLSearchParams(kept).toString();
  },

  // Later: it is slow, and browsers allow some hundred changes of the address in half a minute.
  writeAddress() {
    trs.timers.address ||= setTimeout(() => {
      trs.timers.address = 0;
      history.replaceState(null, "", trs.query());
    }, 300);
  },

  wanted: (what) => JSON.stringify(trs.meta.asked[what].map((name) => trs.wish[name])),

  push(rest = 150) {
    document.documentElement.dataset.theme = trs.dark() ? "dark" : "light";
    const all = {...trs.wish, dark: trs.dark(), client: trs.client};
    if (trs.changed("scene")) trs.askScene(); // and then the walks in it
    else if (trs.scene && trs.changed("walks")) {
      trs.askSurrogate(); // which is there first
      trs.askWalks();
    }
    for (const [group, fields] of Object.entries(trs.meta.groups)) {
      const asked = Object.fromEntries([...fields, "client"].filter((name) => name in all).map((name) => [name, all[name]]));
      const text = JSON.stringify(asked);
      if (text === trs.asked[group]) continue;
      trs.asked[group] = text;
      clearTimeout(trs.timers[group]);
      const ask = () => dash_clientside.set_props(`ask-${group}`, {data: asked});
      if (!trs.ready || (!trs.scene && !trs.failed)) trs.later.set(group, ask);
      else trs.timers[group] = setTimeout(ask, group === "run" ? 0 : rest);
    }
    trs.writeControls();
    trs.writeAddress();
    trs.listeners.forEach((listener) => listener());
  },

  askLater() {
    if (!trs.ready || (!trs.scene && !trs.failed)) return;
    const later = [...trs.later.values()];
    trs.later.clear();
    if (later.length) trs.afterFrame(() => later.forEach((ask) => ask()));
  },

  // Once what has been drawn is on the screen.
  afterFrame: (act) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(act, 0))),

  changed(what) {
    const before = trs.asked[what];
    return before !== (trs.asked[what] = trs.wanted(what));
  },

  // Answers at path?STATE go to `show`. One question at a time, then the newest: the server does not compute what nobody waits for.
  asker(path, show) {
    let asking = false, next = false;
    const ask = async () => {
      next = asking;
      if (asking) return;
      asking = true;
      const wanted = trs.wanted(path), early = trs.early[path];
      delete trs.early[path];
      let told = null;
      try {
        const asked = new URLSearchParams(Object.entries({...trs.wish, client: trs.client}).filter(([, value]) => value !== ""));
        const answer = await (early || fetch(`${path}?${asked}`));
        told = answer.ok ? await answer.json() : {wrong: await answer.text()};
      } catch {
        trs.say("the explorer does not answer: is it still running?");
      }
      asking = false;
      const late = told && (told.wrong ? next : told.fixed.run !== trs.get("run")); // soon mended, or of another run
      if (told && !late) {
        told.stale = wanted !== trs.wanted(path);
        if (!told.wrong) trs.understand(told, path);
        show(told);
      }
      if (next) ask();
    };
    return ask;
  },

  // stale: what was asked has been changed meanwhile.
  understand({fixed, corrected, stale}, path) {
    trs.fixed = fixed;
    trs.wish.weights = ""; // answered: a newer checkpoint is no broken link
    if (stale) return;
    for (const name of corrected) trs.wish[name] = fixed[name];
    if (corrected.length) trs.asked[path] = trs.wanted(path); // it has been answered, with what was wrong
  },

  again(group) {
    if (group === "scene") return trs.askScene();
    if (!trs.ready) return;
    clearTimeout(trs.timers[group]);
    const asked = {...JSON.parse(trs.asked[group] || "{}"), again: Date.now()};
    dash_clientside.set_props(`ask-${group}`, {data: asked});
  },

  // Rooms that are drawn anew often are filled from here: React would take longer than the measurement.
  fill(id, html) {
    const room = document.getElementById(id);
    if (room && trs.filled[id] !== html) room.innerHTML = trs.filled[id] = html;
  },

  say(text) {
    const notice = document.getElementById("notice");
    if (notice && notice.textContent !== text) notice.textContent = text;
  },

  writeControls() {
    for (const name of Object.keys(trs.meta.first)) {
      const control = document.getElementById(name);
      if (!control || control === document.activeElement) continue;
      const value = String(trs.get(name));
      if (control.tagName === "SELECT") control.value = value;
      else if (control.tagName === "INPUT" && control.value !== value) control.value = Number.isNaN(Number(value)) ? "" : value;
    }
    const plane = trs.get("plane");
    const flat = trs.scene && trs.scene.kind === "domain";
    const needs = {target: plane === "gradients", second: plane === "images", third: plane === "images"};
    for (const [name, needed] of Object.entries(needs)) {
      const label = document.getElementById(name === "target" ? "target" : `${name}-label`);
      if (label) (name === "target" ? label.closest("label") : label).hidden = flat ? name !== "target" : !needed && name !== "target";
    }
    for (const name of ["plane", "span", "seed"]) {
      const label = document.getElementById(name);
      if (label) label.closest("label").hidden = Boolean(flat);
    }
    const swap = document.getElementById("swap");
    if (swap) swap.setAttribute("aria-pressed", String(Number(trs.get("swap")) === 1));
    const eps = document.getElementById("eps-value");
    if (eps) eps.textContent = Number(trs.get("eps")).toFixed(3);
    const widest = trs.get("norm") === "l2" ? 5 : 1, slider = document.getElementById("eps");
    if (slider && slider.max !== String(widest)) Object.assign(slider, {max: widest, step: widest / 200, value: trs.get("eps")});
    const hidden = String(trs.get("hide") || "").split(",");
    for (const button of document.querySelectorAll("[data-hide]")) {
      button.setAttribute("aria-pressed", String(!hidden.includes(button.dataset.hide)));
    }
    for (const cell of document.querySelectorAll("[data-cell]")) {
      cell.setAttribute("aria-pressed", String(cell.dataset.cell === `${trs.get("surrogate")},${trs.get("target")}`));
    }
    for (const thumb of document.querySelectorAll("[data-image]")) {
      thumb.setAttribute("aria-pressed", String(!trs.wish.own && thumb.dataset.image === String(trs.get("image"))));
    }
  },

  // New options, cells or thumbnails are on the page: mark what is chosen.
  marked() {
    const newest = [...document.querySelectorAll("#at option")].at(-1)?.value;
    const fresh = trs.newestOf === trs.get("run") ? newest !== trs.newest : trs.failed;
    if (newest && fresh && !trs.wish.at) ["scene", "transfer", "gallery"].forEach(trs.again);
    if (newest) Object.assign(trs, {newest, newestOf: trs.get("run")});
    trs.writeControls();
    trs.listeners.forEach((listener) => listener());
  },

  // An answer of a callback: HTML by the room that it goes to.
  fillAll(found) {
    for (const [id, html] of Object.entries(found)) trs.fill(id, html);
    trs.marked();
  },

  cycle(name, values) {
    const next = values[(values.indexOf(String(trs.get(name))) + 1) % values.length];
    trs.set({[name]: next});
  },

  toggleHidden(model) {
    const hidden = new Set(String(trs.get("hide") || "").split(",").filter(Boolean));
    if (hidden.has(model)) hidden.delete(model); else hidden.add(model);
    if (trs.scene && hidden.size >= trs.scene.models.length) return trs.say("one model stays on the screen");
    trs.set({hide: [...hidden].sort().join(",")});
  },

  scrubTo(place) {
    const names = [...document.querySelectorAll("#at option")].map((option) => option.value).filter(Boolean);
    if (!names.length) return;
    const last = names.length - 1;
    const index = Math.max(0, Math.min(last, place));
    trs.set({at: index === last ? "" : names[index]});
  },

  scrubbed() {
    const names = [...document.querySelectorAll("#at option")].map((option) => option.value).filter(Boolean);
    const at = String(trs.get("at") || "");
    return {names, index: at ? names.indexOf(at) : names.length - 1};
  },
};

trs.early.scene.catch(() => 0);

trs.askScene = trs.asker("scene", (told) => {
  trs.say([trs.late, told.wrong || told.notice].filter(Boolean).join("\n"));
  trs.late = "";
  trs.failed = Boolean(told.wrong);
  if (!told.wrong) return trs.showScene(told);
  trs.clear();
  trs.askLater();
});

(() => {
  let waiting = 0, latest = null;
  const wishFor = (target, rest) => {
    if (!trs.meta || !target.id) return;
    if (target.id === "scrub") return trs.scrubTo(Number(target.value));
    if (!(target.id in trs.meta.first) || (target.value === "" && target.tagName !== "SELECT")) return;
    trs.set({[target.id]: target.value}, rest);
  };
  document.addEventListener("change", (event) => wishFor(event.target));
  const take = (file) => {
    if (!file || document.getElementById("own-file").disabled) return;
    const size = (file.size / 2 ** 20).toFixed(1);
    if (file.size > trs.meta.largest) return trs.say(`${file.name} has ${size} MiB: at most ${trs.meta.largest / 2 ** 20} MiB will do`);
    const reader = new FileReader();
    reader.onload = () => trs.ready && dash_clientside.set_props("upload", {data: {contents: reader.result, at: Date.now()}});
    reader.readAsDataURL(file);
  };
  document.addEventListener("change", ({target}) => {
    if (target.id !== "own-file") return;
    take(target.files[0]);
    target.value = ""; // the same file may be taken again
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault(); // nowhere on the page does a file replace it
    if (event.target.closest("#pick")) take(event.dataTransfer.files[0]);
  });
  // Sliders: at once, then as often as answers come, and always where they stop.
  document.addEventListener("input", (event) => {
    if (event.target.type !== "range") return;
    latest = event.target;
    if (waiting) return;
    wishFor(latest, 400); // by keys, too: they come some three a second
    latest = null;
    waiting = setTimeout(() => {
      waiting = 0;
      if (latest) wishFor(latest, 400);
    }, 60);
  });
  document.addEventListener("click", (event) => {
    const at = (selector) => event.target.closest(selector);
    if (at("[data-set]")) trs.set(JSON.parse(at("[data-set]").dataset.set));
    else if (at("[data-toggle]")) trs.set({[at("[data-toggle]").dataset.toggle]: Number(trs.get(at("[data-toggle]").dataset.toggle)) ? 0 : 1});
    else if (at("[data-hide]")) trs.toggleHidden(at("[data-hide]").dataset.hide);
    else if (at("#theme")) trs.set({theme: trs.dark() ? "light" : "dark"});
    else if (at("#help-button")) document.getElementById("help").showModal();
    else if (at("#help-close")) document.getElementById("help").close();
  });
  document.addEventListener("keydown", (event) => {
    if (!trs.meta || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, dialog[open]")) return;
    const actions = {
      ",": () => trs.set({image: Math.max(0, Number(trs.get("image")) - 1)}),
      ".": () => trs.set({image: Number(trs.get("image")) + 1}),
      "[": () => trs.scrubTo(trs.scrubbed().index - 1),
      "]": () => trs.scrubTo(trs.scrubbed().index + 1),
      l: () => trs.cycle("layer", trs.meta.layers),
      p: () => trs.cycle("plane", ["gradients", "random", "images"]),
      x: () => trs.set({swap: Number(trs.get("swap")) ? 0 : 1}),
      t: () => trs.set({theme: trs.dark() ? "light" : "dark"}),
      "?": () => document.getElementById("help").showModal(),
    };
    if (!(event.key in actions)) return;
    event.preventDefault();
    actions[event.key]();
  });
})();

document.addEventListener("trs:painted", () => trs.askLater());

// What callbacks answer. Each runs once without an answer when Dash starts.
const takes = {
  ready() {
    trs.ready = true;
    trs.askLater();
  },
  transfer({done, csv, ...rooms}) {
    trs.fillAll(rooms);
    if (csv !== undefined) document.getElementById("save-matrix").href = csv || "#";
    clearTimeout(trs.timers.matrix);
    if (!done) trs.timers.matrix = setTimeout(() => trs.again("transfer"), 200);
    else if (trs.meta.measured.includes(trs.get("filter")) && trs.offeredFor !== trs.asked.transfer) {
      trs.offeredFor = trs.asked.transfer;
      trs.again("gallery");
    }
  },
  dropped({own, words}) {
    trs.late = words; // after the scene's own notice, if there is to be one
    if (own) trs.set({own, start: ""});
    else trs.say(words);
  },
  choices: (found) => trs.fillAll(found),
  offered: (found) => trs.fillAll(found),
  story: (found) => trs.fillAll(found),
};
const explorer = Object.fromEntries(Object.entries(takes).map(([name, take]) => [name, (found) => {
  if (found) take(found);
  return dash_clientside.no_update;
}]));
window.dash_clientside = Object.assign({}, window.dash_clientside, {explorer});
