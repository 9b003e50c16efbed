// Doubt: what attacks leave right of an ensemble as it is and with its members' logits multiplied, and what the checks say.
"use strict";

(() => {
  const RUN = "mnist-standard";
  const found = {}; // what the machine has told, by factor
  let under = "", active = 0; // the other settings; the factor that is followed
  const section = () => document.getElementById("card-doubt");

  function draw({factor, eps, n, steps, seed}) {
    const asked = JSON.stringify({eps, n, steps, seed});
    if (asked !== under) {
      for (const known of Object.keys(found)) delete found[known];
      [under, active] = [asked, 0];
    }
    if (!lesson.missing(RUN)) next(lesson.revealed() ? [1, factor] : [1]);
    paint(factor);
  }

  // The ensemble as it is comes first.
  function next(factors) {
    const factor = factors.find((one) => !found[one]?.done);
    if (!factor || factor === active) return;
    active = factor;
    lesson.follow("doubt", "attack", {...JSON.parse(under), factor, run: RUN}, (told) => {
      found[factor] = told;
      if (told.done) lesson.show(); // and what is to be measured next
      else paint(lesson.get("factor"));
    });
  }

  function left() {
    active = 0;
  }

  function paint(factor) {
    const before = found[1] || {}, after = found[factor] || {}, wrong = lesson.missing(RUN) || before.wrong || after.wrong;
    fill(section().querySelectorAll("td[data-rate]:not([data-after])"), before);
    fill(section().querySelectorAll("td[data-rate][data-after]"), after);
    const changed = after.changed && lesson.revealed() ? ` The factor changed ${after.changed} of the ensemble's answers.` : "";
    lesson.put(section().querySelector(".of"), wrong || (before.of ? `${before.of}.${changed}` : ""));
    const notice = before.notice || after.notice;
    if (notice) lesson.say(notice);
    checks(after, factor);
  }

  function fill(cells, told) {
    for (const cell of cells) {
      const share = told.rates?.[cell.dataset.rate];
      if (share) lesson.bar(cell, share, cell.dataset.colour);
      else lesson.put(cell, "...");
    }
  }

  function checks(told, factor) {
    const list = section().querySelector(".checks"), text = JSON.stringify([told.warn, told.passed, factor]);
    if (list.dataset.of === text) return;
    list.dataset.of = text;
    const items = (told.warn || []).map(({check, warnings}) => item(`check ${check} warns`, warnings.join(" "), "warn"));
    if (told.warn) items.push(item(items.length ? "passed" : "no check warns; passed", told.passed.join("; "), "passed"));
    list.replaceChildren(...(items.length ? items : [item("", "first the attacks, then the checks ...", "")]));
  }

  function item(head, words, kind) {
    const made = Object.assign(document.createElement("li"), {className: kind});
    if (head) made.append(Object.assign(document.createElement("b"), {textContent: `${head}: `}));
    made.append(words);
    return made;
  }

  lesson.cards.doubt = {draw, left, found};
})();
