"use strict";
// The calls to the addon for one VM. Each has a number and a promise, and they settle in order with the VM's events.
// While a VM has something running or pending, its calls keep it from being garbage
// collected, and keep Node.js running.

const { AsyncLocalStorage } = require("node:async_hooks");
const timers = require("node:timers");

const { follow } = require("./abort");
const { AgentVmError, aborted, disposed, systemError } = require("./error");
const { MessageKind, NativeVm, endTurn } = require("./native");
const { execResult, nativeError, parse } = require("./wire");

/** @import { ContextExecOptions, ExecOptions } from "../src/addon" */
/** @import { TransferTotals } from "../index" */
/** @import { Bare } from "./members" */
/** @import { Answer, AnyExecResult, Event, ExecOutcome, Json, ListedBy, Message, Method, ResultOf, ScreenPiece, ValuesOf } from "./wire" */

const {
  Settled,
  Piece,
  ExecEnded,
  ExecOutput,
  ProcessOutput,
  DescriptorOutput,
  ShellData,
  ShellWaiting,
  Ports,
  Exit,
  Lost,
} = MessageKind;

/** The kinds of messages after which the addon may wait with the next one until this turn of the event loop is over. */
const HAS_CREDIT = new Set([ProcessOutput, DescriptorOutput, ShellData, ExecOutput, Piece, ShellWaiting, Ports]);

/**
 * The calls that change files by themselves, and not by a program.
 * @type {Method[]}
 */
const CHANGING = [
  "appendFile",
  "chmod",
  "copy",
  "mkdir",
  "openArchive",
  "openToWrite",
  "remove",
  "rename",
  "symlink",
  "truncate",
  "uploadDirectory",
  "utimes",
  "writeArchive",
  "writeFile",
  "writeOpened",
];
/** @type {ReadonlySet<string>} */
const WRITE = new Set(CHANGING);

/** @typedef {(data: Uint8Array) => void} OnData */

/**
 * A call that has not settled. `forget` stops following its AbortSignal.
 * @typedef {object} Pending
 * @property {false} isExec
 * @property {boolean} writes Whether it changes files by itself.
 * @property {(value: never) => void} resolve
 * @property {(error: Error) => void} reject
 * @property {AbortSignal | undefined} signal
 * @property {((value: never) => void) | undefined} onValue
 * @property {{ push(entry: unknown): unknown } | undefined} list
 * @property {(() => void) | undefined} forget
 */

/**
 * @typedef {object} PendingExec
 * @property {true} isExec
 * @property {false} writes
 * @property {(result: AnyExecResult) => void} resolve
 * @property {(error: Error) => void} reject
 * @property {AbortSignal | undefined} signal
 * @property {OnData | undefined} onStdout
 * @property {OnData | undefined} onStderr
 * @property {(() => void) | undefined} forget
 */

/** @type {Set<Calls>} */
const busy = new Set();
/** @type {NodeJS.Timeout | undefined} */
let keepAlive;

/** @param {Calls} calls */
function hold(calls) {
  busy.add(calls);
  // The timer only keeps Node.js running. 2^31 - 1 ms is the longest possible interval.
  keepAlive ??= timers.setInterval(() => {}, 0x7fffffff);
  keepAlive.ref();
}

/** @param {Calls} calls */
function release(calls) {
  busy.delete(calls);
  if (busy.size === 0) keepAlive?.unref();
}

let turning = false;

/**
 * Tells the addon when this turn of the event loop is over, so that a slow listener does not starve the rest of the
 * loop.
 */
function followTurn() {
  if (turning) return;
  turning = true;
  timers.setImmediate(() => {
    turning = false;
    endTurn();
  });
}

/**
 * A callback that runs in the asynchronous context of the caller (`AsyncLocalStorage`); undefined if there is no
 * callback.
 * @param {OnData | undefined} callback
 */
function inContext(callback) {
  return callback && AsyncLocalStorage.bind(callback);
}

class Calls {
  /** Whether the VM was disposed or ended by itself. */
  gone = false;
  /** Called when another VM has taken the place of this one. */
  onReplaced = () => {};
  #native;
  #onEvent;
  #next = 1;
  /** @type {Map<number, Pending | PendingExec>} */
  #pending = new Map();
  #execs = 0;
  #running = 0;
  /** @type {(() => void) | undefined} */
  #onEnd;
  /**
   * Settles when a call is over during which the addon gets no other call of this VM.
   * @type {Promise<void> | undefined}
   */
  #exclusive;

