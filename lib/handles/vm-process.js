"use strict";
// The handle of a spawned process. It has the members of the process that have no form as a value: its streams, its end.

const { withArity } = require("../arity");
const { systemError } = require("../error");
const { Lines } = require("./lines");
const { readableOf, writableOf } = require("#streams");

/** @import { VmProcess as Contract } from "../../index" */
/** @import { ReadableOutput } from "./output" */
/** @import { InputCalls } from "./streams" */

/**
 * The process that a handle is of, in this server's VM or in an actor's. No other process is ever taken for it.
 * @typedef {object} ProcessBackend
 * @property {number} pid
 * @property {ReadableOutput} output
 * @property {InputCalls} stdin
 * @property {ReadonlyMap<number, import("../descriptors").PipeEnd>} pipes
 * @property {() => ReturnType<Contract["kill"]>} killAll
 * @property {(signal: unknown) => ReturnType<Contract["kill"]>} signal
 * @property {() => Contract["exited"]} untilExit
 */

/** @implements {Contract} */
class VmProcess {
  /** Its only enumerable member, so that a handle compares, and is sent, as `{ pid }`. */
  pid;
  #process;
  /** @type {Contract["stdin"] | undefined} */
  #stdin;
  /** @type {Contract["stdout"] | undefined} */
  #stdout;
  /** @type {Contract["stderr"] | undefined} */
  #stderr;
  /** @type {Contract["descriptors"] | undefined} */
  #descriptors;
  /** @type {Contract["exited"] | undefined} */
  #exited;

  /** @param {ProcessBackend} process */
  constructor(process) {
    this.pid = process.pid;
    this.#process = process;
  }

  /**
   * @template {ProcessBackend} P
   * @param {VmProcess} handle
   */
  static backendOf(handle) {
    return /** @type {P} */ (handle.#process);
  }

  get stdin() {
    this.#stdin ??= this.#newStdin();
    return this.#stdin;
  }

  #newStdin() {
    return this.#untilExit(writableOf(this.#process.stdin));
  }

  /** @param {Contract["stdin"]} writable */
  #untilExit(writable) {
    // Nobody reads it any more.
    const destroy = () => void writable.destroy();
    void this.exited.then(destroy, destroy);
    return writable;
  }

  get stdout() {
    this.#stdout ??= readableOf(this.#process.output, "stdout");
    return this.#stdout;
  }

  get stderr() {
    this.#stderr ??= readableOf(this.#process.output, "stderr");
    return this.#stderr;
  }

  get descriptors() {
    this.#descriptors ??= this.#newDescriptors();
    return this.#descriptors;
  }

  #newDescriptors() {
    const descriptors = Object.create(null);
    for (const [number, pipe] of this.#process.pipes) {
      /** @type {Contract["stdin"] | Contract["stdout"] | undefined} */
      let stream;
      const get = () =>
        (stream ??= "output" in pipe ? readableOf(pipe.output, "stdout") : this.#untilExit(writableOf(pipe.input)));
      Object.defineProperty(descriptors, number, { get, enumerable: true });
    }
    return /** @type {Contract["descriptors"]} */ (Object.freeze(descriptors));
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
    if (signal === undefined) await this.#process.killAll();
    else await this.#process.signal(signal);
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

withArity(VmProcess);

exports.VmProcess = VmProcess;
