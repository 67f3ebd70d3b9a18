"use strict";
// The processes that spawn started, with the callbacks for their output and their end.

const { follow } = require("./abort");
const check = require("./arguments");
const { contextOfCall } = require("./context-of-call");
const { pipesOf } = require("./descriptors");
const { AgentVmError } = require("./error");
const { Followed } = require("./followed");
const { programOptions } = require("./program");
const { commandLine, exitStatus } = require("./wire");

/** @import { ExitStatus } from "../index" */
/** @import { CheckedSpawn } from "./arguments" */
/** @import { Calls } from "./calls" */
/** @import { InContext } from "./context-of-call" */
/** @import { StreamName } from "./handles/output" */
/** @import { ProcessBackend } from "./handles/vm-process" */
/** @import { ExitValues } from "./wire" */

/** @typedef {(data: Uint8Array) => void} OnData */

/** How many exited processes are kept, for the output of their children; the addon remembers as many. */
const EXITED = 1024;

/**
 * A spawned process. `start` names it in the addon's calls: unlike the pid, no other process ever gets the same.
 * @implements {ProcessBackend}
 */
class Process extends Followed {
  pid;
  start;
  /** Its pipes beside the standard streams, by number. */
  pipes;
  #calls;
  /** @type {OnData | undefined} */
  onStdout;
  /** @type {OnData | undefined} */
  onStderr;
  /** Ends the following of its signal. */
  release = () => {};
  /** @type {import("./diagnostics").Publish | undefined} */
  told;

  /**
   * @param {number} pid
   * @param {number} start
   * @param {import("./descriptors").PipeNumbers} numbers
   * @param {InContext} inContext
   * @param {Calls} calls
   */
  constructor(pid, start, numbers, inContext, calls) {
    super(inContext, {
      kept(after = 0) {
        const [chunks, , truncatedBytes] = calls.now("readProcessOutput", pid, after, start);
        return [chunks, truncatedBytes];
      },
      // Without a VM, or a record of the process, nothing is read that could be paused.
      pause: (stream, paused) => calls.attempt("pauseProcessOutput", pid, stream === "stderr", paused, start),
      close: (stream) => calls.attempt("closeProcessOutput", pid, stream === "stderr", start),
      whenEnded: (stream, onEnd) => calls.when(onEnd, "processOutputEnded", pid, stream === "stderr", start),
    });
    this.pid = pid;
    this.start = start;
    this.pipes = pipesOf(calls, pid, start, numbers);
    this.#calls = calls;
  }

  /** @type {ProcessBackend["stdin"]} */
  get stdin() {
    const { pid, start } = this;
    return {
      write: (data) => this.#calls.ask("writeProcessStdin", pid, data, start),
      close: () => this.#calls.ask("closeProcessStdin", pid, start),
    };
  }

  async killAll() {
    this.#calls.requireVm();
    await this.#calls.ask("killProcess", this.pid, this.start);
  }

  /** @param {unknown} signal */
  async signal(signal) {
    const number = check.signal("signal", signal);
    this.#calls.requireVm();
    if (this.exit === undefined) await this.#calls.ask("signalProcess", this.pid, number, this.start);
  }
}

class Processes {
  #calls;
  /** By `start`. @type {Map<number, Process>} */
  #processes = new Map();
  /** The newest process with a pid. @type {Map<number, Process>} */
  #newest = new Map();
  /** @type {Process[]} */
  #exited = [];
  /** By `start`, the processes that have exited, and whose streams have not ended. @type {Map<number, Process>} */
  #unclosed = new Map();

  /** @param {Calls} calls */
  constructor(calls) {
    this.#calls = calls;
  }

