"use strict";
// Checks of the calls' arguments; options/create.js checks the options of `create`. A check returns the value in the
// form that the addon takes, or throws an INVALID_ARGUMENT that names the argument and says what would be right.

const { constants: bufferConstants } = require("node:buffer");
const os = require("node:os");
const nodePath = require("node:path");
const { types } = require("node:util");

const { pipeNumbers } = require("./descriptors");
const { invalid } = require("./error");
const { holders, member } = require("./members");
const { printable } = require("./printable");

/** @import { Bare } from "./members" */
/** @import { Pairs } from "./wire" */

/**
 * Checks the argument called `name`.
 * @template T
 * @typedef {(name: string, value: unknown) => T} Check
 */

/**
 * The checks of an object's members.
 * @typedef {{ readonly [name: string]: Check<unknown> | null, readonly __proto__: null }} Checks
 */

/**
 * The members of an object that has passed its checks.
 * @template {Checks} C
 * @typedef {{ [name in Exclude<keyof C, "__proto__">]?: C[name] extends Check<infer T> ? Exclude<T, undefined> : never }} Checked
 */

/** The longest text to look for in output: what is searched together has at least as many bytes. */
const MOST_PATTERN = 16_384;

/** @typedef {Checked<typeof exec>} CheckedExec */
/** @typedef {Checked<typeof contextExec>} CheckedContextExec */
/** @typedef {Checked<typeof run>} CheckedRun */
/** @typedef {Checked<typeof spawn>} CheckedSpawn */
/** @typedef {Checked<typeof shell>} CheckedShell */

/**
 * A wrong value for an error message: shortened, and with its type if the type is wrong.
 * @param {unknown} value
 */
function show(value) {
  if (value === null || value === undefined) return String(value);
  if (typeof value === "string") return printable(JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value));
  if (typeof value === "number" || typeof value === "boolean" || typeof value === "bigint") return String(value);
  return Array.isArray(value) ? "an array" : `a value of type ${typeof value}`;
}

/** @type {Check<string>} */
function text(name, value) {
  if (typeof value !== "string") throw invalid(`${name} must be a string, not ${show(value)}`);
  if (value.includes("\0")) throw invalid(`${name} must not contain a NUL byte`);
  return wellFormed(name, value);
}

/**
 * Half a surrogate pair has no form in UTF-8. Node.js would make U+FFFD of it: another name than the one that was given.
 * @param {string} name
 * @param {string} value
 */
function wellFormed(name, value) {
  if (!value.isWellFormed()) {
    throw invalid(`${name} must be well-formed Unicode, without half a surrogate pair, not ${show(value)}`);
  }
  return value;
}

/** @type {Check<string>} */
function program(name, value) {
  const file = text(name, value);
  if (file === "") throw invalid(`${name} must name a program, not be empty`);
  return file;
}

/**
 * A user of the VM. Only the VM knows which users it has.
 * @type {Check<string>}
 */
function user(name, value) {
  const who = text(name, value);
  if (who === "") throw invalid(`${name} must be the name or the number of a user, not empty`);
  return who;
}

/** @type {Check<string[]>} */
function texts(name, value) {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw invalid(`${name} must be an array of strings, not ${show(value)}`);
  return each(value, (item, index) => text(`${name}[${index}]`, item));
}

/**
 * The results of `check` for the first `length` items, including holes. The array may change during the loop.
 * @template T, U
 * @param {readonly T[]} array
 * @param {(item: T, index: number) => U} check
 */
function each(array, check, length = array.length) {
  /** @type {U[]} */
  const checked = [];
  // A hole reads as undefined, which every check refuses: T is `unknown` where holes can occur.
  for (let index = 0; index < length; index++) checked.push(check(/** @type {T} */ (array[index]), index));
  return checked;
}

/** @type {Check<string>} */
function absolutePath(name, value) {
  const file = text(name, value);
  if (!nodePath.posix.isAbsolute(file)) {
    throw invalid(`${name} must be an absolute path inside the VM, not ${show(value)}`);
  }
  return file;
}

/**
 * Environment variables as pairs.
 * @type {Check<Pairs | undefined>}
 */
function env(name, value) {
  if (value === undefined) return undefined;
  if (!isPlainObject(value)) throw invalid(`${name} must be an object of strings, not ${show(value)}`);
  return each(Object.entries(value), ([key, entry]) => {
    if (key === "" || key.includes("=") || key.includes("\0")) {
      throw invalid(`${name} has the name ${show(key)}; a name must not be empty nor contain "=" or a NUL byte`);
    }
    return [wellFormed(`a name in ${name}`, key), text(`${name}.${key}`, entry)];
  });
}

