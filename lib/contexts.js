"use strict";
// Contexts: shells that keep their state between commands.

const { aborted } = require("./error");
const defaults = require("./defaults");
const { keptBytes } = require("./exec");
const { member } = require("./members");
const check = require("./arguments");

/** @import { ContextInfo } from "../index" */
/** @import { CheckedContextExec } from "./arguments" */
/** @import { Pairs } from "./wire" */

/**
 * The context that the options of an exec name, or undefined.
 * @param {unknown} options
 */
function contextOf(options) {
  return check.isPlainObject(options) ? member(options, "contextId") : undefined;
}

/**
 * Runs a command in a context.
 * @param {import("./calls").Calls} calls
 * @param {string} command
 * @param {import("./members").Bare<CheckedContextExec>} options
 */
function execInContext(calls, command, options) {
  const { contextId, timeout = defaults.timeout, signal, onStdout, onStderr, encoding } = options;
  // A computed member may have another value by now.
  const id = check.contextId("contextId", contextId);
  calls.requireVm();
  if (signal?.aborted) throw aborted(signal);
  const streams = onStdout !== undefined || onStderr !== undefined;
  /** @type {import("./members").Bare<import("../src/addon").ContextExecOptions>} */
  const request = { __proto__: null, timeout, ...keptBytes(options), bytes: encoding === "buffer", streams };
  return calls.execInContext(id, command, request, signal, onStdout, onStderr);
}

/**
 * What `getContext` resolves to. Its environment comes as pairs.
 * @param {Omit<ContextInfo, "env"> & { env: Pairs }} info
 * @returns {ContextInfo}
 */
function contextInfo({ env, ...info }) {
  return { ...info, env: Object.fromEntries(env) };
}

module.exports = { contextInfo, contextOf, execInContext };
