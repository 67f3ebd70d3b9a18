"use strict";
const { execFile } = require("node:child_process");
const path = require("node:path");
const { promisify } = require("node:util");
const { root } = require("./fixture/project");

test("ten seconds of random operations give correct results, and leave nothing behind", async () => {
  const script = path.join(root, "scripts/soak.mjs");
  // If it fails, the error contains its output with the seed.
  const { stdout } = await promisify(execFile)(process.execPath, ["--expose-gc", script, "10"]);
  expect(stdout).toMatch(/^soak: 10 s, seed \d+\n/);
  expect(stdout).toMatch(/\nsoak: all as it should be\n$/);
}, 180_000);
