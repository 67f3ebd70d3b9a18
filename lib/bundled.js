"use strict";
// Detects whether this package's code runs from its installed place or from a bundle, which lacks the addon and init.
// Loaded before everything else, because some bundles cannot even load Node.js's own modules.

const { AgentVmError, systemError } = require("./error");

const GUIDE = "https://github.com/agent-vm/agent-vm/blob/main/docs/bundlers.md";

const REMEDY =
  `Keep agent-vm out of the bundle, and in the server's node_modules: ` +
  `Next.js: serverExternalPackages: ["agent-vm"] in next.config; ` +
  `Vite: ssr: { external: ["agent-vm"] }; ` +
  `esbuild: external: ["agent-vm"]; ` +
  `webpack: externals: { "agent-vm": "commonjs agent-vm" }; ` +
  `Rollup: external: ["agent-vm"]. More: ${GUIDE}`;

/**
 * The error for a bundle that lacks required files; `cause` is the first failure, if there was one.
 * @param {unknown} [cause]
 */
function bundledError(cause) {
  const at = here();
  const place = at === undefined ? "" : `, into ${at}`;
  const details = { __proto__: null, path: at, cause };
  return new AgentVmError(
    "ISOLATION_UNAVAILABLE",
    `agent-vm's native binary is not found, because agent-vm has been bundled or moved${place}. ${REMEDY}`,
    details,
  );
}

/** @type {typeof import("node:fs")} */
let fs;
/** @type {typeof import("node:path")} */
let path;
try {
  fs = require("node:fs");
  path = require("node:path");
} catch (cause) {
  throw bundledError(cause);
}

/** The path of the file that this code runs from, if known: bundlers remove the variable or invent a path. */
function here() {
  return typeof __filename === "string" && path?.isAbsolute(__filename) && fs.existsSync(__filename)
    ? __filename
    : undefined;
}

/** Whether this code runs from a bundle: only the package's own file has the package.json in its parent directory. */
function isBundled() {
  const at = here();
  if (at === undefined || path.basename(at) !== "bundled.js") return true;
  try {
    return JSON.parse(fs.readFileSync(path.join(path.dirname(at), "../package.json"), "utf8")).name !== "agent-vm";
  } catch (error) {
    return systemError(error).code === "ENOENT";
  }
}

module.exports = { GUIDE, bundledError, isBundled };
