"use strict";
// The shells that openShell has opened: what is decided before one is opened, and whose events are whose.

const { AsyncLocalStorage } = require("node:async_hooks");

const { commandLine } = require("./arguments");
const { json } = require("./members");

class Shells {
  #calls;
  #env;
  #contexts = new Map();

  /** `env` is the environment of the VM, as `create` was given it. */
  constructor(calls, env) {
    this.#calls = calls;
    this.#env = env;
  }

  /** Opens one, and resolves to its id: the `command` of the checked options, or bash where the VM has it, else sh. */
  async open(options) {
    const inContext = AsyncLocalStorage.snapshot();
    if (options.command !== undefined) return this.#open(options, inContext);
    try {
      return await this.#open({ __proto__: null, ...options, command: "bash" }, inContext);
    } catch (error) {
      if (error.code !== "ENOENT" || error.path !== "bash") throw error;
      const env = [["SHELL", "/bin/sh"], ...(options.env ?? [])];
      return this.#open({ __proto__: null, ...options, command: "sh", env }, inContext);
    }
  }

  #open({ command, args = [], env = [], ...rest }, inContext) {
    const terminal = this.#env.some(([name]) => name === "TERM") ? [] : [["TERM", "xterm-256color"]];
    const message = json({ ...rest, env: [...terminal, ...env] });
    const onStart = (shellId) => this.#contexts.set(shellId, inContext);
    return this.#calls.start("openShell", onStart, commandLine(command, args), message);
  }

  /** Runs `action` in the asynchronous context of the `openShell` that opened the shell. */
  inContextOf(shellId, action) {
    const inContext = this.#contexts.get(shellId);
    return inContext ? inContext(action) : action();
  }

  /** A shell has exited, and `emit` has its last event. */
  onExit(shellId, emit) {
    this.#calls.ended();
    try {
      this.inContextOf(shellId, emit);
    } finally {
      this.#contexts.delete(shellId);
    }
  }
}

module.exports = { Shells };
