"use strict";
// The option `software`: packages made for agentOS, used by a VM that runs native programs.
//
// A package of commands contains them as WebAssembly, which is not used: the VM must have programs of the same names.
// An agent or a tool consists of npm packages, which the VM shows.

const { readdir } = require("node:fs/promises");
const nodePath = require("node:path");

const { show } = require("../arguments");
const { AgentVmError, invalid, systemError } = require("../error");
const { member, pick } = require("../members");
const { programsOf } = require("./node-modules");
const { isFileName } = require("./package-manifest");

const SHAPES =
  "a package of commands ({ commands, commandDir }), an agent ({ type: 'agent', packageDir, requires, allowLinks }), a tool " +
  "({ type: 'tool', packageDir, requires, bins, allowLinks }), or an array of these";

/** @import { Bare } from "../members" */

/**
 * A package of commands: their names, or the directory that contains them.
 * @typedef {Bare<{
 *   name: string, called: string, aptName: string | undefined, aliases: string[], packageDir?: undefined,
 * } & ({ names: string[] } | { names: undefined, commandDir: string })>} Commands
 */

/**
 * An agent or a tool. `source` is the object that the caller passed.
 * @typedef {Bare<{
 *   name: string, called: string, source: object, packageDir: string, requires: string[], bins: Map<string, string> | undefined,
 *   allowLinks: string[] | undefined,
 * }>} Programs
 */

/**
 * The members that are read from a package.
 * @type {("name" | "type" | "aptName" | "commands" | "commandDir" | "aliases" | "packageDir" | "requires" | "bins" | "allowLinks")[]}
 */
const MEMBERS = [
  "name",
  "type",
  "aptName",
  "commands",
  "commandDir",
  "aliases",
  "packageDir",
  "requires",
  "bins",
  "allowLinks",
];
const NONE = { __proto__: null };

/**
 * The maximum depth of nested arrays. Real packages nest two or three deep; only an array that contains itself has no
 * end.
 */
const DEPTH = 16;

/**
 * The packages, checked, in one flat list.
 * @param {string} name
 * @param {unknown} value
 * @returns {(Commands | Programs)[]}
 */
function packagesOf(name, value, depth = 0) {
  if (Array.isArray(value) && depth < DEPTH) {
    return Array.from(value, (item, index) => packagesOf(`${name}[${index}]`, item, depth + 1)).flat();
  }
  if (depth === 0) throw invalid(`${name} must be an array; each of it ${SHAPES}`);
  return [packageOf(name, value)];
}

/**
 * @param {string} name
 * @param {unknown} value
 * @returns {Commands | Programs}
 */
function packageOf(name, value) {
  /** @param {string} what */
  const wrong = (what) => invalid(`${name} must be ${SHAPES}; ${what}`);
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw wrong("it is none of these");
  const read = pick(value, MEMBERS);
  const {
    name: called = name,
    type,
    aptName,
    commands,
    commandDir,
    aliases = NONE,
    packageDir,
    requires,
    bins,
    allowLinks,
  } = read;
  if (typeof called !== "string") throw wrong("its name is no string");
  if (packageDir !== undefined || type === "agent" || type === "tool") {
    if (typeof packageDir !== "string" || !nodePath.isAbsolute(packageDir)) {
      throw wrong(`its packageDir is no absolute path on the host`);
    }
    if (!isStrings(requires)) throw wrong("its requires is no array of npm packages' names");
    if (bins !== undefined && !(isObject(bins) && isStrings(Object.values(bins)))) {
      throw wrong("its bins is no object of npm packages' names");
    }
    if (allowLinks !== undefined && !(isStrings(allowLinks) && allowLinks.every((path) => nodePath.isAbsolute(path)))) {
      throw wrong("its allowLinks is no array of absolute paths on the host");
    }
    const given = [packageDir, ...(requires ?? []), ...Object.values(bins ?? {}), ...(allowLinks ?? [])];
    if (given.some((one) => !isText(String(one))))
      throw wrong("a path or name has a NUL byte or half a surrogate pair");
    const named = bins && new Map(Object.entries(bins));
    return { __proto__: null, name, called, source: value, packageDir, requires, bins: named, allowLinks };
  }
  if (type !== undefined && type !== "wasm-commands") throw wrong(`its type is ${JSON.stringify(type)}`);
  const directory = typeof commandDir === "string" ? commandDir : undefined;
  if (commands === undefined && directory === undefined) throw wrong("it has neither commands nor packageDir");
  if (commands === undefined && directory !== undefined && !isText(directory)) {
    throw wrong("its commandDir has a NUL byte or half a surrogate pair");
  }
  if (commands !== undefined && !Array.isArray(commands)) throw wrong("its commands is no array");
  if (!isObject(aliases)) throw wrong("its aliases is no object");
  if (aptName !== undefined && typeof aptName !== "string") throw wrong("its aptName is no string");
  const common = { name, called, aptName, aliases: Object.keys(aliases) };
  if (commands === undefined) {
    // It can only be missing if there are `commands`.
    return { __proto__: null, ...common, names: undefined, commandDir: /** @type {string} */ (directory) };
  }
  /** @type {unknown[]} */
  const names = [...commands.map((command) => member(command, "name") ?? command), ...common.aliases];
  if (!(isStrings(names) && names.every(isFileName)))
    throw wrong(
      "one of its commands has no name that a file can have: 1 to 255 bytes without / and control characters",
    );
  return { __proto__: null, ...common, names };
}

