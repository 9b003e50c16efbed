// Keys, and clicks on links to cards. A clicker's keys turn the cards; Enter reveals, whatever has the focus.
let byTab = false; // the focus came with Tab: then Space presses the button, and Enter follows the link

// Through a card that is longer than the window first (a phone's), then to the next card.
function page(way, step) {
  const {scrollTop, scrollHeight} = document.scrollingElement;
  const room = way > 0 ? scrollHeight - innerHeight - scrollTop : scrollTop;
  if (room > 2) scrollBy({top: way * 0.85 * innerHeight}); else step(way);
}

// Whether the focused element needs the key itself.
function isForElement({key, target}) {
  if (target.matches("input:not([type=range])")) return key !== "PageDown" && key !== "PageUp";
  if (target.matches("input")) return /^Arrow|^Home$|^End$/.test(key);
  if (!byTab) return false;
  if (key === "Enter") return target.matches("a");
  return key === " " && target.matches("button, summary");
}

// step(by): to another card; go(name): to this one; end(place): to the first, 0, or the last, -1.  choices(): how many there are.
export function listenToKeys({step, go, end, choices, set, reveal, fullScreen, turnTheme, toggleControls}) {
  const ACTIONS = {
    ArrowRight: () => step(1), ArrowLeft: () => step(-1),
    ArrowDown: () => page(1, step), ArrowUp: () => page(-1, step),
    PageDown: () => page(1, step), PageUp: () => page(-1, step),
    " ": (event) => page(event.shiftKey ? -1 : 1, step),
    Home: () => end(0), End: () => end(-1),
    Enter: reveal, r: reveal, f: fullScreen, t: turnTheme, c: toggleControls,
    "?": () => document.getElementById("help").showModal(),
  };
  document.addEventListener("keydown", (event) => {
    if (event.key === "Tab") byTab = true;
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("dialog[open]")) return;
    if (event.key === "Escape" && event.target.matches("input")) event.target.blur();
    if (isForElement(event)) return;
    const number = Number(event.key);
    if (event.key !== " " && number >= 1 && number <= choices()) set({guess: number});
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
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-card]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go(link.dataset.card);
  });
}
