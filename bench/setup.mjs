// Installs the peers: npm packages in this directory's node_modules, and Debian packages by apt if this runs as root. A
// peer that cannot be installed does not stop the set-up; the table shows it with the reason.
import { existsSync, readFileSync, statSync } from "node:fs";
import { isBuiltin } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { output, root, run } from "../scripts/step.mjs";

const here = dirname(fileURLToPath(import.meta.url));

/** bubblewrap is a peer, and sandbox-runtime needs all three. */
const debian = ["bubblewrap", "socat", "ripgrep"];
const programs = { bubblewrap: "bwrap", socat: "socat", ripgrep: "rg" };

export function setUp() {
  installDebianPackages();
  installNodeModules();
  buildNodePty();
}

function installDebianPackages() {
  const missing = debian.filter((name) => output("which", [programs[name]]) === null);
  if (missing.length === 0) return;
  if (process.getuid() !== 0 || output("apt-get", ["--version"]) === null) {
    console.log(`Not here, and measured without: ${missing.join(", ")}`);
    return;
  }
  const env = { DEBIAN_FRONTEND: "noninteractive" };
  run("apt-get", ["update", "--quiet=2"], { env });
  run("apt-get", ["--quiet=2", "install", "--yes", "--no-install-recommends", ...missing], { env });
}

function installNodeModules() {
  const installed = join(here, "node_modules/.package-lock.json");
  const lock = join(here, "package-lock.json");
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(lock).mtimeMs) return;
  // Not `npm ci`: it also requires agentOS's programs for other platforms in the lock file, and not all of those are
  // published.
  const flags = ["--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
  run("npm", ["install", "--prefix", here, ...flags]);
}

/**
 * node-pty has no prebuilt program for Linux: its addon is compiled, against this Node.js's own headers if they are
 * installed.
 */
function buildNodePty() {
  const directory = join(here, "node_modules/node-pty");
  if (!existsSync(directory) || existsSync(join(directory, "build/Release/pty.node"))) return;
  const prefix = dirname(dirname(process.execPath));
  const headers = existsSync(join(prefix, "include/node/node.h")) ? [`--nodedir=${prefix}`] : [];
  run(process.execPath, [nodeGyp(), "rebuild", "--directory", directory, "--loglevel=error", ...headers]);
}

/** The node-gyp that npm includes. */
function nodeGyp() {
  const modules = output("npm", ["root", "--global"])?.trim() ?? "";
  return join(modules, "npm/node_modules/node-gyp/bin/node-gyp.js");
}

/**
 * The Node.js that a contender runs on: this one, except for contenders that need the SQLite of a later one, which `npm
 * run setup` has fetched for the tests.
 */
export function nodeOf(contender) {
  if (contender !== "agentos-0.1" || isBuiltin("node:sqlite")) return process.execPath;
  const name = `node-linux-${process.arch}`;
  return join(root, "node_modules/.cache/agent-vm/node-22/node_modules", name, "bin/node");
}

/** The versions of everything that is measured. */
export function versions() {
  const found = { node: process.version };
  const { dependencies } = JSON.parse(readFileSync(join(here, "package.json"), "utf8"));
  for (const name of Object.keys(dependencies)) {
    const path = join(here, "node_modules", name, "package.json");
    if (existsSync(path)) found[name] = JSON.parse(readFileSync(path, "utf8")).version;
  }
  const other = nodeOf("agentos-0.1");
  if (other !== process.execPath) found["node for agentos-0.1"] = output(other, ["--version"])?.trim() ?? "missing";
  const bwrap = output("bwrap", ["--version"]);
  if (bwrap) found.bubblewrap = bwrap.trim().split(" ").at(-1);
  return found;
}