/**
 * @param {unknown} value
 * @returns {value is object}
 */
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
/**
 * @param {unknown} value
 * @returns {value is string[]}
 */
const isStrings = (value) => Array.isArray(value) && value.every((item) => typeof item === "string");

/** Whether it can be a path or a name of the host. @param {string} value */
const isText = (value) => !value.includes("\0") && value.isWellFormed();

/**
 * What the packages in `packages` need: `commands` that the VM must have, and `mounts` and `bins` to show.
 * @param {(Commands | Programs)[]} packages
 */
async function needsOf(packages) {
  /** @type {Map<string, Commands>} */
  const commands = new Map();
  /** @type {Programs[]} */
  const programs = [];
  for (const one of packages) {
    if (one.packageDir !== undefined) programs.push(one);
    else {
      const names = one.names ?? [...(await commandsIn(one)), ...one.aliases];
      // A name that begins with an underscore is a part of the package, not a program.
      for (const name of names) if (!name.startsWith("_") && !commands.has(name)) commands.set(name, one);
    }
  }
  return { __proto__: null, commands, ...(await programsOf(programs)) };
}

/** @param {{ name: string, called: string, commandDir: string }} commands */
async function commandsIn({ name, called, commandDir }) {
  let names;
  try {
    names = await readdir(commandDir);
  } catch (thrown) {
    const error = systemError(thrown);
    throw new AgentVmError(
      error.code,
      `The commandDir of the software package ${called} cannot be read: ${error.message}`,
      { __proto__: null, ...error, cause: error },
    );
  }
  const wrong = names.find((one) => !isFileName(one));
  if (wrong === undefined) return names;
  throw invalid(`${name}.commandDir must hold files whose names have no control characters, not ${show(wrong)}`);
}

/**
 * A script for `sh`: prints, one per line, those of its arguments that are not programs on the PATH. A program that
 * only prints an explanation counts as missing.
 */
const MISSING =
  'set -f; IFS=:; for name; do for directory in $PATH; do [ "$directory" != /opt/node/explain ] && [ -f "$directory/$name" ] && [ -x "$directory/$name" ] && continue 2; done; ' +
  "printf '%s\\n' \"$name\"; done";

/**
 * Rejects with ENOENT if the VM lacks one of the `commands`. `exec` runs a program in the VM.
 * @param {Map<string, Commands>} commands
 * @param {(file: string, args: string[]) => Promise<{ stdout: string }>} exec
 */
async function requireCommands(commands, exec) {
  if (commands.size === 0) return;
  const { stdout } = await exec("/bin/sh", ["-c", MISSING, "sh", ...commands.keys()]);
  if (stdout !== "") throw missingError(stdout.trimEnd().split("\n"), commands);
}

/**
 * An ENOENT that lists those of the `commands` whose names MISSING printed.
 * @param {string[]} missing
 * @param {Map<string, Commands>} commands
 */
function missingError(missing, commands) {
  const told = missing.map((name) => {
    const { called, aptName } = commands.get(name) ?? { called: name };
    const remedy = aptName === undefined ? "" : `; the Debian package ${aptName} brings it`;
    return `"${name}", which the software package ${called} asks for${remedy}`;
  });
  return new AgentVmError("ENOENT", `The VM has no program ${told.join(", nor ")}`, { path: missing[0] });
}

module.exports = { packagesOf, needsOf, requireCommands };
