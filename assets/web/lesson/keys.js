// Keys and clicks. A clicker's keys turn the cards; Enter reveals, whatever has the focus.
import {lesson} from "./lesson.js";

let byTab = false; // the focus came with Tab: then Space presses the button, and Enter follows the link

const help = () => document.getElementById("help");
const turn = () => lesson.keep({theme: lesson.dark() ? "light" : "dark"});

function fullScreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else document.documentElement.requestFullscreen?.().catch(() => lesson.say("this browser refuses full screen here: try F11"));
}

function toggleControls() {
  if (lesson.locked()) return;
  const hidden = lesson.hidden();
  if (!hidden.delete("controls")) hidden.add("controls");
  lesson.keep({hide: [...hidden].join(",")});
}

// Through a card that is longer than the window first (a phone's), then to the next card.
function page(way) {
  const {scrollTop, scrollHeight} = document.scrollingElement;
  const room = way > 0 ? scrollHeight - innerHeight - scrollTop : scrollTop;
  if (room > 2) scrollBy({top: way * 0.85 * innerHeight}); else lesson.step(way);
}

const end = (place) => lesson.go(lesson.meta.cards.at(place).name);

const ACTIONS = {
  ArrowRight: () => lesson.step(1),
  ArrowLeft: () => lesson.step(-1),
  ArrowDown: () => page(1),
  ArrowUp: () => page(-1),
  PageDown: () => page(1),
  PageUp: () => page(-1),
  " ": (event) => page(event.shiftKey ? -1 : 1),
  Home: () => end(0),
  End: () => end(-1),
  Enter: lesson.reveal,
  r: lesson.reveal,
  f: fullScreen,
  t: turn,
  c: toggleControls,
  "?": () => help().showModal(),
};

// Whether the focused element needs the key itself.
function isForElement({key, target}) {
  if (target.matches("input:not([type=range])")) return key !== "PageDown" && key !== "PageUp";
  if (target.matches("input")) return /^Arrow|^Home$|^End$/.test(key);
  if (!byTab) return false;
  if (key === "Enter") return target.matches("a");
  return key === " " && target.matches("button, summary");
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Tab") byTab = true;
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("dialog[open]")) return;
  if (event.key === "Escape" && event.target.matches("input")) event.target.blur();
  if (isForElement(event)) return;
  const number = Number(event.key);
  if (event.key !== " " && number >= 1 && number <= lesson.card().choices) lesson.set({guess: number});
  else if (event.key in ACTIONS) {
    event.preventDefault();
    if (!event.repeat || /^Arrow|^Page/.test(event.key)) ACTIONS[event.key](event);
  }
});

// A button that the mouse has focused is released by Space too, if the key went down elsewhere.
document.addEventListener("keyup", (event) => {
  if (event.key === " " && event.target.matches("button, summary") && !byTab) event.preventDefault();
});

document.addEventListener("pointerdown", () => (byTab = false));

document.addEventListener("input", ({target}) => {
  if (target.dataset.field) lesson.set({[target.dataset.field]: target.value});
});

const CLICKS = {
  "[data-choice]": (button) => lesson.set({guess: Number(button.dataset.choice) + 1}),
  "[data-reveal]": () => lesson.reveal(),
  "[data-unfold]": () => {
    lesson.unfolded = !lesson.unfolded;
    lesson.show();
  },
  "[data-set]": (button) => lesson.set(JSON.parse(button.dataset.set)),
  "[data-act]": (button) => lesson.act(JSON.parse(button.dataset.act)),
  "#full": fullScreen,
  "#theme": turn,
  "#help-button": () => help().showModal(),
  "#help-close": () => help().close(),
};

document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-card]");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    lesson.go(link.dataset.card);
    return;
  }
  for (const [selector, act] of Object.entries(CLICKS)) {
    const button = event.target.closest(selector);
    if (button) return act(button);
  }
});
