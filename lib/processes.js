"use strict";
// The processes that spawn has started: who is to be told of their output and of their end.

const { words } = require("./arguments");
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
  async spawn(file, args, { stdin, signal, onStdout, onStderr, ...rest }, told) {
    const onStart = (pid) => {
      const follower = { onStdout, onStderr, release: () => {}, told };
      if (signal) {
        const abort = () => this.#calls.ask("killProcess", pid).catch(() => {});
        follower.release = () => signal.removeEventListener("abort", abort);
        if (signal.aborted) abort();
        else signal.addEventListener("abort", abort, { __proto__: null, once: true });
      }
      this.#followers.set(pid, follower);
    };
    try {
      return await this.#calls.begin("spawn", onStart, words(file, args), json(rest), stdin);
    } catch (error) {
      told?.({ error });
      throw error;
    }
  }

  onOutput(pid, stream, data) {
    const follower = this.#followers.get(pid);
    if (stream === "stderr") follower?.onStderr?.(data);
    else follower?.onStdout?.(data);
  }

  /** Its ExitStatus. */
  onExit(pid, status) {
    const { release, told } = this.#followers.get(pid) ?? NOBODY;
    release?.();
    this.#exited.push(pid);
    if (this.#exited.length > EXITED) {
      const oldest = this.#exited.shift();
      // The number may be a running process's by now.
      if (!this.#exited.includes(oldest) && oldest !== pid) this.#followers.delete(oldest);
    }
    this.#calls.ended();
    const exit = exitStatus(status);
    told?.({ pid, ...exit });
    return exit;
  }
}

module.exports = { Processes };
