"use strict";
const assert = require("node:assert");
const { median } = require("./median");

assert.equal(median([10, 9, 2]), 9);
assert.equal(median([1, 2, 3, 4]), 2.5);
console.log("all checks passed");
