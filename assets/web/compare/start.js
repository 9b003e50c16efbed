// The page is there: start.
"use strict";

compare.start(JSON.parse(document.getElementById("meta").textContent));
