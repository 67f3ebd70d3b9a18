"use strict";
// The paths that a VM provides itself. The addon has the list (crates/host/src/boot/own_paths.rs).

const { paths } = require("../native");

/** Nothing may be mounted at or below these. */
const closed = [...paths.kernel, ...paths.added];

/** What makes a VM a Linux machine. */
const system = ["/etc", "/var", ...paths.programs, ...closed, paths.home];

module.exports = { ...paths, closed, system };
