"use strict";
// The shells that openShell opened: chooses the program of a new shell, and keeps the context of each shell's events.

const check = require("./arguments");
const { contextOfCall } = require("./context-of-call");
const { AgentVmError, systemError } = require("./error");
const defaults = require("./defaults");
const { Followed } = require("./followed");
const { readScreen } = require("./screen");
const { commandLine, exitStatus } = require("./wire");

/** @import { Bare } from "./members" */
/** @import { CheckedShell } from "./arguments" */
/** @import { Calls } from "./calls" */
/** @import { InContext } from "./context-of-call" */
/** @import { Publish } from "./diagnostics" */
/** @import { ShellBackend } from "./handles/vm-shell" */
/** @import { ExitStatus } from "../index" */
/** @import { ExitValues, Pairs } from "./wire" */

/** @typedef {Bare<CheckedShell & { command: string }>} Command */

/** How many exited shells are kept, for the output of their jobs; the addon remembers as many. */
const EXITED = 1024;

/**
 * A shell.
 * @implements {ShellBackend}
 */
class Shell extends Followed {
  shellId;
  #calls;
  /** @type {Publish | undefined} */
  told;

  /**
   * @param {string} shellId
   * @param {InContext} inContext
   * @param {Calls} calls
   */
  constructor(shellId, inContext, calls) {
    super(inContext, {
      kept(after = 0) {
        const [chunks, , truncatedBytes] = calls.now("readShell", shellId, after);
        return [chunks, truncatedBytes];
      },
      // Without a VM, or a record of the shell, nothing is read that could be paused.
      pause: (_, paused) => calls.attempt("pauseShell", shellId, paused),
      // It is closed with its terminal.
      close: () => {},
      whenEnded: (_, onEnd) => calls.when(onEnd, "shellOutputEnded", shellId),
    });
    this.shellId = shellId;
    this.#calls = calls;
  }

  /** @type {ShellBackend["write"]} */
  write = (data) => this.#calls.ask("writeShell", this.shellId, data);

  /** @type {ShellBackend["resize"]} */
  async resize(cols, rows) {
    const [checkedCols, checkedRows] = [check.size("cols", cols), check.size("rows", rows)];
    this.#calls.requireVm();
    await this.#calls.ask("resizeShell", this.shellId, checkedCols, checkedRows);
  }

  /** @type {ShellBackend["readScreen"]} */
  readScreen = (options) => readScreen(this.#calls, this.shellId, options);

  async close() {
    this.#calls.requireVm();
    await this.#calls.ask("closeShell", this.shellId);
  }
}

class Shells {
  #calls;
  #env;
  /** @type {Map<string, Shell>} */
  #shells = new Map();
  /** @type {string[]} */
  #exited = [];

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
   * else sh. `told` publishes the diagnostic that is under way, if there is one.
   * @param {CheckedShell} options
   * @param {Publish | undefined} told
   */
  async open(options, told) {
    const { command = defaults.shells.preferred, args = [] } = options;
    try {
      return await this.#openOne(options, told);
    } catch (error) {
      told?.({ file: command, args, error });
      throw error;
    }
  }

  /**
   * @param {CheckedShell} options
   * @param {Publish | undefined} told
   */
  async #openOne(options, told) {
    const inContext = contextOfCall();
    const { command } = options;
    const { preferred, other } = defaults.shells;
    if (command !== undefined) return this.#open({ __proto__: null, ...options, command }, inContext, told);
    try {
      return await this.#open({ __proto__: null, ...options, command: preferred }, inContext, told);
    } catch (thrown) {
      const error = systemError(thrown);
      if (error.code !== "ENOENT" || error.path !== preferred) throw error;
      /** @type {Pairs} */
      const env = [["SHELL", other.path], ...(options.env ?? [])];
      return this.#open({ __proto__: null, ...options, command: other.program, env }, inContext, told);
    }
  }

  /**
   * @param {Command} options
   * @param {InContext} inContext
   * @param {Publish | undefined} told
   * @returns {Promise<Shell>}
   */
  async #open(options, inContext, told) {
    const { command, args = [], env = [], cwd, user } = options;
    const { cols = defaults.terminal.cols, rows = defaults.terminal.rows, screen = false } = options;
    /** @type {Pairs} */
    const terminal = this.#env.some(([name]) => name === "TERM") ? [] : [["TERM", defaults.terminal.type]];
    /** @type {Bare<import("../src/addon").ShellOptions>} */
    const request = { __proto__: null, env: [...terminal, ...env], cwd, cols, rows, screen, user };
    /** @type {Shell | undefined} */
    let shell;
    /** @param {string} shellId */
    const onStart = (shellId) => {
      shell = new Shell(shellId, inContext, this.#calls);
      shell.told = told && ((more) => told({ file: command, args, shellId, ...more }));
      this.#shells.set(shellId, shell);
    };
    await this.#calls.start("openShell", onStart, commandLine(command, args), request);
    // The call has resolved, so `onStart` was called.
    return /** @type {Shell} */ (/** @type {unknown} */ (shell));
  }

  /**
   * The shell with that id. Throws SHELL_NOT_FOUND if openShell returned none, or its record was dropped.
   * @param {string} shellId
   */
  get(shellId) {
    const shell = this.#shells.get(shellId);
    if (shell === undefined) throw new AgentVmError("SHELL_NOT_FOUND", `Shell not found: ${shellId}`);
    return shell;
  }

  /**
   * Gives the output to the shell's streams, and then emits its event.
   * @param {string} shellId
   * @param {Uint8Array} data
   * @param {number} seq
   * @param {() => void} emit
   */
  onData(shellId, data, seq, emit) {
    const shell = this.#shells.get(shellId);
    if (shell === undefined) return emit();
    try {
      shell.deliver("stdout", data, seq);
    } finally {
      shell.inContext(emit);
    }
  }

  /**
   * The program in a shell's foreground waits for input. `emit` emits its event.
   * @param {string} shellId
   * @param {() => void} emit
   */
  onWaiting(shellId, emit) {
    const shell = this.#shells.get(shellId);
    if (shell) shell.inContext(emit);
    else emit();
  }

  /**
   * Called when a shell has exited; `emit` emits its exit event.
   * @param {string} shellId
   * @param {ExitValues} status
   * @param {(exit: ExitStatus) => void} emit
   */
  onExit(shellId, status, emit) {
    this.#calls.ended();
    const exit = exitStatus(status);
    const shell = this.#shells.get(shellId);
    if (shell === undefined) return emit(exit);
    this.#exited.push(shellId);
    if (this.#exited.length > EXITED) this.#shells.delete(/** @type {string} */ (this.#exited.shift()));
    shell.told?.(exit);
    try {
      shell.inContext(emit, exit);
    } finally {
      shell.exited(exit);
    }
  }
}

exports.Shells = Shells;
exports.Shell = Shell;
