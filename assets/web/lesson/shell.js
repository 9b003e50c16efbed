// The lesson's state: the card, its fields and the guess, mirrored in the address. A card's script puts into lesson.cards[name]
//   draw(state): draw it; called when the card is shown and whenever a field has changed
//   left(): optional; another card is shown
// Controls need no script: [data-field=NAME] changes that field, [data-set=JSON] several, [data-value-of=NAME] shows one.
"use strict";

window.lesson = {
  cards: {},
  meta: null,
  name: "", // the card on the screen
  wish: {}, // its fields, where they are not what it begins with; guess, reveal
  kept: {}, // what goes with one from card to card: lock, hide, theme
  client: Math.random().toString(36).slice(2), // one of many that ask the same machine
  followed: {}, // what is being followed, by place

  start(meta) {
    lesson.meta = meta;
    addEventListener("popstate", () => lesson.read());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => lesson.show());
    lesson.read();
  },

  card: (name = lesson.name) => lesson.meta.cards.find((card) => card.name === name),
  section: () => document.getElementById(`card-${lesson.name}`),

  // A field as a number where it begins with one; what is no number in the address is what it begins with.
  get(name) {
    const first = lesson.card().fields[name], value = lesson.wish[name];
    if (value === undefined || value === "") return first;
    if (typeof first !== "number") return String(value);
    const control = lesson.section().querySelector(`input[data-field="${name}"]`), number = Number(value);
    if (!Number.isFinite(number)) return first;
    return control ? Math.min(Number(control.max), Math.max(Number(control.min), number)) : number;
  },

  // What the address has for a field that the field cannot be, in words.
  refused() {
    const numbers = Object.entries(lesson.wish).filter(([name]) => typeof lesson.card().fields[name] === "number");
    return numbers.filter(([name, value]) => value !== "" && Number(value) !== lesson.get(name)).map(([name, value]) => {
      const control = lesson.section().querySelector(`input[data-field="${name}"]`);
      const range = control?.max ? ` from ${control.min} to ${control.max}` : "";
      return `${name} takes a number${range}, got ${String(value).slice(0, 30)}: showing ${lesson.get(name)}`;
    });
  },

  state: () => Object.fromEntries(Object.keys(lesson.card().fields).map((name) => [name, lesson.get(name)])),

  set(fields) {
    Object.assign(lesson.wish, fields);
    lesson.show();
    lesson.later();
  },

  // Later: a slider moves more often than browsers let the address change.
  later() {
    lesson.timer ||= setTimeout(() => {
      lesson.timer = 0;
      history.replaceState(null, "", lesson.address(lesson.name, lesson.wish));
    }, 200);
  },

  address(name, wish = {}) {
    const first = lesson.card(name).fields;
    const all = Object.entries({...wish, ...lesson.kept}).filter(([field, value]) => value !== "" && value !== first[field]);
    const query = new URLSearchParams(all).toString();
    return `/lesson/${name}${query ? `?${query}` : ""}`;
  },

  read() {
    const name = decodeURIComponent(location.pathname.split("/")[2] || "");
    const before = lesson.name, all = Object.fromEntries(new URLSearchParams(location.search));
    lesson.name = lesson.card(name) ? name : lesson.meta.cards[0].name;
    lesson.kept = Object.fromEntries(["lock", "hide", "theme"].filter((key) => all[key]).map((key) => [key, all[key]]));
    const known = [...Object.keys(lesson.card().fields), "guess", "reveal"];
    lesson.wish = Object.fromEntries(known.filter((key) => key in all).map((key) => [key, all[key]]));
    if (before && before !== lesson.name) lesson.cards[before]?.left?.();
    lesson.say(lesson.refused().join("\n"));
    lesson.show();
  },

  go(name) {
    if (!name || name === lesson.name) return;
    clearTimeout(lesson.timer);
    lesson.timer = 0;
    history.replaceState(null, "", lesson.address(lesson.name, lesson.wish));
    history.pushState(null, "", lesson.address(name));
    lesson.read();
    document.getElementById(`${name}-title`).focus();
  },

  step(by) {
    const names = lesson.meta.cards.map((card) => card.name);
    lesson.go(names[names.indexOf(lesson.name) + by]);
  },

  dark() {
    const theme = lesson.kept.theme;
    return theme === "dark" || (!theme && matchMedia("(prefers-color-scheme: dark)").matches);
  },

  locked: () => Number(lesson.kept.lock) === 1,
  hidden: () => new Set((lesson.kept.hide || "").split(",").filter(Boolean)),

  // A question for a test: locked, and without its answer.
  sealed: () => lesson.locked() && lesson.hidden().has("answer"),

  revealed: () => Number(lesson.wish.reveal) === 1 && !lesson.sealed(),

  show() {
    document.documentElement.dataset.theme = lesson.dark() ? "dark" : "light";
    const {right} = lesson.card(), section = lesson.section(), guess = Number(lesson.wish.guess || 0) - 1, done = lesson.revealed();
    const hidden = lesson.hidden(), locked = lesson.locked();
    document.title = `${lesson.card().title} - trs lesson`;
    document.querySelectorAll(".card").forEach((one) => (one.hidden = one !== section));
    document.querySelectorAll("[data-card]").forEach((link) => {
      if (link.dataset.card === lesson.name) link.setAttribute("aria-current", "step"); else link.removeAttribute("aria-current");
    });
    document.querySelectorAll("[data-part]").forEach((part) => (part.hidden = hidden.has(part.dataset.part)));
    section.querySelectorAll("[data-after]").forEach((part) => (part.hidden = !done));
    section.querySelectorAll("[data-choice]").forEach((button) => {
      const number = Number(button.dataset.choice);
      button.setAttribute("aria-pressed", String(number === guess));
      button.classList.toggle("right", done && number === right);
      button.classList.toggle("wrong", done && number === guess && number !== right);
    });
    section.querySelectorAll("[data-reveal]").forEach((button) => {
      button.textContent = done ? "Cover again" : "Reveal";
      button.hidden = lesson.sealed();
    });
    const state = lesson.state();
    section.querySelectorAll("[data-field]").forEach((control) => {
      control.disabled = locked;
      if (control.type === "checkbox") control.checked = Number(state[control.dataset.field]) === 1;
      else if (control !== document.activeElement || control.type === "range") control.value = state[control.dataset.field];
    });
    section.querySelectorAll("[data-value-of]").forEach((output) => {
      output.textContent = `${state[output.dataset.valueOf]}${output.dataset.unit || ""}`;
    });
    section.querySelectorAll("[data-set]").forEach((button) => {
      button.disabled = locked;
      const pressed = Object.entries(JSON.parse(button.dataset.set)).every(([name, value]) => state[name] === value);
      button.setAttribute("aria-pressed", String(pressed));
    });
    section.querySelectorAll("[data-act]").forEach((button) => (button.disabled = locked));
    lesson.cards[lesson.name]?.draw?.(state);
  },

  say(text) {
    document.getElementById("notice").textContent = text;
  },

  // What a card asks this machine: JSON from /lesson/NAME/what?fields. Throws what the answer says is wrong.
  async ask(what, fields, name = lesson.name) {
    let answer;
    try {
      answer = await fetch(`/lesson/${name}/${what}?${new URLSearchParams(fields)}`);
    } catch {
      throw new Error("the explorer does not answer: is it still running?");
    }
    const told = answer.ok ? await answer.json() : {wrong: await answer.text()};
    if (told.wrong) throw new Error(told.wrong);
    return told;
  },

  // Asks again and again until the answer says that it is done; see() gets every answer. What is followed in the same place from
  // now on, or another card on the screen, ends it.
  async follow(place, what, fields, see) {
    const mine = (lesson.followed[place] = {}), name = lesson.name;
    const wanted = () => lesson.followed[place] === mine && lesson.name === name;
    for (let told = {}, again = ""; wanted() && !told.done; again = 1) {
      told = await lesson.ask(what, {...fields, client: lesson.client, again}).catch((error) => ({wrong: error.message, done: true}));
      if (wanted()) see(told);
      if (!told.done) await new Promise((resolve) => setTimeout(resolve, 200));
    }
  },

  // What to do about a run that a card needs and this page does not have; nothing if it is there.
  missing(run) {
    if (lesson.meta.runs[run]) return "";
    const method = run.replace(/^mnist-/, "");
    return `${run} is not here: trs lesson has it, or trs train --method ${method} --out checkpoints/${run}`;
  },

  // Writes a text where it has changed: what has not is not read out again.
  put(element, text) {
    if (element.textContent !== text) element.textContent = text;
  },

  // A share as a bar with its 95 % interval, and in words. In an element that it has for itself.
  bar(element, share, colour) {
    if (!element.querySelector(".meter")) {
      element.innerHTML = '<span class="meter" aria-hidden="true"><i></i><b></b></span><span class="said"></span>';
    }
    const [fill, line] = element.querySelectorAll("i, b");
    Object.assign(fill.style, {width: `${100 * share.share}%`, background: colour});
    Object.assign(line.style, {left: `${100 * share.low}%`, width: `${100 * (share.high - share.low)}%`});
    lesson.put(element.querySelector(".said"), share.words);
  },

  fullScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else document.documentElement.requestFullscreen?.().catch(() => lesson.say("this browser refuses full screen here: try F11"));
  },

  // A canvas with as many pixels as the screen has for it; drawing is in CSS pixels. Gives its context, width and height.
  canvas(element) {
    const {width, height} = element.getBoundingClientRect(), ratio = devicePixelRatio || 1;
    const [w, h] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
    if (element.width !== w || element.height !== h) Object.assign(element, {width: w, height: h});
    const pen = element.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    return [pen, width, height];
  },

  // A mark of about that radius: circle, triangle, square or diamond, so that colours are not all that tells things apart.
  mark(pen, shape, x, y, size, colour) {
    const corners = {
      triangle: [[0, -1.15], [1.1, 0.8], [-1.1, 0.8]],
      square: [[-0.85, -0.85], [0.85, -0.85], [0.85, 0.85], [-0.85, 0.85]],
      diamond: [[0, -1.2], [1.2, 0], [0, 1.2], [-1.2, 0]],
    }[shape];
    pen.beginPath();
    if (corners) corners.forEach(([dx, dy], k) => pen[k ? "lineTo" : "moveTo"](x + dx * size, y + dy * size));
    else pen.arc(x, y, size, 0, 2 * Math.PI);
    pen.closePath();
    Object.assign(pen, {fillStyle: colour, lineWidth: 1.5, strokeStyle: lesson.colour("ink")});
    pen.fill();
    pen.stroke();
  },

  // What act() draws around a point, to be read from below upwards.
  upwards(pen, x, y, act) {
    pen.save();
    pen.translate(x, y);
    pen.rotate(-Math.PI / 2);
    act();
    pen.restore();
  },

  // A colour of the theme, as --ink, --faint, --paper, --line, --mark have it.
  colour: (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim(),
};

