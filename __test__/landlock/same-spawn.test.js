"use strict";
// Processes and the end of a VM behave the same at this level, so the same tests run.
require("../fixture/vm").atLevel("landlock");

describe.each([
  "spawn-output-events",
  "spawn-leftover-output",
  "process-descriptors",
  "pause",
  "process-flow",
  "throwing-listener",
  "dispose",
])("%s", (name) => {
  require(`../${name}.test.js`);
});
