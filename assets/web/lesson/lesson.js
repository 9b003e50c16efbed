// The lesson's state: the card, its fields and the guess, mirrored in the address; and what of it the page shows.
// Controls need no script: [data-field=NAME] changes that field, [data-set=JSON] several, [data-value-of=NAME] shows one.
// A card that is drawn in the browser puts {draw(state)} into lesson.cards[name]; the server draws all others (view.js).

export const lesson = {
  cards: {},
  meta: null,
  name: "", // the card on the screen
  set_fields: {}, // its fields, where they differ from the initial ones; guess, reveal
  kept: {}, // what stays from card to card: lock, hide, theme
  unfolded: false, // after the reveal: whether the question is shown again

  card: (name = lesson.name) => lesson.meta.cards.find((card) => card.name === name),
  section: () => document.getElementById(`card-${lesson.name}`),

  // A field; a number where its initial value is one. An invalid number in the address counts as the initial value.
  get(name) {
    const first = lesson.card().fields[name], value = lesson.set_fields[name];
    if (value === undefined || value === "") return first;
    if (typeof first !== "number") return String(value);
    const control = lesson.section().querySelector(`input[data-field="${name}"]`), number = Number(value);
    if (!Number.isFinite(number)) return first;
    return control ? Math.min(Number(control.max), Math.max(Number(control.min), number)) : number;
  },

  // A sentence for each field of the address that its control cannot have.
  invalid() {
    const numbers = Object.entries(lesson.set_fields).filter(([name]) => typeof lesson.card().fields[name] === "number");
    return numbers.filter(([name, value]) => value !== "" && Number(value) !== lesson.get(name)).map(([name, value]) => {
      const control = lesson.section().querySelector(`input[data-field="${name}"]`);
      const range = control?.max ? ` from ${control.min} to ${control.max}` : "";
      return `${name} takes a number${range}, got ${String(value).slice(0, 30)}: showing ${lesson.get(name)}`;
    });
  },

  state: () => Object.fromEntries(Object.keys(lesson.card().fields).map((name) => [name, lesson.get(name)])),

  set(fields) {
    Object.assign(lesson.set_fields, fields);
    lesson.show();
    lesson.writeAddress();
  },

  keep(fields) {
    Object.assign(lesson.kept, fields);
    lesson.show();
    lesson.writeAddress();
  },

  reveal() {
    lesson.unfolded = false;
    lesson.set({reveal: lesson.revealed() ? "" : 1});
    if (lesson.revealed()) lesson.section().querySelector(".answer").scrollIntoView({block: "nearest"});
  },

  // Delayed: a slider moves more often than browsers let the address change.
  writeAddress() {
    lesson.timer ||= setTimeout(() => {
      lesson.timer = 0;
      history.replaceState(null, "", lesson.address(lesson.name, lesson.set_fields));
    }, 200);
  },

  address(name, fields = {}) {
    const first = lesson.card(name).fields;
    const all = Object.entries({...fields, ...lesson.kept}).filter(([field, value]) => value !== "" && value !== first[field]);
    const query = new URLSearchParams(all).toString();
    return `${lesson.meta.root}/lesson/${name}${query ? `?${query}` : ""}`;
  },

  read() {
    const before = lesson.name, all = Object.fromEntries(new URLSearchParams(location.search));
    lesson.name = lesson.card(location.pathname.slice(lesson.meta.root.length).split("/")[2])?.name || lesson.meta.cards[0].name;
    lesson.kept = Object.fromEntries(["lock", "hide", "theme"].filter((key) => all[key]).map((key) => [key, all[key]]));
    const known = [...Object.keys(lesson.card().fields), "guess", "reveal"];
    lesson.set_fields = Object.fromEntries(known.filter((key) => key in all).map((key) => [key, all[key]]));
    lesson.unfolded = false;
    if (before && before !== lesson.name) lesson.onLeave(before);
    lesson.say(lesson.invalid().join("\n"));
    lesson.show();
  },

  onLeave: () => {}, // view.js: ends what the server measures for the card

  go(name) {
    if (!name || name === lesson.name) return;
    clearTimeout(lesson.timer);
    lesson.timer = 0;
    history.replaceState(null, "", lesson.address(lesson.name, lesson.set_fields));
    history.pushState(null, "", lesson.address(name));
    lesson.read();
    document.getElementById(`${name}-title`).focus();
    scrollTo(0, 0);
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

  revealed: () => Number(lesson.set_fields.reveal) === 1 && !lesson.sealed(),

  show() {
    document.documentElement.dataset.theme = lesson.dark() ? "dark" : "light";
    const section = lesson.section(), hidden = lesson.hidden(), state = lesson.state();
    document.title = `${lesson.card().title} - trs lesson`;
    document.querySelectorAll(".card").forEach((one) => (one.hidden = one !== section));
    document.querySelectorAll("[data-card]").forEach((link) => {
      if (link.dataset.card === lesson.name) link.setAttribute("aria-current", "step"); else link.removeAttribute("aria-current");
    });
    document.querySelectorAll("[data-part]").forEach((part) => (part.hidden = hidden.has(part.dataset.part)));
    section.querySelectorAll("[data-after]").forEach((part) => (part.hidden = !lesson.revealed()));
    showQuestion(section);
    section.querySelectorAll("[data-field]").forEach((control) => {
      if (control !== document.activeElement || control.type === "range") control.value = state[control.dataset.field];
    });
    section.querySelectorAll("[data-value-of]").forEach((output) => {
      output.textContent = `${state[output.dataset.valueOf]}${output.dataset.unit || ""}`;
    });
    section.querySelectorAll("[data-set]").forEach((button) => {
      const pressed = Object.entries(JSON.parse(button.dataset.set)).every(([name, value]) => state[name] === value);
      button.setAttribute("aria-pressed", String(pressed));
    });
    section.querySelectorAll("[data-field], [data-set], [data-act]").forEach((control) => (control.disabled = lesson.locked()));
    const card = lesson.cards[lesson.name];
    if (card?.draw) card.draw(state); else lesson.drawnByServer?.();
  },

  drawnByServer: null, // view.js

  say(text) {
    put(document.getElementById("notice"), text);
  },

  // Texts into the card's [data-out=NAME].
  write(texts) {
    for (const [name, text] of Object.entries(texts)) {
      lesson.section().querySelectorAll(`[data-out="${name}"]`).forEach((element) => put(element, text));
    }
  },
};

// Writes a text where it has changed: an unchanged one would be read out again.
function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// The choices, or, once they are revealed, one line with the right one: the answer takes their place.
function showQuestion(section) {
  const {right} = lesson.card(), guess = Number(lesson.set_fields.guess || 0) - 1, done = lesson.revealed();
  section.classList.toggle("revealed", done);
  section.querySelectorAll("[data-choice]").forEach((button) => {
    const number = Number(button.dataset.choice);
    button.setAttribute("aria-pressed", String(number === guess));
    button.classList.toggle("right", done && number === right);
    button.classList.toggle("wrong", done && number === guess && number !== right);
  });
  section.querySelector(".asked").hidden = done && !lesson.unfolded;
  const line = section.querySelector("[data-unfold]"), choices = section.querySelectorAll("[data-choice]");
  line.hidden = !done;
  line.setAttribute("aria-expanded", String(lesson.unfolded));
  const own = choices[guess] && guess !== right ? ` · guessed: ${guess + 1} ✗` : "";
  put(line, `✓ ${choices[right].textContent}${own} · ${section.querySelector(".question").textContent}`);
  section.querySelectorAll("[data-reveal]").forEach((button) => {
    put(button, done ? "Cover again" : "Reveal");
    button.hidden = lesson.sealed();
  });
}
