// The page as one HTML file that works without the explorer: no scripts, charts as pictures.
"use strict";

(() => {
  async function copyOf(room) {
    const copy = room.cloneNode(true), charts = room.querySelectorAll(".chart"), copies = copy.querySelectorAll(".chart");
    for (const [place, chart] of charts.entries()) {
      const image = document.createElement("img");
      const layout = {...chart.layout, paper_bgcolor: compare.dark() ? "#14171b" : "#ffffff"};
      const size = {width: chart.clientWidth, height: chart.clientHeight};
      image.src = await Plotly.toImage({data: chart.data, layout}, {format: "png", ...size, scale: 2});
      image.alt = room.querySelector("h2").textContent;
      image.style.maxWidth = "100%";
      image.width = size.width;
      copies[place].replaceWith(image);
    }
    copy.querySelectorAll("label, input, select, button").forEach((control) => control.remove());
    copy.querySelectorAll("details").forEach((details) => (details.open = true));
    copy.querySelectorAll("[tabindex]").forEach((part) => part.removeAttribute("tabindex"));
    return copy;
  }

  async function handout() {
    const {a, b} = compare.fixed, digest = (letter) => compare.shown.slices[letter].digest.slice(0, 16);
    const page = document.implementation.createHTMLDocument(`trs compare: ${a} and ${b}`);
    page.documentElement.lang = "en";
    page.documentElement.dataset.theme = compare.dark() ? "dark" : "light";
    const meta = page.createElement("meta"), style = page.createElement("style");
    meta.setAttribute("charset", "utf-8");
    for (const sheet of document.styleSheets) {
      if (sheet.href && sheet.href.includes("/assets/")) style.textContent += [...sheet.cssRules].map((rule) => rule.cssText).join("\n");
    }
    page.head.prepend(meta);
    page.head.append(style);
    const title = page.createElement("h1"), about = page.createElement("p"), rooms = page.createElement("main");
    title.textContent = `A ${a}, B ${b}`;
    about.textContent = `Weights of A ${digest("a")}, of B ${digest("b")}. The same screen: trs explore, then /compare${compare.query()}`;
    rooms.id = "rooms";
    for (const room of document.querySelectorAll("#rooms > section")) rooms.append(page.adoptNode(await copyOf(room)));
    page.body.append(title, about, rooms);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([`<!doctype html>\n${page.documentElement.outerHTML}`], {type: "text/html"}));
    link.download = `${a}-and-${b}-handout.html`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  document.getElementById("handout").addEventListener("click", async () => {
    if (!compare.whole()) return compare.say("action", "not everything on the page is of these runs yet: a moment");
    try {
      const {done} = compare.shown.live;
      await handout();
      compare.say("action", done ? "" : "saved while it was still being measured");
    } catch (error) {
      compare.say("action", `could not be saved: ${error.message || error}`);
    }
  });
})();
