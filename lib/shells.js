"use strict";
// The shells that openShell opened: chooses the program of a new shell, and keeps the context of each shell's events.

const { AsyncLocalStorage } = require("node:async_hooks");

const { systemError } = require("./error");
const defaults = require("./defaults");
const { commandLine } = require("./wire");

/** @import { Bare } from "./members" */
/** @import { CheckedShell } from "./arguments" */
/** @import { InContext } from "./processes" */
/** @import { Pairs } from "./wire" */

/** @typedef {Bare<CheckedShell & { command: string }>} Command */

class Shells {
  #calls;
  #env;
  /** @type {Map<string, InContext>} */
  #contexts = new Map();

  /**
   * `env` is the VM's environment as passed to `create`.
   * @param {import("./calls").Calls} calls
   * @param {Pairs} env
   */
  constructor(calls, env) {
    this.#calls = calls;
    this.#env = env;
  }

  /**
   * Opens a shell and resolves to its id. It runs the `command` of the checked options, else bash if the VM has it,
   * else sh.
   * @param {CheckedShell} options
   */
  async open(options) {
    const inContext = AsyncLocalStorage.snapshot();
    const { command } = options;
    const { preferred, other } = defaults.shells;
    if (command !== undefined) return this.#open({ __proto__: null, ...options, command }, inContext);
    try {
      return await this.#open({ __proto__: null, ...options, command: preferred }, inContext);
    } catch (thrown) {
      const error = systemError(thrown);
      if (error.code !== "ENOENT" || error.path !== preferred) throw error;
      /** @type {Pairs} */
      const env = [["SHELL", other.path], ...(options.env ?? [])];
      return this.#open({ __proto__: null, ...options, command: other.program, env }, inContext);
    }
  }

  /**
   * @param {Command} options
   * @param {InContext} inContext
   */
  #open(options, inContext) {
    const { command, args = [], env = [], cwd } = options;
    const { cols = defaults.terminal.cols, rows = defaults.terminal.rows } = options;
    /** @type {Pairs} */
    const terminal = this.#env.some(([name]) => name === "TERM") ? [] : [["TERM", defaults.terminal.type]];
    /** @type {Bare<import("../src/addon").ShellOptions>} */
    const request = { __proto__: null, env: [...terminal, ...env], cwd, cols, rows };
    /** @param {string} shellId */
    const onStart = (shellId) => this.#contexts.set(shellId, inContext);
    return this.#calls.start("openShell", onStart, commandLine(command, args), request);
  }

  /**
   * Runs `action` in the asynchronous context of the `openShell` that opened the shell.
   * @param {string} shellId
   * @param {() => unknown} action
   */
  inContextOf(shellId, action) {
    const inContext = this.#contexts.get(shellId);
    return inContext ? inContext(action) : action();
  }

  /**
   * Called when a shell has exited; `emit` emits its last event.
   * @param {string} shellId
   * @param {() => void} emit
   */
  onExit(shellId, emit) {
    this.#calls.ended();
    try {
      this.inContextOf(shellId, emit);
    } finally {
      this.#contexts.delete(shellId);
    }
  }
}

exports.Shells = Shells;
