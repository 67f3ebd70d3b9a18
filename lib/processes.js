"use strict";
// The processes that spawn started, with the callbacks for their output and their end.

const { AsyncLocalStorage } = require("node:async_hooks");

const { follow } = require("./abort");
const defaults = require("./defaults");
const { commandLine, exitStatus } = require("./wire");

/** @import { ExitStatus } from "../index" */
/** @import { CheckedRun } from "./arguments" */
/** @import { ExitValues } from "./wire" */

/** @typedef {<R, A extends unknown[]>(action: (...args: A) => R, ...args: A) => R} InContext */

/**
 * The callbacks of a process.
 * @typedef {object} Follower
 * @property {((data: Uint8Array) => void) | undefined} [onStdout]
 * @property {((data: Uint8Array) => void) | undefined} [onStderr]
 * @property {InContext} [inContext]
 * @property {() => void} [release] Ends the following of its signal.
 * @property {import("./diagnostics").Publish | undefined} [told]
 */

/** How many exited processes keep their callbacks, for the output of their children; the addon remembers as many. */
const EXITED = 1024;

/**
 * For a process without callbacks.
 * @type {import("./members").Bare<Follower>}
 */
const NOBODY = { __proto__: null };

class Processes {
  #calls;
  /** @type {Map<number, Follower>} */
  #followers = new Map();
  /** @type {[pid: number, follower: Follower][]} */
  #exited = [];

  /** @param {import("./calls").Calls} calls */
  constructor(calls) {
    this.#calls = calls;
  }

  /**
   * Starts a process and resolves to its pid. `told` publishes the diagnostic that is under way, if there is one.
   * @param {string} program
   * @param {readonly string[]} args
   * @param {CheckedRun} options
   * @param {Follower["told"]} told
   */
  async spawn(program, args, options, told) {
    const { env = [], cwd, timeout = defaults.timeout, stdin, signal, onStdout, onStderr } = options;
    const inContext = AsyncLocalStorage.snapshot();
    /** @param {number} pid */
    const onStart = (pid) => {
      /** @type {Follower} */
      const follower = { onStdout, onStderr, inContext, release: () => {}, told };
      if (signal) {
        const abort = () => this.#calls.ask("killProcess", pid).catch(() => {});
        if (signal.aborted) abort();
        else follower.release = follow(signal, abort);
      }
      this.#followers.set(pid, follower);
    };
    try {
      /** @type {import("./members").Bare<import("../src/addon").SpawnOptions>} */
      const request = { __proto__: null, env, cwd, timeout };
      return await this.#calls.start("spawn", onStart, commandLine(program, args), request, stdin);
    } catch (error) {
      told?.({ error });
      throw error;
    }
  }

  /**
   * Runs `action` in the asynchronous context of the `spawn` that started the process.
   * @param {number} pid
   * @param {() => unknown} action
   */
  inContextOf(pid, action) {
    const { inContext } = this.#followers.get(pid) ?? NOBODY;
    return inContext ? inContext(action) : action();
  }

  /**
   * @param {number} pid
   * @param {"stdout" | "stderr"} stream
   * @param {Uint8Array} data
   */
  onOutput(pid, stream, data) {
    const { onStdout, onStderr } = this.#followers.get(pid) ?? NOBODY;
    const callback = stream === "stderr" ? onStderr : onStdout;
    if (callback) this.inContextOf(pid, () => callback(data));
  }

  /**
   * Called when a process has exited.
   * @param {number} pid
   * @param {ExitValues} status
   * @param {(exit: ExitStatus) => void} emit
   */
  onExit(pid, status, emit) {
    const follower = this.#followers.get(pid) ?? NOBODY;
    const { release, told, inContext } = follower;
    release?.();
    this.#exited.push([pid, follower]);
    const oldest = this.#exited.length > EXITED ? this.#exited.shift() : undefined;
    // Another process, which may still run, may have the same pid by now.
    if (oldest && this.#followers.get(oldest[0]) === oldest[1]) this.#followers.delete(oldest[0]);
    this.#calls.ended();
    const exit = exitStatus(status);
    told?.({ pid, ...exit });
    if (inContext) inContext(emit, exit);
    else emit(exit);
  }
}

exports.Processes = Processes;
