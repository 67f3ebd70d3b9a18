"use strict";
// What the package keeps of a process or shell that it has started: whose events are whose, and how it ended.

const { Output } = require("./handles/output");

/** @import { ExitStatus } from "../index" */
/** @import { OutputCalls, StreamName } from "./handles/output" */

/** @typedef {<R, A extends unknown[]>(action: (...args: A) => R, ...args: A) => R} InContext */

class Followed {
  /** Runs a function in the asynchronous context of the call that started it. */
  inContext;
  output;
  /** @type {ExitStatus | undefined} */
  exit;
  /** @type {((exit: ExitStatus) => void)[] | undefined} */
  #waiting;

  /**
   * @param {InContext} inContext
   * @param {OutputCalls} calls
   */
  constructor(inContext, calls) {
    this.inContext = inContext;
    this.output = new Output(calls);
  }

  /**
   * An event has delivered output. Readers of streams get it in the context of the call that started it.
   * @param {StreamName} stream
   * @param {Uint8Array} data
   * @param {number} seq
   */
  deliver(stream, data, seq) {
    const { output } = this;
    if (output.isRead) this.inContext(() => output.deliver(stream, data, seq));
    else output.deliver(stream, data, seq);
  }

  /** Resolves when it has exited and its exit event was emitted. Never rejects. */
  untilExit() {
    /** @type {Promise<ExitStatus>} */
    const exited = new Promise((resolve) => {
      if (this.exit) resolve(this.exit);
      else (this.#waiting ??= []).push(resolve);
    });
    return exited;
  }

  /**
   * Its exit event was emitted.
   * @param {ExitStatus} exit
   */
  exited(exit) {
    this.exit = exit;
    for (const resolve of this.#waiting?.splice(0) ?? []) resolve(exit);
  }
}

exports.Followed = Followed;
