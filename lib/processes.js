"use strict";
// The processes that spawn has started, and the callbacks for their output and their end.

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

/** Exited processes whose callbacks are kept for what their children still write; as many as are remembered. */
const EXITED = 1024;

/**
 * Of a process that nobody follows.
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
   * Starts one, and resolves to its pid. `told` is a diagnostic that is under way, or none.
   * @param {string} program
   * @param {readonly string[]} args
   * @param {CheckedRun} options
   * @param {Follower["told"]} told
   */
  async spawn(program, args, options, told) {
    const { env, cwd, timeout = defaults.timeout, stdin, signal, onStdout, onStderr } = options;
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
   * A process has exited.
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
    // The number may be another process's by now, which may still run.
    if (oldest && this.#followers.get(oldest[0]) === oldest[1]) this.#followers.delete(oldest[0]);
    this.#calls.ended();
    const exit = exitStatus(status);
    told?.({ pid, ...exit });
    if (inContext) inContext(emit, exit);
    else emit(exit);
  }
}

exports.Processes = Processes;
