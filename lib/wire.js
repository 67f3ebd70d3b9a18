"use strict";
// What crosses between JavaScript and the addon, and its form there: the other half is src/wire.rs. src/addon.d.ts, which the
// build generates from the addon, refers to the types here.

const os = require("node:os");

const { AgentVmError } = require("./error");

/** @import { AgentVmErrorCode, BackgroundProcess, ExecResult, ExitStatus, IsolationLevel } from "../index" */
/** @import { MessageKind } from "../src/addon" */

/**
 * Text of JSON, and the type of what it parses to.
 * @template T
 * @typedef {string & { readonly __json: T }} Json
 */

/**
 * What a method of the addon returns: an error, or a value, where it is known at once; null where it comes as a message.
 * @template T
 * @typedef {[error: Json<ErrorFields>] | [error: undefined, value: T] | null} Answer
 */

/** @typedef {{ code: AgentVmErrorCode, message: string, errno?: number, syscall?: string, path?: string }} ErrorFields */

/**
 * How a program ended; the signal as a number, 0 for none.
 * @typedef {[
 *   exitCode: number, signal: number, reason: ExitStatus["reason"], userMs: number, systemMs: number, maxRssBytes: number,
 * ]} ExitValues
 */

/** @typedef {[stream: "stdout" | "stderr", data: Uint8Array, seq: number]} Chunk */

/**
 * Kept output.
 * @typedef {[
 *   chunks: Chunk[], nextSeq: number, truncatedBytes: number, status: ExitValues | undefined, outputCut: boolean,
 * ]} Replay
 */

/** @typedef {[bytesIn: number, bytesOut: number, outputsCut: number]} IoStats */

/**
 * An exec's result: the members of ExitValues, the output, 1 if stdout was cut off and 2 if stderr was, and what is left running.
 * @typedef {[
 *   ...status: ExitValues, stdout: string, stderr: string, cut: number, timedOut: boolean,
 *   background: Json<BackgroundProcess[]> | undefined,
 * ]} ExecOutcome
 */

/**
 * What a VM reports without being asked.
 * @typedef {[kind: MessageKind.ProcessOutput, pid: number, isStderr: boolean, data: Uint8Array, seq: number]
 *   | [kind: MessageKind.ProcessExit, pid: number, status: ExitValues]
 *   | [kind: MessageKind.ShellData, shellId: string, data: Uint8Array, seq: number]
 *   | [kind: MessageKind.ShellExit, shellId: string, status: ExitValues]
 *   | [kind: MessageKind.NetworkDenied, host: string, port: number, reason: string]
 *   | [kind: MessageKind.Exit, disposed: boolean]} Event
 */

/**
 * What the addon calls its dispatch function with. `value` has the type that the method of the call declares.
 * @typedef {Event
 *   | [kind: MessageKind.Settled, call: number, error: Json<ErrorFields> | undefined, value?: unknown]
 *   | [kind: MessageKind.Piece, call: number, piece: Json<unknown[]>]
 *   | [kind: MessageKind.ExecEnded, call: number, ...outcome: ExecOutcome]
 *   | [kind: MessageKind.ExecOutput, call: number, isStderr: boolean, data: Uint8Array]
 *   | [kind: MessageKind.Lost, error: Json<ErrorFields>]} Message
 */

/** @typedef {(...message: Message) => void} Dispatch */

/** @typedef {[name: string, value: string][]} Pairs */

/**
 * Options of exec, spawn and openShell.
 * @typedef {object} RunOptions
 * @property {Pairs | undefined} [env]
 * @property {string | undefined} [cwd]
 * @property {number | undefined} [timeout]
 * @property {number | undefined} [maxOutputBytes]
 * @property {boolean} [streams] Whether exec also sends output as it comes.
 * @property {number | undefined} [cols]
 * @property {number | undefined} [rows]
 */

/** @typedef {{ path: string, hostPath: string, readOnly: boolean, software?: boolean }} BootMount */

/** @typedef {({ name: string } | { subdomainsOf: string } | { address: string, prefixLength: number })
 *   & { port: number | undefined }} Destination */

/**
 * What to boot: the options of `create`, each in the form that the addon takes, with the defaults.
 * @typedef {object} BootRequest
 * @property {string} init
 * @property {string | undefined} node
 * @property {IsolationLevel} isolation
 * @property {string} hostname
 * @property {string | undefined} rootfs
 * @property {string | undefined} home
 * @property {readonly BootMount[]} mounts
 * @property {readonly string[]} directories
 * @property {{ etc?: readonly string[], hide?: readonly string[] } | undefined} host
 * @property {readonly [name: string, path: string][]} bins
 * @property {"none" | "public" | "host" | { allow: readonly Destination[] }} network
 * @property {Pairs} env
 * @property {{
 *   pids: number, openFiles: number, diskBytes: number, terminals: number, replayBytes: number,
 *   memoryBytes: number | undefined, cpus: number | undefined,
 * }} limits
 * @property {string | undefined} log
 */

/**
 * JSON of plain values by their own members alone; JSON.stringify would also call an inherited `toJSON`.
 * @template {object} T
 * @param {T} value
 */
function json(value) {
  return /** @type {Json<T>} */ (objectJson(value));
}

/**
 * @param {object} value
 * @returns {string}
 */
function objectJson(value) {
  let all = "";
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index++)
      all += `${index === 0 ? "" : ","}${valueJson(value[index]) ?? "null"}`;
    return `[${all}]`;
  }
  for (const [key, member] of Object.entries(value)) {
    const text = valueJson(member);
    if (text !== undefined) all += `${all === "" ? "" : ","}${JSON.stringify(key)}:${text}`;
  }
  return `{${all}}`;
}

/**
 * Undefined for what JSON has no text for.
 * @param {unknown} value
 * @returns {string | undefined}
 */
function valueJson(value) {
  return typeof value === "object" && value !== null ? objectJson(value) : JSON.stringify(value);
}

/**
 * What the addon wrote as JSON.
 * @template T
 * @param {Json<T>} text
 * @returns {T}
 */
function parse(text) {
  return JSON.parse(text);
}

/**
 * A program and its arguments, all of them checked: in one string, for none of them holds a NUL.
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
  // Where a number has two names, the first is the usual one: SIGABRT, not SIGIOT.
  Object.entries(os.constants.signals)
    .reverse()
    .map(([name, number]) => [number, /** @type {NodeJS.Signals} */ (name)]),
);

/**
 * A signal's name by its number; null for 0. Node.js has no names for real-time signals.
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
 * @returns {ExecResult}
 */
function execResult(outcome) {
  const [exitCode, signal, reason, userMs, systemMs, maxRssBytes, stdout, stderr, cut, timedOut, background] = outcome;
  return {
    exitCode,
    signal: signalName(signal),
    reason,
    usage: { userMs, systemMs, maxRssBytes },
    stdout,
    stderr,
    stdoutTruncated: (cut & 1) !== 0,
    stderrTruncated: (cut & 2) !== 0,
    timedOut,
    background: background === undefined ? [] : parse(background),
  };
}

module.exports = { commandLine, execResult, exitStatus, json, nativeError, parse };
