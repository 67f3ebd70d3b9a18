"use strict";
// Parses the command line into the options that the package's calls take.

const path = require("node:path");
const { parseArgs } = require("node:util");

const { systemError } = require("../error");

/** @import { AgentVmOptions, Mount, NetworkAllowList } from "../../index" */

/** @typedef {ReturnType<typeof parse>["options"]} Values */

/** @typedef {{ type: "string" }} Text */
/** @typedef {{ type: "boolean" }} Flag */
/** @typedef {{ type: "string", multiple: true }} Texts */

/** @type {Text} */
const text = { type: "string" };
/** @type {Flag} */
const flag = { type: "boolean" };
/** @type {Texts} */
const texts = { type: "string", multiple: true };

const known = {
  mount: texts,
  directory: texts,
  home: text,
  rootfs: text,
  network: text,
  limit: texts,
  env: texts,
  cwd: text,
  hostname: text,
  name: text,
  exclude: texts,
  isolation: text,
  timeout: text,
  json: flag,
  help: { ...flag, short: "h" },
  version: flag,
};

/**
 * An error for a wrong command line.
 * @param {string} message
 */
function usage(message) {
  return Object.assign(new Error(`${message}\nTry 'agent-vm --help'.`), { code: "USAGE" });
}

/**
 * The command, its options, its operands, and the arguments after `--`.
 * @param {string[]} argv
 */
function parse(argv) {
  const end = argv.indexOf("--");
  const own = end < 0 ? argv : argv.slice(0, end);
  let parsed;
  try {
    parsed = parseArgs({ args: own, options: known, allowPositionals: true });
  } catch (error) {
    throw usage(systemError(error).message);
  }
  const { values, positionals } = parsed;
  const [command, ...operands] = positionals;
  if (operands.length > 0 && command !== "cp") {
    throw usage(`${JSON.stringify(operands[0])} is no option; the program to run follows "--"`);
  }
  return { command, options: values, operands, words: end < 0 ? [] : argv.slice(end + 1) };
}

/**
 * The options for `AgentVm.create`, which checks `isolation` itself.
 * @param {Values} options
 * @returns {AgentVmOptions}
 */
function createOptions(options) {
  const { home, rootfs, hostname, isolation } = options;
  return withoutUndefined({
    home: home && path.resolve(home),
    rootfs: rootfs && path.resolve(rootfs),
    hostname,
    isolation: /** @type {AgentVmOptions["isolation"]} */ (isolation),
    mounts: options.mount?.map(mount),
    directories: options.directory,
    network: options.network === undefined ? undefined : network(options.network),
    limits: options.limit && Object.fromEntries(options.limit.map(limit)),
    env: options.env && Object.fromEntries(options.env.map(variable)),
  });
}

/**
 * @param {string} value
 * @returns {Mount}
 */
function mount(value) {
  const [hostPath, inside, access = "ro", ...rest] = value.split(":");
  if (!hostPath || !inside || rest.length > 0 || !["ro", "rw"].includes(access)) {
    throw usage(`--mount takes HOST:INSIDE or HOST:INSIDE:rw, not ${JSON.stringify(value)}`);
  }
  return { path: inside, hostPath: path.resolve(hostPath), readOnly: access !== "rw" };
}

/**
 * @param {string} value
 * @returns {"none" | "public" | "host" | NetworkAllowList}
 */
function network(value) {
  if (value === "none" || value === "public" || value === "host") return value;
  return { allow: value.split(",").filter((entry) => entry !== "") };
}

/** @type {{ [name: string]: [option: string, read: (amount: string) => number] }} */
const LIMITS = {
  memory: ["memoryBytes", bytes],
  cpus: ["cpus", number],
  pids: ["pids", number],
  openFiles: ["openFiles", number],
  disk: ["diskBytes", bytes],
  terminals: ["terminals", number],
};

/**
 * @param {string} value
 * @returns {[option: string, amount: number]}
 */
function limit(value) {
  const [, name = "", amount = ""] = /^(\w+)=(.+)$/.exec(value) ?? [];
  const known = Object.hasOwn(LIMITS, name) ? LIMITS[name] : undefined;
  if (known === undefined) {
    throw usage(`--limit takes NAME=VALUE with one of ${Object.keys(LIMITS).join(", ")}, not ${JSON.stringify(value)}`);
  }
  const [option, read] = known;
  const parsed = read(amount);
  if (Number.isNaN(parsed))
    throw usage(`--limit ${name} takes a number, like ${name}=100, not ${JSON.stringify(amount)}`);
  return [option, parsed];
}

/** @param {string} value */
function number(value) {
  return /^\d+(\.\d+)?$/.test(value) ? Number(value) : NaN;
}

/** @param {string} value */
function bytes(value) {
  const [, amount, unit = ""] = /^(\d+)([KMG]?)$/i.exec(value) ?? [];
  if (amount === undefined) return NaN;
  return Number(amount) * 1024 ** ["", "K", "M", "G"].indexOf(unit.toUpperCase());
}

/**
 * @param {string} value
 * @returns {[name: string, value: string]}
 */
function variable(value) {
  const at = value.indexOf("=");
  if (at < 1) throw usage(`--env takes NAME=VALUE, not ${JSON.stringify(value)}`);
  return [value.slice(0, at), value.slice(at + 1)];
}

/** @param {string | undefined} value */
function timeout(value) {
  if (value === undefined) return undefined;
  const seconds = number(value);
  if (Number.isNaN(seconds)) throw usage(`--timeout takes a number of seconds, not ${JSON.stringify(value)}`);
  return seconds * 1000;
}

/**
 * The members of an object whose values are not undefined.
 * @template {object} T
 * @param {T} object
 */
function withoutUndefined(object) {
  const defined = Object.entries(object).filter(([, value]) => value !== undefined);
  return /** @type {{ [key in keyof T]: Exclude<T[key], undefined> }} */ (Object.fromEntries(defined));
}

module.exports = { createOptions, parse, timeout, usage, withoutUndefined };
