"use strict";

module.exports = {
  ...require("./jest.config.js"),
  // A JVM takes seconds to start on a busy machine.
  testTimeout: 120_000,
  testMatch: ["**/__test__/programs/*.test.js"],
  testPathIgnorePatterns: [],
};
