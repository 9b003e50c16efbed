// Links, pictures and the handout: all made in the browser.
"use strict";

(() => {
  const download = (blob, name) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };

  // Not by fetch: the page may only talk to its own server.
  const blobOf = (uri) => {
    const [head, body] = [uri.slice(5, uri.indexOf(",")), uri.slice(uri.indexOf(",") + 1)];
    const text = head.includes("base64") ? atob(body) : decodeURIComponent(body);
    const bytes = head.includes("base64") ? Uint8Array.from(text, (c) => c.charCodeAt(0)) : text;
    return new Blob([bytes], {type: head.split(";")[0]});
  };

  function inkOf(dark) {
    return dark ? "#14171b" : "#ffffff";
  }

  // The slices as one plotly figure: axes, outlines and paths from the server, what the canvases show as images behind them.
  async function sliceFigure() {
    const asked = new URLSearchParams({...trs.fixed, ...trs.wish, dark: trs.dark() ? 1 : ""});
    const answer = await fetch(`figure?${asked}`);
    if (!answer.ok) throw new Error(await answer.text());
    const figure = await answer.json(), {key, low, high} = trs.scene;
    if (figure.key !== key) throw new Error("the weights have changed meanwhile; try again");
    figure.layout.paper_bgcolor = inkOf(trs.dark());
    figure.layout.images = trs.panels().map(({panel}, place) => ({
      source: panel.querySelector(".pixels").toDataURL("image/png"), xref: place ? `x${place + 1}` : "x", yref: place ? `y${place + 1}` : "y",
      x: low, y: high, sizex: high - low, sizey: high - low, sizing: "stretch", layer: "below",
    }));
    return figure;
  }

  async function slicePicture(format) {
    while (!window.Plotly) await new Promise((resolve) => setTimeout(resolve, 50)); // it comes with the training chart
    const count = trs.panels().length, columns = Math.min(4, count), rows = Math.ceil(count / columns);
    return Plotly.toImage(await sliceFigure(), {format, width: 40 + 300 * columns, height: 76 + 300 * rows + 40 * (rows - 1), scale: 2});
  }

  const chartPicture = (graph) => Plotly.toImage(
    {data: graph.data, layout: {...graph.layout, paper_bgcolor: inkOf(trs.dark())}},
    {format: "png", width: graph.clientWidth, height: graph.clientHeight, scale: 2},
  );

  const name = () => `${trs.get("run")}-${trs.scene ? trs.scene.key.slice(0, 6) : ""}`;

  // A static copy of a room: no scripts, no controls; canvases and charts as pictures.
  async function copyOf(room) {
    const copy = room.cloneNode(true);
    const pictures = [["#panels", () => slicePicture("png")], [".js-plotly-plot", () => chartPicture(room.querySelector(".js-plotly-plot"))]];
    for (const [selector, draw] of pictures) {
      if (!copy.querySelector(selector)) continue;
      const image = document.createElement("img");
      image.src = await draw();
      image.alt = room.querySelector("h2").textContent;
      Object.assign(image.style, {width: `${room.querySelector(selector).clientWidth}px`, maxWidth: "100%"});
      copy.querySelector(selector).replaceWith(image);
    }
    const canvases = room.querySelectorAll("canvas#picture"), copied = copy.querySelectorAll("canvas#picture");
    canvases.forEach((canvas, i) => {
      const image = document.createElement("img");
      image.src = canvas.toDataURL("image/png");
      image.className = "picture";
      image.alt = "the image at the crosshair";
      copied[i].replaceWith(image);
    });
    copy.querySelectorAll("label, input, select, .button, #shown, #swap, script").forEach((e) => e.remove());
    copy.querySelectorAll("button").forEach((button) => {
      const plain = document.createElement("span");
      plain.className = button.className;
      plain.setAttribute("style", button.getAttribute("style") || "");
      plain.append(...button.childNodes);
      button.replaceWith(plain);
    });
    copy.querySelectorAll("details").forEach((details) => (details.open = true));
    copy.querySelectorAll("[id]").forEach((element) => element.removeAttribute("tabindex"));
    return copy;
  }

  async function handout() {
    const page = document.implementation.createHTMLDocument(`trs explore: ${trs.get("run")}`);
    page.documentElement.lang = "en";
    page.documentElement.dataset.theme = trs.dark() ? "dark" : "light";
    const meta = page.createElement("meta");
    meta.setAttribute("charset", "utf-8");
    page.head.prepend(meta);
    const style = page.createElement("style");
    for (const sheet of document.styleSheets) {
      if (sheet.href && sheet.href.includes("explorer.css")) style.textContent += [...sheet.cssRules].map((rule) => rule.cssText).join("\n");
    }
    style.textContent += "\nbody { max-width: 64rem; margin: 1rem auto; overflow-wrap: anywhere } section { margin: 1rem 0 }"
      + " #history-figure { height: auto !important } #matrix td > span { display: block; text-align: center; padding: .2rem }";
    page.head.append(style);
    const title = page.createElement("h1"), about = page.createElement("p");
    title.textContent = `trs explore: ${trs.get("run")}`;
    about.textContent = `Weights ${trs.scene.digest.slice(0, 16)}, ${document.getElementById("run-words").textContent}. The same screen: trs explore, then add to its address ${trs.query()}`;
    page.body.append(title, about);
    document.getElementById("shares").open = true;
    trs.paint();
    for (const id of ["slice", "transfer", "angles", "history"]) page.body.append(page.adoptNode(await copyOf(document.getElementById(id))));
    download(new Blob(["<!doctype html>\n" + page.documentElement.outerHTML], {type: "text/html"}), `${name()}-handout.html`);
  }

  const saves = {
    png: async () => download(blobOf(await slicePicture("png")), `${name()}.png`),
    svg: async () => download(blobOf(await slicePicture("svg")), `${name()}.svg`),
    handout,
  };

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-save]");
    const menu = document.getElementById("save");
    if (button && trs.scene) {
      menu.open = false;
      try {
        await saves[button.dataset.save]();
        trs.say("");
      } catch (error) {
        trs.say(`could not be saved: ${error.message || error}`);
      }
    } else if (event.target.closest("#link")) {
      const text = location.origin + location.pathname + trs.query();
      try {
        await navigator.clipboard.writeText(text);
        trs.say("the link is in the clipboard");
      } catch {
        trs.say(text);
      }
    } else if (!event.target.closest("#save")) {
      if (menu) menu.open = false;
    }
  });

  const saveLinks = () => {
    if (!trs.scene || !trs.grid) return;
    const asked = new URLSearchParams({...trs.fixed, ...trs.wish, level: trs.grid.level});
    const links = {
      "save-csv": `export/slice.csv?${asked}`,
      "save-npz": `export/slice.npz?${asked}`,
      "save-history": `export/history/${encodeURIComponent(trs.get("run"))}.csv`,
    };
    for (const [id, href] of Object.entries(links)) {
      const link = document.getElementById(id);
      if (link) link.setAttribute("href", href);
    }
    const slider = document.getElementById("scrub"), {names, index} = trs.scrubbed();
    const value = document.getElementById("scrub-value");
    if (value && names.length) value.textContent = `epoch ${Number((names[index] || "").split("-")[0])} (${index + 1} of ${names.length})`;
    if (slider && slider !== document.activeElement && slider.max !== String(names.length - 1)) {
      Object.assign(slider, {max: Math.max(0, names.length - 1), value: index});
    } else if (slider && slider !== document.activeElement && Number(slider.value) !== index) {
      slider.value = index;
    }
  };
  trs.listeners.push(saveLinks);
  document.addEventListener("trs:painted", saveLinks);
})();
