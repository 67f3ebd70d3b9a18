"use strict";
// The watches of files of a VM in this server.

const check = require("./arguments");
const { invalid } = require("./error");
const { watcherOf } = require("./watch");
const { parse } = require("./wire");

/** @import { AgentVm, WatchEvent } from "../index" */
/** @typedef {import("./watches").LocalWatches} LocalWatches */

/** The most characters of all excluded names, which are kept as long as the watch. */
const MOST_EXCLUDED = 65_536;

/** @type {import("./arguments").Check<string[]>} */
function exclude(name, value) {
  const names = check.texts(name, value);
  if (names.join("/").length > MOST_EXCLUDED) throw invalid(`${name} must have at most ${MOST_EXCLUDED} characters`);
  return names;
}

const watching = {
  __proto__: /** @type {null} */ (null),
  recursive: check.boolean,
  exclude,
  signal: check.abortSignal,
};

/** @type {WeakMap<AgentVm, LocalWatches>} */
const locals = new WeakMap();

/**
 * Makes the watches of a VM known to `watchesOf`.
 * @param {AgentVm} vm
 * @param {import("./calls").Calls} calls
 */
function register(vm, calls) {
  locals.set(vm, {
    open: async (path, options, signal) => {
      const file = check.path("path", path);
      const { recursive = false, exclude = [] } = check.members("options", options, watching);
      calls.requireVm();
      return calls.abortable("watch", signal, file, recursive, exclude);
    },
    take: async (opened) => {
      const text = await calls.ask("takeWatched", Number(opened));
      return text === undefined ? undefined : parse(text).map(eventOf);
    },
    close: (opened) => calls.attempt("unwatch", Number(opened)),
  });
}

/**
 * @param {import("./wire").WatchedChange} change
 * @returns {WatchEvent}
 */
function eventOf(change) {
  switch (change[0]) {
    case "renamed":
      return { type: "renamed", path: change[1], from: change[2] };
    case "unwatched":
      return { type: "unwatched", path: change[1], code: change[2] };
    default:
      return { type: change[0], path: change[1] };
  }
}

/** @param {AgentVm} vm */
function watchesOf(vm) {
  // The constructor has registered it.
  return /** @type {LocalWatches} */ (locals.get(vm));
}

/**
 * @param {LocalWatches} local
 * @param {unknown} path
 * @param {unknown} options
 */
function watch(local, path, options) {
  const file = check.path("path", path);
  const { signal, ...how } = check.members("options", options, watching);
  const backend = { ...local, open: (/** @type {AbortSignal} */ stop) => local.open(file, how, stop) };
  return watcherOf(backend, signal);
}

module.exports = { register, watch, watchesOf };