  /**
   * `onEvent` is called with each event. An error that it throws becomes an uncaught exception.
   * @param {(event: Event) => void} onEvent
   */
  constructor(onEvent) {
    this.#onEvent = onEvent;
    // The addon must not keep this object alive, or the garbage collector could never free it.
    const self = new WeakRef(this);
    this.#native = new NativeVm((...message) => {
      const kind = message[0];
      if (HAS_CREDIT.has(kind)) followTurn();
      const calls = self.deref();
      if (calls === undefined) return;
      try {
        calls.#on(message);
      } catch (error) {
        // A listener threw an error: throw it as any emitter would, without losing later messages.
        process.nextTick(() => {
          throw error;
        });
      }
    });
  }

  requireVm() {
    if (this.gone) throw disposed();
  }

  /**
   * @template {Method} M
   * @param {M} method
   * @param {ValuesOf<M>} values
   */
  ask(method, ...values) {
    return this.#call(method, undefined, values);
  }

  /**
   * Makes a call whose result arrives as JSON.
   * @template {Method} M
   * @param {M} method
   * @param {ValuesOf<M>} values
   * @returns {Promise<ResultOf<M> extends Json<infer T> ? T : never>}
   */
  async askJson(method, ...values) {
    const text = await this.ask(method, ...values);
    return parse(/** @type {Json<ResultOf<M> extends Json<infer T> ? T : never>} */ (text));
  }

  /**
   * Makes a call whose result is an array that arrives in pieces, so that a large array does not block the event
   * loop.
   * @template {keyof ListedBy} M
   * @param {M} method
   * @param {ValuesOf<M>} values
   */
  async list(method, ...values) {
    /** @type {unknown[]} */
    const list = [];
    await this.#call(method, undefined, values, list);
    return /** @type {ListedBy[M][]} */ (list);
  }

  /**
   * Makes a call whose result is a socket's descriptor. An abort of `signal`, if given, ends the call.
   * @param {number} port
   * @param {AbortSignal | undefined} signal
   */
  connect(port, signal) {
    return this.#call("connect", undefined, [port, signal !== undefined], undefined, signal);
  }

  /**
   * Makes a call that an abort of `signal`, if given, ends.
   * @template {"waitForPort" | "waitForIdle" | "watch"} M
   * @param {M} method
   * @param {AbortSignal | undefined} signal
   * @param {ValuesOf<M> extends [abortable: boolean, ...values: infer V] ? V : never} values
   */
  async abortable(method, signal, ...values) {
    if (signal?.aborted) throw aborted(signal);
    const asked = /** @type {ValuesOf<M>} */ ([signal !== undefined, ...values]);
    return this.#call(method, undefined, asked, undefined, signal);
  }

  /**
   * Makes such a call whose result arrives as one piece and a value.
   * @param {"readScreen"} method
   * @param {AbortSignal | undefined} signal
   * @param {ValuesOf<"readScreen"> extends [abortable: boolean, ...values: infer V] ? V : never} values
   */
  async piece(method, signal, ...values) {
    if (signal?.aborted) throw aborted(signal);
    /** @type {[ScreenPiece]} */
    const list = /** @type {never} */ ([]);
    const value = await this.#call(method, undefined, [signal !== undefined, ...values], list, signal);
    return { piece: list[0], value };
  }

  /**
   * Copies a tree. `onProgress` gets totals while the call runs, and the last ones.
   * @template {"uploadDirectory" | "downloadDirectory"} M
   * @param {M} method
   * @param {AbortSignal | undefined} signal
   * @param {((totals: TransferTotals) => void) | undefined} onProgress
   * @param {ValuesOf<M> extends [abortable: boolean, ...values: infer V] ? V : never} values
   * @returns {Promise<TransferTotals>}
   */
  async transfer(method, signal, onProgress, ...values) {
    if (signal?.aborted) throw aborted(signal);
    const asked = /** @type {ValuesOf<M>} */ ([signal !== undefined, ...values]);
    const push = onProgress && AsyncLocalStorage.bind(onProgress);
    const text = await this.#call(method, undefined, asked, push && { push }, signal);
    return parse(/** @type {Json<TransferTotals>} */ (text));
  }

  /**
   * Makes such a call whose result arrives as JSON.
   * @template {"waitForPort" | "waitForIdle"} M
   * @param {M} method
   * @param {AbortSignal | undefined} signal
   * @param {ValuesOf<M> extends [abortable: boolean, ...values: infer V] ? V : never} values
   */
  async waitJson(method, signal, ...values) {
    const text = await this.abortable(method, signal, ...values);
    return parse(/** @type {Json<ResultOf<M> extends Json<infer T> ? T : never>} */ (text));
  }

  /**
   * Makes a call that starts something. `onStart` gets the result before any later event, and counts it as running.
   * @template {"spawn" | "openShell"} M
   * @param {M} method
   * @param {(result: ResultOf<M>) => void} onStart
   * @param {ValuesOf<M>} values
   */
  start(method, onStart, ...values) {
    /** @param {ResultOf<M>} value */
    const onValue = (value) => {
      this.#running++;
      onStart(value);
    };
    return this.#call(method, onValue, values);
  }

  /** Called when something that `start` started has ended. */
  ended() {
    this.#running--;
    this.#releaseIfIdle();
  }

  /**
   * The value of a call whose answer is known at once. Throws what the call would reject with.
   * @template {Method} M
   * @param {M} method
   * @param {ValuesOf<M>} values
   * @returns {ResultOf<M>}
   */
  now(method, ...values) {
    const answer = this.#answer(0, method, values);
    if (answer?.[0] !== undefined) throw nativeError(answer[0]);
    // The method answers at once.
    return /** @type {[error: undefined, value: ResultOf<M>]} */ (answer)[1];
  }

  /**
   * Makes a call whose answer is known at once, and whose failure only says that its object is gone.
   * @template {Method} M
   * @param {M} method
   * @param {ValuesOf<M>} values
   */
  attempt(method, ...values) {
    this.#answer(0, method, values);
  }

  /**
   * Calls `onSettled` once when the call has settled, whether it resolved or rejected. The returned function cancels that.
   * @template {Method} M
   * @param {() => void} onSettled
   * @param {M} method
   * @param {ValuesOf<M>} values
   */
  when(onSettled, method, ...values) {
    const call = this.#next++;
    let canceled = false;
    const settled = () => {
      if (!canceled) onSettled();
    };
    if (this.#answer(call, method, values)) {
      queueMicrotask(settled);
    } else {
      const [resolve, reject, none] = [settled, settled, undefined];
      this.#await(call, {
        resolve,
        reject,
        isExec: false,
        writes: false,
        signal: none,
        onValue: none,
        list: none,
        forget: none,
      });
    }
    return () => {
      canceled = true;
      if (this.#pending.delete(call)) this.#releaseIfIdle();
    };
  }

  /**
   * Makes an exec call whose output goes to the callbacks as it arrives.
   * @param {string} commandLine
   * @param {Bare<ExecOptions>} options
   * @param {Uint8Array | undefined} stdin
   * @param {AbortSignal | undefined} signal
   * @param {OnData | undefined} onStdout
   * @param {OnData | undefined} onStderr
   * @returns {Promise<AnyExecResult>}
   */
  exec(commandLine, options, stdin, signal, onStdout, onStderr) {
    /** @param {number} call */
    const begin = (call) => this.#native.exec(call, commandLine, options, stdin, signal !== undefined);
    return this.#exec(begin, signal, onStdout, onStderr);
  }

  /**
   * An exec in a context, in the same way.
   * @param {string} contextId
   * @param {string} command
   * @param {Bare<ContextExecOptions>} options
   * @param {AbortSignal | undefined} signal
   * @param {OnData | undefined} onStdout
   * @param {OnData | undefined} onStderr
   */
  execInContext(contextId, command, options, signal, onStdout, onStderr) {
    /** @param {number} call */
    const begin = (call) => this.#native.execInContext(call, contextId, command, options, signal !== undefined);
    return this.#exec(begin, signal, onStdout, onStderr);
  }

  /**
   * @param {(call: number) => Answer<never>} begin
   * @param {AbortSignal | undefined} signal
   * @param {OnData | undefined} onStdout
   * @param {OnData | undefined} onStderr
   * @returns {Promise<AnyExecResult>}
   */
  #exec(begin, signal, onStdout, onStderr) {
    if (this.#exclusive) return this.#exclusive.then(() => this.#exec(begin, signal, onStdout, onStderr));
    return new Promise((resolve, reject) => {
      const call = this.#next++;
      const answer = begin(call);
      if (answer?.[0] !== undefined) {
        reject(nativeError(answer[0]));
        return;
      }
      /** @type {PendingExec} */
      const exec = {
        resolve,
        reject,
        isExec: true,
        writes: false,
        signal,
        onStdout: inContext(onStdout),
        onStderr: inContext(onStderr),
        forget: undefined,
      };
      this.#execs++;
      this.#await(call, exec);
      exec.forget = this.#watch(signal, call);
    });
  }

  /**
   * Makes a call during which the addon gets no other call that does not answer at once: such calls wait from now on. `work` sends
   * it. Rejects with VM_BUSY if one of those made before has not settled, unless it `allows` "any", or those that "read": whatever
   * does not change files by itself. `work` learns whether there are some.
   * @template {"snapshot" | "rollBack"} M
   * @template T
   * @param {M} method
   * @param {"none" | "read" | "any"} allows
   * @param {(send: (...values: ValuesOf<M>) => Promise<ResultOf<M>>, pending: boolean) => Promise<T>} work
   * @returns {Promise<T>}
   */
  async exclusive(method, allows, work) {
    while (this.#exclusive !== undefined) await this.#exclusive;
    this.requireVm();
    const pending = [...this.#pending.values()];
    if (allows !== "any" && pending.some((one) => allows === "none" || one.writes)) {
      throw new AgentVmError("VM_BUSY", `${method} waits for no other call: one of this VM has not settled`);
    }
    let over = () => {};
    this.#exclusive = new Promise((resolve) => {
      over = resolve;
    });
    try {
      const result = await work((...values) => this.#send(method, undefined, values), pending.length > 0);
      this.onReplaced();
      return result;
    } finally {
      this.#exclusive = undefined;
      over();
    }
  }

  /** The number of pending execs, and of running things that `start` started. */
  get active() {
    return this.#running + this.#execs;
  }

  /** Ends the VM. Resolves after its last event was emitted. */
  async dispose() {
    if (this.gone) return;
    this.gone = true;
    /** @type {Promise<void>} */
    const ended = new Promise((resolve) => {
      this.#onEnd = resolve;
    });
    try {
      await this.ask("dispose");
    } catch (error) {
      if (systemError(error).code !== "VM_DISPOSED") throw error;
      // The VM has just ended; its last events are still to arrive.
      hold(this);
      await ended;
      this.#releaseIfIdle();
    }
  }

  /**
   * Calls the addon.
   * @template {Method} M
   * @param {number} call
   * @param {M} method
   * @param {ValuesOf<M>} values
   */
  #answer(call, method, values) {
    // TypeScript cannot infer that each method takes its own parameters.
    const native = /** @type {{ [method: string]: (call: number, ...values: unknown[]) => Answer<ResultOf<M>> }} */ (
      /** @type {unknown} */ (this.#native)
    );
    return /** @type {Answer<ResultOf<M>>} */ (native[method]?.(call, ...values));
  }

  /**
   * @template {Method} M
   * @param {M} method
   * @param {((value: ResultOf<M>) => void) | undefined} onValue
   * @param {ValuesOf<M>} values
   * @param {{ push(entry: unknown): unknown }} [list]
   * @param {AbortSignal} [signal]
   * @returns {Promise<ResultOf<M>>}
   */
  #call(method, onValue, values, list, signal) {
    if (this.#exclusive) return this.#exclusive.then(() => this.#call(method, onValue, values, list, signal));
    return this.#send(method, onValue, values, list, signal);
  }

  /**
   * @template {Method} M
   * @param {M} method
   * @param {((value: ResultOf<M>) => void) | undefined} onValue
   * @param {ValuesOf<M>} values
   * @param {{ push(entry: unknown): unknown }} [list]
   * @param {AbortSignal} [signal]
   * @returns {Promise<ResultOf<M>>}
   */
  #send(method, onValue, values, list, signal) {
    return new Promise((resolve, reject) => {
      const call = this.#next++;
      const answer = this.#answer(call, method, values);
      if (answer) {
        // By index: iterating over the array costs more than the rest of this function.
        if (answer[0] !== undefined) reject(nativeError(answer[0]));
        else resolve(answer[1]);
        return;
      }
      const writes = WRITE.has(method);
      /** @type {Pending} */
      const pending = { resolve, reject, isExec: false, writes, signal, onValue, list, forget: undefined };
      this.#await(call, pending);
      pending.forget = this.#watch(signal, call);
    });
  }

  /**
   * @param {number} call
   * @param {Pending | PendingExec} pending
   */
  #await(call, pending) {
    if (this.#pending.size === 0) hold(this);
    this.#pending.set(call, pending);
  }

  /**
   * Makes `signal`, if given, abort a call; the returned function stops following it.
   * @param {AbortSignal | undefined} signal
   * @param {number} call
   */
  #watch(signal, call) {
    if (signal === undefined) return undefined;
    const unfollow = follow(signal, () => this.#native.abort(call));
    return () => {
      unfollow();
      this.#native.forget(call);
    };
  }

  /**
   * Removes a call from the list before it settles.
   * @param {number} call
   */
  #end(call) {
    const pending = this.#pending.get(call);
    this.#pending.delete(call);
    if (pending?.isExec) this.#execs--;
    pending?.forget?.();
    return pending;
  }

  #releaseIfIdle() {
    if (this.#pending.size === 0 && this.#running === 0) release(this);
  }

  /** @param {Message} message */
  #on(message) {
    switch (message[0]) {
      case Settled: {
        const [, call, error, value] = message;
        return this.#settled(call, error, value);
      }
      case Piece: {
        const [, call, piece] = message;
        const pending = this.#pending.get(call);
        if (pending?.isExec === false && pending.list) for (const entry of parse(piece)) pending.list.push(entry);
        return;
      }
      case ExecEnded: {
        const [, call, ...outcome] = message;
        return this.#execEnded(call, outcome);
      }
      case ExecOutput: {
        const [, call, isStderr, data] = message;
        const pending = this.#pending.get(call);
        if (!pending?.isExec) return;
        return isStderr ? pending.onStderr?.(data) : pending.onStdout?.(data);
      }
      case Exit:
        this.gone = true;
        this.#onEnd?.();
        return this.#onEvent(message);
      case Lost:
        return process.emitWarning(`An event of a VM was lost: ${nativeError(message[1]).message}`);
      default:
        return this.#onEvent(message);
    }
  }

  /**
   * @param {number} call
   * @param {Json<import("./wire").ErrorFields> | undefined} error
   * @param {unknown} value
   */
  #settled(call, error, value) {
    const pending = this.#end(call);
    // A call that lost a piece has settled already.
    if (pending === undefined) return;
    if (error !== undefined) {
      const rejection = nativeError(error);
      pending.reject(rejection.code === "ABORTED" && pending.signal?.aborted ? aborted(pending.signal) : rejection);
    } else if (!pending.isExec) {
      // Its type is the one that its method declares.
      const result = /** @type {never} */ (value);
      pending.onValue?.(result);
      pending.resolve(result);
    }
    this.#releaseIfIdle();
  }

  /**
   * @param {number} call
   * @param {ExecOutcome} outcome
   */
  #execEnded(call, outcome) {
    const exec = this.#end(call);
    if (!exec?.isExec) return;
    const result = execResult(outcome);
    if (exec.signal?.aborted) this.#abortEnded(exec.signal, exec.reject, result.background);
    else exec.resolve(result);
    this.#releaseIfIdle();
  }

  /**
   * The abort came after the command had ended, with its result on the way: kill what the command left running
   * anyway.
   * @param {AbortSignal} signal
   * @param {(error: Error) => void} reject
   * @param {AnyExecResult["background"]} left
   */
  async #abortEnded(signal, reject, left) {
    await Promise.allSettled(left.map(({ pid }) => this.ask("killProcess", pid)));
    reject(aborted(signal));
  }
}

exports.Calls = Calls;
