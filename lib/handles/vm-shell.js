"use strict";
// The handle of a shell. It has the members of the shell that have no form as a value: its stream, its end.

const check = require("../arguments");
const { systemError } = require("../error");
const { duplexOf } = require("./streams");

/** @import { VmShell as Contract } from "../../index" */
/** @import { Calls } from "../calls" */
/** @import { Shell } from "../shells" */

/** @implements {Contract} */
class VmShell {
  /** Its only enumerable member, so that a handle compares, and is sent, as `{ shellId }`. */
  shellId;
  #shell;
  #calls;
  /** @type {Contract["stream"] | undefined} */
  #stream;
  /** @type {Contract["exited"] | undefined} */
  #exited;

  /**
   * @param {Shell} shell
   * @param {Calls} calls
   */
  constructor(shell, calls) {
    this.shellId = shell.shellId;
    this.#shell = shell;
    this.#calls = calls;
  }

  get stream() {
    this.#stream ??= duplexOf(this.#shell.output, {
      write: (data) => this.#calls.ask("writeShell", this.#shell.shellId, data),
    });
    return this.#stream;
  }

  get exited() {
    this.#exited ??= this.#shell.untilExit();
    return this.#exited;
  }

  /** @type {Contract["resize"]} */
  async resize(cols, rows) {
    const [checkedCols, checkedRows] = [check.size("cols", cols), check.size("rows", rows)];
    this.#calls.requireVm();
    await this.#calls.ask("resizeShell", this.#shell.shellId, checkedCols, checkedRows);
  }

  async close() {
    this.#calls.requireVm();
    await this.#calls.ask("closeShell", this.#shell.shellId);
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

exports.VmShell = VmShell;