  /**
   * Starts a process. `told` publishes the diagnostic that is under way, if there is one.
   * @param {string} program
   * @param {readonly string[]} args
   * @param {CheckedSpawn} options
   * @param {Process["told"]} told
   * @returns {Promise<Process>}
   */
  async spawn(program, args, options, told) {
    const { stdin, signal, onStdout, onStderr } = options;
    const { inputs = [], outputs = [] } = options.descriptors ?? { __proto__: null };
    const inContext = contextOfCall();
    /** @type {Process | undefined} */
    let process;
    /** @param {import("./wire").SpawnedValues} values */
    const onStart = ([pid, start]) => {
      process = new Process(pid, start, { inputs, outputs }, inContext, this.#calls);
      process.onStdout = onStdout;
      process.onStderr = onStderr;
      process.told = told;
      if (signal) {
        const abort = () => this.#calls.ask("killProcess", pid, start).catch(() => {});
        if (signal.aborted) abort();
        else process.release = follow(signal, abort);
      }
      this.#processes.set(start, process);
      // The addon reports no end of the older process's streams: it would be taken for this one's.
      const older = this.#newest.get(pid);
      if (older) this.#unclosed.delete(older.start);
      this.#newest.set(pid, process);
    };
    try {
      /** @type {import("./members").Bare<import("../src/addon").SpawnOptions>} */
      const request = { __proto__: null, ...programOptions(options), inputs, outputs };
      await this.#calls.start("spawn", onStart, commandLine(program, args), request, stdin);
    } catch (error) {
      told?.({ error });
      throw error;
    }
    // The call has resolved, so `onStart` was called.
    return /** @type {Process} */ (/** @type {unknown} */ (process));
  }

  /**
   * The newest process with that pid. Throws PROCESS_NOT_FOUND if spawn returned none, or its record was dropped.
   * @param {number} pid
   */
  get(pid) {
    const process = this.#newest.get(pid);
    if (process === undefined) throw new AgentVmError("PROCESS_NOT_FOUND", `Process not found: ${pid}`);
    return process;
  }

  /**
   * Gives the output to the process's callback and streams, and then emits its event.
   * @param {number} start
   * @param {StreamName} stream
   * @param {Uint8Array} data
   * @param {number} seq
   * @param {() => void} emit
   */
  onOutput(start, stream, data, seq, emit) {
    const process = this.#processes.get(start);
    if (process === undefined) return emit();
    const { inContext, onStdout, onStderr } = process;
    const callback = stream === "stderr" ? onStderr : onStdout;
    try {
      if (callback) inContext(() => callback(data));
    } finally {
      try {
        process.deliver(stream, data, seq);
      } finally {
        inContext(emit);
      }
    }
  }

  /**
   * Gives output of another pipe to its stream, and then emits its event.
   * @param {number} start
   * @param {number} number
   * @param {Uint8Array} data
   * @param {number} seq
   * @param {() => void} emit
   */
  onDescriptorOutput(start, number, data, seq, emit) {
    const process = this.#processes.get(start);
    const pipe = process?.pipes.get(number);
    if (process === undefined || pipe === undefined || !("output" in pipe)) return emit();
    process.inContext(() => {
      pipe.output.deliver("stdout", data, seq);
      emit();
    });
  }

  /**
   * A process has exited. `emit` and `emitClose` emit its events.
   * @param {number} start
   * @param {ExitValues} status
   * @param {boolean} closed
   * @param {(exit: ExitStatus) => void} emit
   * @param {() => void} emitClose
   */
  onExit(start, status, closed, emit, emitClose) {
    this.#calls.ended();
    const exit = exitStatus(status);
    const process = this.#processes.get(start);
    if (process === undefined) return emit(exit);
    const { release, told, inContext, pid } = process;
    release();
    this.#keep(process);
    if (!closed && this.#newest.get(pid) === process) this.#unclosed.set(start, process);
    told?.({ pid, ...exit });
    try {
      inContext(emit, exit);
    } finally {
      process.exited(exit);
      if (closed) inContext(emitClose);
    }
  }

  /**
   * The streams of a process that has exited have ended.
   * @param {number} start
   * @param {() => void} emitClose
   */
  onClose(start, emitClose) {
    const process = this.#unclosed.get(start);
    this.#unclosed.delete(start);
    if (process) process.inContext(emitClose);
    else emitClose();
  }

  /**
   * The VM has ended, and with it all streams.
   * @param {(pid: number) => void} emitClose
   */
  onVmExit(emitClose) {
    for (const { inContext, pid } of this.#unclosed.values()) inContext(emitClose, pid);
    this.#unclosed.clear();
  }

  /** @param {Process} process */
  #keep(process) {
    this.#exited.push(process);
    const oldest = this.#exited.length > EXITED ? this.#exited.shift() : undefined;
    if (oldest === undefined) return;
    this.#processes.delete(oldest.start);
    // Another process may have the pid now.
    if (this.#newest.get(oldest.pid) === oldest) this.#newest.delete(oldest.pid);
  }
}

exports.Processes = Processes;
exports.Process = Process;
