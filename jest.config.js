"use strict";

module.exports = {
  // Only here: npm/ and dist/ hold further package.json files that jest would take for the project's own.
  roots: ["<rootDir>/__test__"],
  testMatch: ["**/*.test.js"],
  // What these need is large: `npm run test:programs` and `npm run test:packages`.
  testPathIgnorePatterns: ["/__test__/(programs|packages)/"],
  setupFiles: ["<rootDir>/__test__/fixture/test-user.js"],
  testEnvironment: "node",
  // A bound on how long a test that fails takes on a busy machine, and no promise.
  testTimeout: 90_000,
  // VMs share the machine's cores with the tests that watch them.
  maxWorkers: 2,
  watchman: false,
};
