"use strict";
// What is promised of processes and of a VM's end holds at this level too: the same tests.
require("../fixture/vm").atLevel("landlock");

describe.each(["spawn-output-events", "spawn-leftover-output", "throwing-listener", "dispose"])("%s", (name) => {
  require(`../${name}.test.js`);
});
