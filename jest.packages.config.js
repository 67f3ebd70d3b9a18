"use strict";

module.exports = {
  ...require("./jest.config.js"),
  // Hundreds of megabytes of packages are fetched and unpacked.
  testTimeout: 40 * 60_000,
  testMatch: ["**/__test__/packages/*.test.js"],
  testPathIgnorePatterns: [],
};
