// To be written.
"use strict";
