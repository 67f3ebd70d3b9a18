"use strict";
// The handle of a shell. It has the members of the shell that have no form as a value: its stream, its end.

const { withArity } = require("../arity");
const { systemError } = require("../error");
const { duplexOf } = require("#streams");

/** @import { VmShell as Contract } from "../../index" */
/** @import { ReadableOutput } from "./output" */
/** @import { InputCalls } from "./streams" */

/**
 * The shell that a handle is of, in this server's VM or in an actor's.
 * @typedef {object} ShellBackend
 * @property {string} shellId
 * @property {ReadableOutput} output
 * @property {InputCalls["write"]} write
 * @property {(cols: unknown, rows: unknown) => Promise<void>} resize
 * @property {(options: unknown) => Promise<import("../../index").ShellScreen>} readScreen
 * @property {() => Promise<void>} close
 * @property {() => Contract["exited"]} untilExit
 */

/** @implements {Contract} */
class VmShell {
  /** Its only enumerable member, so that a handle compares, and is sent, as `{ shellId }`. */
  shellId;
  #shell;
  /** @type {Contract["stream"] | undefined} */
  #stream;
  /** @type {Contract["exited"] | undefined} */
  #exited;

  /** @param {ShellBackend} shell */
  constructor(shell) {
    this.shellId = shell.shellId;
    this.#shell = shell;
  }

  /**
   * @template {ShellBackend} S
   * @param {VmShell} handle
   */
  static backendOf(handle) {
    return /** @type {S} */ (handle.#shell);
  }

  get stream() {
    const { output, write } = this.#shell;
    this.#stream ??= duplexOf(output, { write });
    return this.#stream;
  }

  get exited() {
    this.#exited ??= this.#shell.untilExit();
    return this.#exited;
  }

  /** @type {Contract["resize"]} */
  async resize(cols, rows) {
    await this.#shell.resize(cols, rows);
  }

  /** @type {Contract["readScreen"]} */
  async readScreen(options) {
    return this.#shell.readScreen(options);
  }

  async close() {
    await this.#shell.close();
  }

  async [Symbol.asyncDispose]() {
    try {
      await this.close();
    } catch (error) {
      const { code } = systemError(error);
      // Nothing of it is left then.
      if (code !== "VM_DISPOSED" && code !== "SHELL_NOT_FOUND") throw error;
    }
  }
}

withArity(VmShell);

exports.VmShell = VmShell;
