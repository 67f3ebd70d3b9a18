"use strict";
// What a shell's screen shows, and the wait until it shows something.

const timers = require("node:timers");

const { follow } = require("./abort");
const check = require("./arguments");
const defaults = require("./defaults");
const { AgentVmError, aborted, systemError } = require("./error");
const { shellScreen } = require("./wire");

/** @import { ShellScreen } from "../index" */
/** @import { Calls } from "./calls" */

const position = check.after.after;
const readOptions = {
  __proto__: /** @type {null} */ (null),
  after: position,
  resizes: position,
  signal: check.abortSignal,
};

/** The longest time that a timer of Node.js can have, in milliseconds: 24 days. */
const LONGEST_TIMER = 0x7fffffff;

/**
 * Reads a shell's screen, after the checks of the arguments.
 * @param {Calls} calls
 * @param {unknown} shellId
 * @param {unknown} options
 */
async function readScreen(calls, shellId, options) {
  const id = check.shellId("shellId", shellId);
  const { after, resizes, signal } = check.members("options", options, readOptions);
  calls.requireVm();
  return read(calls, id, { after, resizes }, signal);
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
  const checked = check.pattern("pattern", wanted);
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
  const matches = matcher(wanted);
  /** @type {Change} */
  let seen = {};
  for (;;) {
    const screen = await read(calls, shellId, seen, signal);
    if (matches(screen)) return screen;
    if (screen.exited) {
      throw new AgentVmError("OUTPUT_ENDED", `The output of ${shellId} has ended before its screen matched`);
    }
    seen = { after: screen.nextSeq, resizes: screen.resizes };
  }
}

/**
 * A function that says whether a screen has a text or matches a regular expression.
 * @param {string | RegExp} wanted
 * @returns {(screen: ShellScreen) => boolean}
 */
function matcher(wanted) {
  if (typeof wanted === "string") return ({ lines }) => lines.join("\n").includes(wanted);
  // A copy without the flags that make a match depend on the one before.
  const expression = new RegExp(wanted.source, wanted.flags.replace(/[gy]/g, ""));
  return ({ lines }) => expression.test(lines.join("\n"));
}

/**
 * What to wait for: output beyond a position, or more resizes.
 * @typedef {{ after?: number | undefined, resizes?: number | undefined }} Change
 */

/**
 * @param {Calls} calls
 * @param {string} shellId
 * @param {Change} change
 * @param {AbortSignal | undefined} signal
 */
async function read(calls, shellId, { after, resizes }, signal) {
  const { piece, value } = await calls.piece("readScreen", signal, shellId, after, resizes);
  return shellScreen(piece, value);
}

module.exports = { readScreen, waitForScreen };
