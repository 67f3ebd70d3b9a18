"use strict";
// Removes a directory of the server that a guest has filled. Internal: `agent-vm/rivetkit` uses it.

// First, as in index.js.
require("./bundled");

const { Calls } = require("./calls");

/**
 * Removes a directory with everything below it, however deep and whatever its names are, and directories that lock their owner
 * out too; links are not followed. Something that is not there is no error.
 * @param {string} path
 * @returns {Promise<void>}
 */
function removeTree(path) {
  return new Calls(() => {}).ask("removeTree", path);
}

module.exports = { removeTree };
