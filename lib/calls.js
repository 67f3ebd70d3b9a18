"use strict";
// One VM's calls of the addon: each has a number and a promise, and they settle in order with the VM's events. Also what they
// keep alive: a VM with something running or pending is neither garbage nor a reason for Node.js to end.

const { AsyncLocalStorage } = require("node:async_hooks");
const timers = require("node:timers");

const { follow } = require("./abort");
const { aborted, disposed, fromNative } = require("./error");
const { signalName } = require("./exit-status");
const { MessageKind, NativeVm, endTurn } = require("./native");

const { Settled, Piece, ExecEnded, ExecOutput, ProcessOutput, ShellData, Exit, Lost } = MessageKind;

const busy = new Set();
let keepAlive;

function hold(calls) {
  busy.add(calls);
  // A timer that never matters: 2^31 - 1 ms is the longest there is.
  keepAlive ??= timers.setInterval(() => {}, 0x7fffffff);
  keepAlive.ref();
}

function release(calls) {
  busy.delete(calls);
  if (busy.size === 0) keepAlive?.unref();
}

let turning = false;

/** Tells the addon when this turn of the event loop is over: a slow listener must not keep the loop from all else. */
function followTurn() {
  if (turning) return;
  turning = true;
  timers.setImmediate(() => {
    turning = false;
    endTurn();
  });
}

/** A callback that runs in the asynchronous context of the caller (`AsyncLocalStorage`), or undefined where there is none. */
function inContext(callback) {
  return callback && AsyncLocalStorage.bind(callback);
}

class Calls {
  /** Whether the VM was disposed, or has died. */
  gone = false;
  #native;
  #onEvent;
  #next = 1;
  #pending = new Map();
  #execs = 0;
  #running = 0;
  #onEnd;