/**
 * Refuses objects such as a Map, whose entries would be ignored. Accepts objects of other realms and instances of
 * classes.
 * @param {unknown} value
 * @returns {value is object}
 */
function isPlainObject(value) {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  if (types.isDate(value) || types.isRegExp(value) || types.isNativeError(value) || types.isBoxedPrimitive(value)) {
    return false;
  }
  // Maps, promises and typed arrays get this member from their class; plain objects do not have it.
  return !types.isArgumentsObject(value) && member(value, Symbol.toStringTag) === undefined;
}

/**
 * Checks an object that has a check for every member. A member that is `undefined` counts as absent. Each member is
 * read once. Members inherited from classes count, getters too, since options may be built on defaults; members of
 * Object.prototype do not count.
 * @template {Checks} C
 * @param {string} name
 * @param {unknown} value
 * @param {C} checks
 * @returns {Checked<C>}
 */
function members(name, value, checks) {
  /** @type {Bare<{ [name: string]: unknown }>} */
  const read = { __proto__: null };
  // Each member is the result of its check.
  const checked = /** @type {Checked<C>} */ (read);
  if (value === undefined) return checked;
  if (!isPlainObject(value)) throw invalid(`${name} must be an object, not ${show(value)}`);
  const seen = new Set();
  for (const holder of holders(value)) {
    for (const key of Reflect.ownKeys(holder)) {
      if (typeof key !== "string" || seen.has(key)) continue;
      seen.add(key);
      const check = Object.hasOwn(checks, key) ? checks[key] : undefined;
      // For example, a class's methods.
      if (!check && !Object.prototype.propertyIsEnumerable.call(holder, key)) continue;
      const given = Reflect.get(value, key);
      if (given === undefined) continue;
      if (!check) {
        throw invalid(`${name} has no member ${show(key)}; there are ${Object.keys(checks).join(", ")}`);
      }
      read[key] = check(name === "options" ? key : `${name}.${key}`, given);
    }
  }
  return checked;
}

/**
 * @param {number} minimum
 * @param {number} maximum
 * @returns {Check<number>}
 */
function integer(minimum, maximum) {
  return (name, value) => {
    if (typeof value !== "number" || !Number.isInteger(value) || value < minimum || value > maximum) {
      throw invalid(`${name} must be a whole number from ${minimum} to ${maximum}, not ${show(value)}`);
    }
    return value;
  };
}

/**
 * What `check` takes, and null.
 * @template T
 * @param {Check<T>} check
 * @returns {Check<T | null>}
 */
function orNull(check) {
  return (name, value) => (value === null ? null : check(name, value));
}

const pid = integer(1, 0x7fffffff);
const size = integer(1, 65535);
const position = integer(0, Number.MAX_SAFE_INTEGER);

/** @type {Check<number>} */
function milliseconds(name, value) {
  if (typeof value !== "number" || !Number.isFinite(value) || value < 0) {
    throw invalid(`${name} must be a number of milliseconds, 0 or more (0 means none), not ${show(value)}`);
  }
  return value;
}

/**
 * Converts text or bytes to bytes.
 * @type {Check<Uint8Array>}
 */
function data(name, value) {
  if (typeof value === "string") return Buffer.from(value);
  if (types.isUint8Array(value)) return value;
  throw invalid(`${name} must be a string or a Uint8Array, not ${show(value)}`);
}

/** @type {Check<(data: Uint8Array) => void>} */
function callback(name, value) {
  if (typeof value !== "function") throw invalid(`${name} must be a function, not ${show(value)}`);
  // The function's own parameters cannot be checked.
  return /** @type {(data: Uint8Array) => void} */ (value);
}

/** @type {Check<AbortSignal>} */
function abortSignal(name, value) {
  const listens = ["addEventListener", "removeEventListener"].every(
    (method) => typeof member(value, method) === "function",
  );
  if (typeof member(value, "aborted") !== "boolean" || !listens) {
    throw invalid(`${name} must be an AbortSignal, not ${show(value)}`);
  }
  // It may come from another realm, so only the members that are used are checked.
  return /** @type {AbortSignal} */ (value);
}

/**
 * The number of a signal from its name.
 * @type {Check<number>}
 */
