"use strict";
// What is promised of commands holds at this level too: the same tests.
require("../fixture/vm").atLevel("landlock");

describe.each([
  "exec-abort",
  "exec-bytes",
  "exec-output-limit",
  "exec-stdin",
  "exec-streaming",
  "exec-timeout",
  "exec-traced",
  "refused-system-calls",
])("%s", (name) => {
  require(`../${name}.test.js`);
});
