// All parts are there: show the card that the address names.
import {lesson} from "./lesson.js";
import "./one-attack.js";
import "./zigzag.js";
import {plotly} from "./view.js";
import "./keys.js";

window.lesson = lesson; // to look at from the browser's console
lesson.meta = JSON.parse(document.getElementById("meta").textContent);
lesson.meta.cards.forEach(({name}) => (lesson.cards[name] ||= {}));
addEventListener("popstate", () => lesson.read());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => lesson.show());
let resized = 0;
addEventListener("resize", () => {
  cancelAnimationFrame(resized);
  resized = requestAnimationFrame(() => lesson.show());
});
lesson.read();
addEventListener("load", () => setTimeout(plotly, 300)); // the first two cards do without it
