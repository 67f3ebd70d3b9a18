"use strict";
// Converts the addon's results and messages for JavaScript. The other half is src/wire/, which also says what each
// form saves. src/addon.d.ts, which the build generates from the addon, refers to the types here and declares those
// of the options.

const os = require("node:os");

const { AgentVmError } = require("./error");

/** @import { AgentVmErrorCode, BackgroundProcess, DirectoryEntry, ExecResult, ExitStatus, ListeningPort, NamedEntry, ProcessOutputReplay, ShellReplay, ShellScreen, VmStats } from "../index" */
/** @import { MessageKind, NativeVm } from "../src/addon" */

/**
 * A JSON text that parses to T.
 * @template T
 * @typedef {string & { readonly __json: T }} Json
 */

/**
 * The result of an addon's method: an error, or a value if it is known at once; null if it arrives as a message.
 * @template T
 * @typedef {[error: Json<ErrorFields>] | [error: undefined, value: T] | null} Answer
 */

/** @typedef {{ code: AgentVmErrorCode, message: string, errno?: number, syscall?: string, path?: string }} ErrorFields */

/**
 * How a program ended. The signal is a number, 0 for none.
 * @typedef {[
 *   exitCode: number, signal: number, reason: ExitStatus["reason"], userMs: number, systemMs: number, maxRssBytes: number,
 * ]} ExitValues
 */

/**
 * A started process: its pid, and the number of the call that started it, which no other process has.
 * @typedef {[pid: number, start: number]} SpawnedValues
 */

/** @typedef {[stream: "stdout" | "stderr", data: Uint8Array, seq: number]} Chunk */

/**
 * Kept output.
 * @typedef {[
 *   chunks: Chunk[], nextSeq: number, truncatedBytes: number, status: ExitValues | undefined, outputCut: boolean,
 * ]} Replay
 */

/** @typedef {[type: "created" | "changed" | "removed" | "overflow", path: string] | [type: "renamed", path: string, from: string] | [type: "unwatched", path: string, code: AgentVmErrorCode]} WatchedChange */

/** @typedef {Omit<ShellScreen, "exited">} ScreenPiece */

/**
 * What the addon knows of a VM's statistics.
 * @typedef {Omit<VmStats, "ports">} Usage
 */

/**
 * The output of a command on one stream, as text or bytes. If some was dropped: the output before that, the number of bytes
 * dropped, and the output after them.
 * @typedef {string | Uint8Array | [head: string, dropped: number, tail: string] | [head: Uint8Array, dropped: number, tail: Uint8Array]} Printed
 */

/**
 * The result of an exec: the members of ExitValues, the output, the processes left running, and, in a context, whether its shell
 * was restarted.
 * @typedef {[
 *   ...status: ExitValues, stdout: Printed, stderr: Printed, timedOut: boolean,
 *   background: Json<BackgroundProcess[]> | undefined, contextRestarted: boolean | undefined,
 * ]} ExecOutcome
 */

/** @typedef {ExecResult | ExecResult<Uint8Array>} AnyExecResult */

/**
 * A port on which a process listens now, or the number of one on which none does any more.
 * @typedef {ListeningPort | number} PortChange
 */

/**
 * What a VM reports on its own.
 * @typedef {[kind: MessageKind.ProcessOutput, pid: number, isStderr: boolean, data: Uint8Array, seq: number, start: number]
 *   | [kind: MessageKind.DescriptorOutput, pid: number, fd: number, data: Uint8Array, seq: number, start: number]
 *   | [kind: MessageKind.ProcessExit, pid: number, status: ExitValues, start: number, closed: boolean]
 *   | [kind: MessageKind.ProcessClose, pid: number, start: number]
 *   | [kind: MessageKind.ShellData, shellId: string, data: Uint8Array, seq: number]
 *   | [kind: MessageKind.ShellExit, shellId: string, status: ExitValues]
 *   | [kind: MessageKind.NetworkDenied, host: string, port: number, reason: string]
 *   | [kind: MessageKind.ShellWaiting, shellId: string]
 *   | [kind: MessageKind.Ports, changes: Json<PortChange[]>]
 *   | [kind: MessageKind.Exit, disposed: boolean]} Event
 */

/**
 * The arguments of the dispatch function that the addon calls. `value` has the type that the call's method declares.
 * @typedef {Event
 *   | [kind: MessageKind.Settled, call: number, error: Json<ErrorFields> | undefined, value?: unknown]
 *   | [kind: MessageKind.Piece, call: number, piece: Json<unknown[]>]
 *   | [kind: MessageKind.ExecEnded, call: number, ...outcome: ExecOutcome]
 *   | [kind: MessageKind.ExecOutput, call: number, isStderr: boolean, data: Uint8Array]
 *   | [kind: MessageKind.Lost, error: Json<ErrorFields>]} Message
 */

/** @typedef {(...message: Message) => void} Dispatch */

/**
 * The methods of the addon that answer a call.
 * @typedef {{ [M in keyof NativeVm]: NativeVm[M] extends (call: number, ...rest: never[]) => Answer<unknown> ? M : never }[keyof NativeVm]} Method
 */

