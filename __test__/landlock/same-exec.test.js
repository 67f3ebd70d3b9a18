"use strict";
// Commands behave the same at this level, so the same tests run.
require("../fixture/vm").atLevel("landlock");

describe.each([
  "exec-abort",
  "exec-bytes",
  "exec-output-limit",
  "exec-stdin",
  "exec-streaming",
  "exec-timeout",
  "exec-traced",
  "kill-signal",
  "refused-system-calls",
])("%s", (name) => {
  require(`../${name}.test.js`);
});