function signal(name, value) {
  if (typeof value !== "string" || !Object.hasOwn(os.constants.signals, value)) {
    throw invalid(`${name} must be the name of a signal, like "SIGTERM", not ${show(value)}`);
  }
  return os.constants.signals[/** @type {NodeJS.Signals} */ (value)];
}

/** @type {Check<boolean>} */
function boolean(name, value) {
  if (typeof value !== "boolean") throw invalid(`${name} must be true or false, not ${show(value)}`);
  return value;
}

/**
 * @template {string} C
 * @param {C[]} choices
 * @returns {Check<C>}
 */
function oneOf(...choices) {
  return (name, value) => {
    const choice = choices.find((one) => one === value);
    if (choice === undefined) {
      throw invalid(`${name} must be one of ${choices.map((one) => `"${one}"`).join(", ")}, not ${show(value)}`);
    }
    return choice;
  };
}

/** @type {Check<string[]>} */
function paths(name, value) {
  return texts(name, value ?? null).map((item, index) => absolutePath(`${name}[${index}]`, item));
}

/** @type {Check<string>} */
function contextId(name, value) {
  return text(name, value);
}

/** @type {Check<string>} */
function shellId(name, value) {
  return text(name, value);
}

/** @type {("stdout" | "stderr")[]} */
const streams = ["stdout", "stderr"];
const stream = oneOf(...streams);

const run = {
  __proto__: /** @type {null} */ (null),
  env,
  cwd: absolutePath,
  stdin: data,
  timeout: milliseconds,
  killSignal: signal,
  killGrace: milliseconds,
  argv0: text,
  user,
  signal: abortSignal,
  onStdout: callback,
  onStderr: callback,
};
/** @type {Check<Bare<import("./descriptors").PipeNumbers>>} */
function descriptors(name, value) {
  if (!isPlainObject(value)) {
    throw invalid(`${name} must be an object such as { 3: "output", 4: "input" }, not ${show(value)}`);
  }
  return pipeNumbers(name, Object.entries(value));
}

const spawn = { ...run, __proto__: null, descriptors };
const exec = {
  ...run,
  __proto__: null,
  encoding: oneOf("utf8", "buffer"),
  maxOutputBytes: integer(0, bufferConstants.MAX_STRING_LENGTH),
  keepOutput: oneOf("head", "tail", "ends"),
  check: boolean,
};
/** Of a command in a context: the context has a working directory and an environment, and standard input is empty. */
const contextExec = {
  __proto__: /** @type {null} */ (null),
  contextId,
  timeout: milliseconds,
  signal: abortSignal,
  onStdout: callback,
  onStderr: callback,
  encoding: exec.encoding,
  maxOutputBytes: exec.maxOutputBytes,
  keepOutput: exec.keepOutput,
  check: boolean,
};
const context = { __proto__: /** @type {null} */ (null), cwd: absolutePath, env, shell: program, user };
const recursive = { __proto__: null, recursive: boolean };
const walk = { __proto__: null, maxDepth: integer(0, 4096), exclude: texts };
const port = integer(1, 65535);
/**
 * A text or a regular expression to look for in output. The flags `g` and `y` do not count.
 * @type {Check<string | RegExp>}
 */
function pattern(name, value) {
  if (types.isRegExp(value)) return value;
  if (typeof value !== "string") throw invalid(`${name} must be a string or a RegExp, not ${show(value)}`);
  if (value === "" || value.length > MOST_PATTERN) {
    throw invalid(`${name} must have from 1 to ${MOST_PATTERN} characters, not ${value.length}`);
  }
  // No output has such a text.
  return wellFormed(name, value);
}

const waiting = { __proto__: /** @type {null} */ (null), timeout: milliseconds, signal: abortSignal };
const waitingOutput = { ...waiting, __proto__: /** @type {null} */ (null), after: position };
const shell = {
  __proto__: null,
  command: program,
  args: texts,
  env,
  cwd: absolutePath,
  cols: size,
  rows: size,
  screen: boolean,
  user,
};
const after = { __proto__: null, after: position };

module.exports = {
  show,
  text,
  program,
  user,
  path: absolutePath,
  paths,
  boolean,
  oneOf,
  env,
  integer,
  orNull,
  recursive,
  walk,
  port,
  texts,
  each,
  isPlainObject,
  pid,
  size,
  data,
  signal,
  abortSignal,
  contextId,
  shellId,
  streams,
  stream,
  members,
  run,
  spawn,
  exec,
  contextExec,
  context,
  pattern,
  waiting,
  waitingOutput,
  shell,
  after,
};