  /** `onEvent` is called with each event's MessageKind and values. What it throws is an uncaught exception. */
  constructor(onEvent) {
    this.#onEvent = onEvent;
    // The addon outlives an object that nobody holds only until the garbage collector sees it.
    const self = new WeakRef(this);
    this.#native = new NativeVm((kind, ...values) => {
      // The next of its kind may wait for it.
      if (kind === ProcessOutput || kind === ShellData || kind === ExecOutput || kind === Piece) followTurn();
      const calls = self.deref();
      if (calls === undefined) return;
      try {
        calls.#on(kind, values);
      } catch (error) {
        // A listener threw: what any emitter does then, without losing what comes next.
        process.nextTick(() => {
          throw error;
        });
      }
    });
  }

  requireVm() {
    if (this.gone) throw disposed();
  }

  ask(method, ...values) {
    return this.#call(method, undefined, values);
  }

  /** A call whose result is an array that comes in pieces, so that a large one does not hold the event loop. */
  async list(method, ...values) {
    const list = [];
    await this.#call(method, undefined, values, list);
    return list;
  }

  /** A call that `signal`, where there is one, aborts; the addon takes as its last value whether there is one. */
  askAbortable(method, signal, ...values) {
    return this.#call(method, undefined, [...values, signal !== undefined], undefined, signal);
  }

  /** A call that starts something: `onStart` has its result before any event that follows it, and counts it as running. */
  start(method, onStart, ...values) {
    const onValue = (value) => {
      this.#running++;
      onStart?.(value);
    };
    return this.#call(method, onValue, values);
  }

  /** What `start` has started has ended. */
  ended() {
    this.#running--;
    this.#releaseIfIdle();
  }

  /** An exec, whose output goes to the callbacks as it comes. Resolves to an ExecResult. */
  exec(commandLine, options, stdin, signal, onStdout, onStderr) {
    return new Promise((resolve, reject) => {
      const call = this.#next++;
      const answer = this.#native.exec(call, commandLine, options, stdin, signal !== undefined);
      if (answer) {
        reject(fromNative(answer[0]));
        return;
      }
      const exec = {
        resolve,
        reject,
        isExec: true,
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

  /** Execs under way, and what `start` has started and has not ended. */
  get active() {
    return this.#running + this.#execs;
  }

  /** Ends the VM. Resolves when its last event has been told. */
  async dispose() {
    if (this.gone) return;
    this.gone = true;
    const ended = new Promise((resolve) => {
      this.#onEnd = resolve;
    });
    try {
      await this.ask("dispose");
    } catch (error) {
      if (error.code !== "VM_DISPOSED") throw error;
      // It died just now; its last events are on their way.
      hold(this);
      await ended;
      this.#releaseIfIdle();
    }
  }

  #call(method, onValue, values, list, signal) {
    return new Promise((resolve, reject) => {
      const call = this.#next++;
      const answer = this.#native[method](call, ...values);
      if (answer) {
        // By index: taking it apart as an iterable costs more than all else here.
        if (answer[0]) reject(fromNative(answer[0]));
        else resolve(answer[1]);
        return;
      }
      const pending = { resolve, reject, isExec: false, signal, onValue, list, forget: undefined };
      this.#await(call, pending);
      pending.forget = this.#watch(signal, call);
    });
  }

  #await(call, pending) {
    if (this.#pending.size === 0) hold(this);
    this.#pending.set(call, pending);
  }

  /** Has `signal`, if there is one, abort a call; what it returns ends that. */
  #watch(signal, call) {
    if (signal === undefined) return undefined;
    const unfollow = follow(signal, () => this.#native.abort(call));
    return () => {
      unfollow();
      this.#native.forget(call);
    };
  }

  /** Takes a call that is about to settle off the list. */
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

  #on(kind, values) {
    switch (kind) {
      case Settled:
        return this.#settled(...values);
      case Piece: {
        const [call, piece] = values;
        const list = this.#pending.get(call)?.list;
        if (list) for (const entry of JSON.parse(piece)) list.push(entry);
        return;
      }
      case ExecEnded:
        return this.#execEnded(...values);
      case ExecOutput: {
        const [call, isStderr, data] = values;
        const exec = this.#pending.get(call);
        return isStderr ? exec?.onStderr?.(data) : exec?.onStdout?.(data);
      }
      case Exit:
        this.gone = true;
        this.#onEnd?.();
        return this.#onEvent(kind, values);
      case Lost:
        return process.emitWarning(`An event of a VM was lost: ${fromNative(values[0]).message}`);
      default:
        return this.#onEvent(kind, values);
    }
  }

  #settled(call, error, value) {
    const pending = this.#end(call);
    // One of whose pieces could not be told has settled already.
    if (pending === undefined) return;
    if (error) {
      const rejection = fromNative(error);
      pending.reject(rejection.code === "ABORTED" ? aborted(pending.signal) : rejection);
    } else {
      pending.onValue?.(value);
      pending.resolve(value);
    }
    this.#releaseIfIdle();
  }

  #execEnded(call, exitCode, signal, reason, userMs, systemMs, maxRssBytes, stdout, stderr, cut, timedOut, background) {
    const exec = this.#end(call);
    const left = background ? JSON.parse(background) : [];
    if (exec.signal?.aborted) {
      this.#abortEnded(exec, left);
    } else {
      exec.resolve({
        exitCode,
        signal: signalName(signal),
        reason,
        usage: { userMs, systemMs, maxRssBytes },
        stdout,
        stderr,
        stdoutTruncated: (cut & 1) !== 0,
        stderrTruncated: (cut & 2) !== 0,
        timedOut,
        background: left,
      });
    }
    this.#releaseIfIdle();
  }

  /** The abort came when the command had ended and its result was on its way: what the command left is killed all the same. */
  async #abortEnded({ signal, reject }, left) {
    await Promise.allSettled(left.map(({ pid }) => this.ask("killProcess", pid)));
    reject(aborted(signal));
  }
}

module.exports = { Calls };
