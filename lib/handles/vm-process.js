"use strict";
// The handle of a spawned process. It has the members of the process that have no form as a value: its streams, its end.

const check = require("../arguments");
const { systemError } = require("../error");
const { Lines } = require("./lines");
const { readableOf, writableOf } = require("./streams");

/** @import { VmProcess as Contract } from "../../index" */
/** @import { Calls } from "../calls" */
/** @import { Process } from "../processes" */

/** @implements {Contract} */
class VmProcess {
  /** Its only enumerable member, so that a handle compares, and is sent, as `{ pid }`. */
  pid;
  #process;
  #calls;
  /** @type {Contract["stdin"] | undefined} */
  #stdin;
  /** @type {Contract["stdout"] | undefined} */
  #stdout;
  /** @type {Contract["stderr"] | undefined} */
  #stderr;
  /** @type {Contract["exited"] | undefined} */
  #exited;

  /**
   * @param {Process} process
   * @param {Calls} calls
   */
  constructor(process, calls) {
    this.pid = process.pid;
    this.#process = process;
    this.#calls = calls;
  }

  get stdin() {
    this.#stdin ??= this.#newStdin();
    return this.#stdin;
  }

  #newStdin() {
    const { pid, start } = this.#process;
    const stdin = writableOf({
      write: (data) => this.#calls.ask("writeProcessStdin", pid, data, start),
      close: () => this.#calls.ask("closeProcessStdin", pid, start),
    });
    // Nobody reads it any more.
    void this.exited.then(() => stdin.destroy());
    return stdin;
  }

  get stdout() {
    this.#stdout ??= readableOf(this.#process.output, "stdout");
    return this.#stdout;
  }

  get stderr() {
    this.#stderr ??= readableOf(this.#process.output, "stderr");
    return this.#stderr;
  }

  get exited() {
    this.#exited ??= this.#process.untilExit();
    return this.#exited;
  }

  lines() {
    return new Lines(this.#process.output);
  }

  /** @type {Contract["kill"]} */
  async kill(signal) {
    const { pid, start, exit } = this.#process;
    const number = signal === undefined ? undefined : check.signal("signal", signal);
    this.#calls.requireVm();
    if (number === undefined) await this.#calls.ask("killProcess", pid, start);
    else if (exit === undefined) await this.#calls.ask("signalProcess", pid, number, start);
  }

  async [Symbol.asyncDispose]() {
    try {
      await this.kill();
    } catch (error) {
      const { code } = systemError(error);
      // Nothing of it is left then.
      if (code !== "VM_DISPOSED" && code !== "PROCESS_NOT_FOUND") throw error;
    }
  }
}

exports.VmProcess = VmProcess;
