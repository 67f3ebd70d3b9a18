#!/usr/bin/env node
"use strict";
// The command line program: `npx agent-vm doctor | run | shell | cp`.

const { exitCodeOf, main } = require("../lib/cli/main");
const { leave } = require("../lib/cli/terminal");

main(process.argv.slice(2)).then(leave, (error) => leave(exitCodeOf(error)));
