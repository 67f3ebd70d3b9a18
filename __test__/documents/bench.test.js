"use strict";
// The comparisons in README and docs/ match the measurements.
const { execFile } = require("node:child_process");
const path = require("node:path");
const { promisify } = require("node:util");

const { root } = require("../fixture/project");

test("the tables and the plot come from the report docs/bench.json", async () => {
  await promisify(execFile)(process.execPath, [path.join(root, "bench/readme.mjs"), "--check"]);
});
