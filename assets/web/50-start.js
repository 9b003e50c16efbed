// The page is there: start, long before Dash does.
"use strict";

trs.start(JSON.parse(document.getElementById("meta").textContent));