/**
 * The parameters of such a method after the number of the call.
 * @template {Method} M
 * @typedef {Parameters<NativeVm[M]> extends [call: number, ...values: infer V] ? V : never} ValuesOf
 */

/**
 * The type that a method's call resolves to.
 * @template {Method} M
 * @typedef {ReturnType<NativeVm[M]> extends Answer<infer T> ? T : never} ResultOf
 */

/**
 * The item types of lists that arrive in pieces.
 * @typedef {{ readdir: string, readdirEntries: [name: string, type: NamedEntry["type"]], readdirRecursive: DirectoryEntry }} ListedBy
 */

/** @typedef {[name: string, value: string][]} Pairs */

/**
 * Parses JSON that the addon wrote.
 * @template T
 * @param {Json<T>} text
 * @returns {T}
 */
function parse(text) {
  return JSON.parse(text);
}

/**
 * A program and its arguments joined by NUL; the checks have made sure that none contains a NUL.
 * @param {string} program
 * @param {readonly string[]} args
 */
function commandLine(program, args) {
  let line = program;
  for (let index = 0; index < args.length; index++) line += `\0${args[index]}`;
  return line;
}

/** @param {Json<ErrorFields>} text */
function nativeError(text) {
  const fields = parse(text);
  return new AgentVmError(fields.code, fields.message, fields);
}

/** @type {Map<number, NodeJS.Signals>} */
const signalNames = new Map(
  // If a number has two names, the first is the usual one: SIGABRT, not SIGIOT.
  Object.entries(os.constants.signals)
    .reverse()
    .map(([name, number]) => [number, /** @type {NodeJS.Signals} */ (name)]),
);

/**
 * The name of a signal's number; null for 0. Node.js has no names for real-time signals.
 * @param {number} signal
 */
function signalName(signal) {
  return signal === 0 ? null : (signalNames.get(signal) ?? /** @type {NodeJS.Signals} */ (`SIG${signal}`));
}

/**
 * @param {ExitValues} status
 * @returns {ExitStatus}
 */
function exitStatus([exitCode, signal, reason, userMs, systemMs, maxRssBytes]) {
  return {
    exitCode,
    signal: signalName(signal),
    reason,
    usage: { userMs, systemMs, maxRssBytes },
  };
}

/**
 * @param {ExecOutcome} outcome
 * @returns {AnyExecResult}
 */
function execResult(outcome) {
  const [exitCode, signal, reason, userMs, systemMs, maxRssBytes, stdout, stderr, timedOut, background] = outcome;
  const contextRestarted = outcome[10];
  const [stdoutDropped, stderrDropped] = [droppedOf(stdout), droppedOf(stderr)];
  const result = {
    exitCode,
    signal: signalName(signal),
    reason,
    usage: { userMs, systemMs, maxRssBytes },
    stdout: outputOf(stdout),
    stderr: outputOf(stderr),
    stdoutTruncated: stdoutDropped !== undefined,
    stderrTruncated: stderrDropped !== undefined,
    ...(stdoutDropped && { stdoutDropped }),
    ...(stderrDropped && { stderrDropped }),
    timedOut,
    background: background === undefined ? [] : parse(background),
  };
  if (contextRestarted !== undefined) Object.assign(result, { contextRestarted });
  // Both streams are text, or both are bytes.
  return /** @type {AnyExecResult} */ (result);
}

/** @param {Printed} printed */
function outputOf(printed) {
  if (!Array.isArray(printed)) return printed;
  const [head, , tail] = printed;
  return typeof head === "string" ? `${head}${tail}` : Buffer.concat([head, /** @type {Uint8Array} */ (tail)]);
}

/** @param {Printed} printed */
function droppedOf(printed) {
  return Array.isArray(printed) ? { bytes: printed[1], at: printed[0].length } : undefined;
}

/**
 * @param {number} pid
 * @param {Replay} replay
 * @returns {ProcessOutputReplay}
 */
function processReplay(pid, [chunks, nextSeq, truncatedBytes, status, outputCut]) {
  return {
    chunks: chunks.map(([stream, data, seq]) => ({ pid, stream, data, seq })),
    nextSeq,
    truncatedBytes,
    exited: status ? exitStatus(status) : null,
    outputCut,
  };
}

/**
 * @param {Replay} replay
 * @returns {ShellReplay}
 */
function shellReplay([chunks, nextSeq, truncatedBytes, status, outputCut]) {
  const [first, ...others] = chunks.map(([, bytes]) => bytes);
  const data = first && others.length === 0 ? first : Buffer.concat(first ? [first, ...others] : []);
  return { data, nextSeq, truncatedBytes, exited: status ? exitStatus(status) : null, outputCut };
}

/**
 * A shell's screen, which came as a piece, and how the shell ended, if it has.
 * @param {ScreenPiece} screen
 * @param {ExitValues | undefined} status
 * @returns {ShellScreen}
 */
function shellScreen(screen, status) {
  return { ...screen, exited: status ? exitStatus(status) : null };
}

module.exports = { commandLine, execResult, exitStatus, nativeError, parse, processReplay, shellReplay, shellScreen };
