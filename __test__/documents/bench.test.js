"use strict";
// The comparison in README is what was measured.
const { execFile } = require("node:child_process");
const path = require("node:path");
const { promisify } = require("node:util");

const { root } = require("../fixture/project");

test("README's table and plot come from the report that lies beside them", async () => {
  await promisify(execFile)(process.execPath, [path.join(root, "bench/readme.mjs"), "--check"]);
});
