"use strict";
// What the package keeps of a process or shell that it has started: whose events are whose, and how it ended.

const { Output } = require("./handles/output");

/** @import { ExitStatus } from "../index" */
/** @import { InContext } from "./context-of-call" */
/** @import { OutputCalls, StreamName } from "./handles/output" */

/** @typedef {(stream: StreamName, data: Uint8Array, seq: number) => void} OnChunk */

class Followed {
  /** Runs a function in the asynchronous context of the call that started it. */
  inContext;
  output;
  /** The addon's calls about it. */
  calls;
  /** @type {Set<OnChunk> | undefined} */
  #watchers;
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
    this.calls = calls;
    this.output = new Output(calls);
  }

  /**
   * An event has delivered output. Readers of streams get it in the context of the call that started it.
   * @param {StreamName} stream
   * @param {Uint8Array} data
   * @param {number} seq
   */
  deliver(stream, data, seq) {
    for (const watcher of this.#watchers ?? []) watcher(stream, data, seq);
    const { output } = this;
    if (output.isRead) this.inContext(() => output.deliver(stream, data, seq));
    else output.deliver(stream, data, seq);
  }

  /**
   * Calls `onChunk` with each chunk from now on, without holding the program up. The returned function ends that.
   * @param {OnChunk} onChunk
   */
  watch(onChunk) {
    const watchers = (this.#watchers ??= new Set());
    watchers.add(onChunk);
    return () => {
      watchers.delete(onChunk);
      if (watchers.size === 0 && this.#watchers === watchers) this.#watchers = undefined;
    };
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
