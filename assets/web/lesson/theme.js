// Dark or light, as the browser has it, for the page that has no button for it.
"use strict";

document.documentElement.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
