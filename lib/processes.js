"use strict";
// The processes that spawn has started: who is to be told of their output and of their end.

const { AsyncLocalStorage } = require("node:async_hooks");

const { follow } = require("./abort");
const { commandLine } = require("./arguments");
const { exitStatus } = require("./exit-status");
const { json } = require("./members");

/** Exited processes whose callbacks are kept for what their children still write; as many as are remembered. */
const EXITED = 1024;

/** Of a process that nobody follows. */
const NOBODY = { __proto__: null };

class Processes {
  #calls;
  #followers = new Map();
  #exited = [];

  constructor(calls) {
    this.#calls = calls;
  }

  /** Starts one, and resolves to its pid. `told` is a diagnostic that is under way, or none. */
  async spawn(program, args, { stdin, signal, onStdout, onStderr, ...rest }, told) {
    const inContext = AsyncLocalStorage.snapshot();
    const onStart = (pid) => {
      const follower = { onStdout, onStderr, inContext, release: () => {}, told };
      if (signal) {
        const abort = () => this.#calls.ask("killProcess", pid).catch(() => {});
        if (signal.aborted) abort();
        else follower.release = follow(signal, abort);
      }
      this.#followers.set(pid, follower);
    };
    try {
      return await this.#calls.start("spawn", onStart, commandLine(program, args), json(rest), stdin);
    } catch (error) {
      told?.({ error });
      throw error;
    }
  }

  /** Runs `action` in the asynchronous context of the `spawn` that started the process. */
  inContextOf(pid, action) {
    const { inContext } = this.#followers.get(pid) ?? NOBODY;
    return inContext ? inContext(action) : action();
  }

  onOutput(pid, stream, data) {
    const { onStdout, onStderr } = this.#followers.get(pid) ?? NOBODY;
    const callback = stream === "stderr" ? onStderr : onStdout;
    if (callback) this.inContextOf(pid, () => callback(data));
  }

  /** A process has exited; `emit` is called with its ExitStatus. */
  onExit(pid, status, emit) {
    const follower = this.#followers.get(pid) ?? NOBODY;
    const { release, told, inContext } = follower;
    release?.();
    this.#exited.push([pid, follower]);
    if (this.#exited.length > EXITED) {
      const [oldest, its] = this.#exited.shift();
      // The number may be another process's by now, which may still run.
      if (this.#followers.get(oldest) === its) this.#followers.delete(oldest);
    }
    this.#calls.ended();
    const exit = exitStatus(status);
    told?.({ pid, ...exit });
    if (inContext) inContext(emit, exit);
    else emit(exit);
  }
}

module.exports = { Processes };