(() => {
  document.addEventListener("input", ({target}) => {
    if (target.dataset.field) lesson.set({[target.dataset.field]: target.type === "checkbox" ? Number(target.checked) : target.value});
  });
  document.addEventListener("click", (event) => {
    const at = (selector) => event.target.closest(selector);
    const link = at("[data-card]");
    if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      lesson.go(link.dataset.card);
    } else if (at("[data-choice]")) lesson.set({guess: Number(at("[data-choice]").dataset.choice) + 1});
    else if (at("[data-reveal]")) lesson.set({reveal: lesson.revealed() ? "" : 1});
    else if (at("[data-set]")) lesson.set(JSON.parse(at("[data-set]").dataset.set));
    else if (at("#full")) lesson.fullScreen();
    else if (at("#theme")) turn();
    else if (at("#help-button")) document.getElementById("help").showModal();
    else if (at("#help-close")) document.getElementById("help").close();
  });

  const keep = (fields) => {
    Object.assign(lesson.kept, fields);
    lesson.show();
    lesson.later();
  };
  const turn = () => keep({theme: lesson.dark() ? "light" : "dark"});
  const controlsAway = () => {
    if (lesson.locked()) return;
    const hidden = lesson.hidden();
    if (!hidden.delete("controls")) hidden.add("controls");
    keep({hide: [...hidden].join(",")});
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("dialog[open]")) return;
    const inSlider = event.target.matches("input, select"), onButton = event.target.matches("button, a, summary");
    const actions = {
      ArrowRight: () => lesson.step(1),
      ArrowLeft: () => lesson.step(-1),
      PageDown: () => lesson.step(1),
      PageUp: () => lesson.step(-1),
      Enter: () => lesson.set({reveal: lesson.revealed() ? "" : 1}),
      r: () => lesson.set({reveal: lesson.revealed() ? "" : 1}),
      f: () => lesson.fullScreen(),
      t: turn,
      c: controlsAway,
      "?": () => document.getElementById("help").showModal(),
    };
    if (inSlider && event.key === "Escape") return event.target.blur();
    if (inSlider && !event.key.startsWith("Page")) return;
    if (onButton && event.key === "Enter") return;
    const number = Number(event.key);
    if (number >= 1 && number <= lesson.card().choices) return lesson.set({guess: number});
    if (!(event.key in actions)) return;
    event.preventDefault();
    actions[event.key]();
  });

  let resized = 0;
  addEventListener("resize", () => {
    cancelAnimationFrame(resized);
    resized = requestAnimationFrame(() => lesson.meta && lesson.show());
  });
})();
