// All cards are there: start.
"use strict";

lesson.start(JSON.parse(document.getElementById("meta").textContent));
