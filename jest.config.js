"use strict";

module.exports = {
  // Only here: npm/ and dist/ hold further package.json files that jest would take for the project's own.
  roots: ["<rootDir>/__test__"],
  testMatch: ["**/*.test.js"],
  testEnvironment: "node",
  testTimeout: 30_000,
  // VMs share the machine's cores with the tests that watch them.
  maxWorkers: 2,
  watchman: false,
};
