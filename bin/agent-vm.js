#!/usr/bin/env node
"use strict";
// The command: `npx agent-vm doctor | run | shell`.

const { main } = require("../lib/cli/main");

main(process.argv.slice(2)).then(
  (exitCode) => process.exit(exitCode),
  (error) => {
    process.stderr.write(`agent-vm: ${error.message}\n`);
    // As a shell has it: 2 for a wrong call, 125 (as `env` and `timeout` have it) where the command could not be run.
    process.exit(error.code === "USAGE" || error.code === "INVALID_ARGUMENT" ? 2 : 125);
  },
);
