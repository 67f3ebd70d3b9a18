"use strict";
// The handles, for both sides of an actor.

const { VmProcess } = require("./vm-process");
const { VmShell } = require("./vm-shell");

module.exports = { VmProcess, VmShell };
