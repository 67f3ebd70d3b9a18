"use strict";
// What a shell's screen shows, and the wait until it shows something.

const timers = require("node:timers");
const { types } = require("node:util");

const { follow } = require("./abort");
const check = require("./arguments");
const defaults = require("./defaults");
const { AgentVmError, aborted, invalid, systemError } = require("./error");
const { shellScreen } = require("./wire");

/** @import { ShellScreen } from "../index" */
/** @import { Check } from "./arguments" */
/** @import { Calls } from "./calls" */

const readOptions = { __proto__: /** @type {null} */ (null), after: check.after.after, signal: check.abortSignal };

/** The longest time that a timer of Node.js can have, in milliseconds: 24 days. */
const LONGEST_TIMER = 0x7fffffff;

/** @type {Check<string | RegExp>} */
function pattern(name, value) {
  if (typeof value === "string") return value;
  if (!types.isRegExp(value)) throw invalid(`${name} must be a string or a RegExp, not ${check.show(value)}`);
  // A copy without the flags that make a match depend on the one before.
  return new RegExp(value.source, value.flags.replace(/[gy]/g, ""));
}

/**
 * Reads a shell's screen, after the checks of the arguments.
 * @param {Calls} calls
 * @param {unknown} shellId
 * @param {unknown} options
 */
async function readScreen(calls, shellId, options) {
  const id = check.shellId("shellId", shellId);
  const { after, signal } = check.members("options", options, readOptions);
  calls.requireVm();
  return read(calls, id, after, signal);
}

/**
 * Waits until a shell's screen matches, after the checks of the arguments.
 * @param {Calls} calls
 * @param {unknown} shellId
 * @param {unknown} wanted
 * @param {unknown} options
 */
async function waitForScreen(calls, shellId, wanted, options) {
  const id = check.shellId("shellId", shellId);
  const checked = pattern("pattern", wanted);
  const { timeout = defaults.timeout, signal } = check.members("options", options, check.waiting);
  calls.requireVm();
  if (signal?.aborted) throw aborted(signal);
  const controller = new AbortController();
  const end = () => controller.abort();
  let late = false;
  const onTimeout = () => {
    late = true;
    end();
  };
  const timer = timeout > 0 ? timers.setTimeout(onTimeout, Math.min(timeout, LONGEST_TIMER)) : undefined;
  const unfollow = signal && follow(signal, end);
  try {
    return await untilMatch(calls, id, checked, controller.signal);
  } catch (error) {
    if (systemError(error).code !== "ABORTED") throw error;
    if (signal?.aborted) throw aborted(signal);
    if (late) throw new AgentVmError("ETIMEDOUT", `ETIMEDOUT: the screen of ${id} did not match within ${timeout} ms`);
    throw error;
  } finally {
    timers.clearTimeout(timer);
    unfollow?.();
  }
}

/**
 * @param {Calls} calls
 * @param {string} shellId
 * @param {string | RegExp} wanted
 * @param {AbortSignal} signal
 */
async function untilMatch(calls, shellId, wanted, signal) {
  /** @type {number | undefined} */
  let after;
  for (;;) {
    const screen = await read(calls, shellId, after, signal);
    if (matches(screen, wanted)) return screen;
    if (screen.exited) {
      throw new AgentVmError("SHELL_NOT_FOUND", `Shell not found: ${shellId} ended before its screen matched`);
    }
    after = screen.nextSeq;
  }
}

/**
 * @param {ShellScreen} screen
 * @param {string | RegExp} wanted
 */
function matches({ lines }, wanted) {
  const text = lines.join("\n");
  return typeof wanted === "string" ? text.includes(wanted) : wanted.test(text);
}

/**
 * @param {Calls} calls
 * @param {string} shellId
 * @param {number | undefined} after
 * @param {AbortSignal | undefined} signal
 */
async function read(calls, shellId, after, signal) {
  return shellScreen(await calls.abortable("readScreen", signal, shellId, after));
}

module.exports = { readScreen, waitForScreen };
