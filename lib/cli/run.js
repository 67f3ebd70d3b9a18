"use strict";

const { systemError } = require("../error");
const { namedVm } = require("./named-vm");
const { timeout, usage, withoutUndefined } = require("./options");
const { complain, printJson, write } = require("./output");
const { followSignals } = require("./signals");
const { isTerminalGone } = require("./terminal");

/** @import { AgentVm } from "../../index" */
/** @typedef {{ cwd?: string, timeout?: number }} Call */

const FDS = { stdout: 1, stderr: 2 };
/** @type {NodeJS.Signals[]} */
const FORWARDED = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"];

/**
 * Runs one program in its own VM, forwards streams and signals, and resolves to the program's exit code.
 * @param {import("./options").Values} options
 * @param {string[]} words
 */
async function run(options, [file, ...args]) {
  if (file === undefined)
    throw usage('run needs a program: agent-vm run -- CMD [ARG…]; for a shell\'s syntax, "sh -c …"');
  /** @type {Call} */
  const call = withoutUndefined({ cwd: options.cwd, timeout: timeout(options.timeout) });
  const vm = await namedVm(options);
  try {
    return await (options.json ? collect : pass)(vm, file, args, call);
  } finally {
    await vm.dispose();
  }
}

/**
 * @param {AgentVm} vm
 * @param {string} file
 * @param {string[]} args
 * @param {Call} call
 */
async function collect(vm, file, args, call) {
  const stdin = await whole(process.stdin);
  const result = await vm.execFile(file, args, { ...call, ...(stdin && { stdin }) });
  printJson(result);
  return result.exitCode;
}

/**
 * @param {AgentVm} vm
 * @param {string} file
 * @param {string[]} args
 * @param {Call} call
 */
async function pass(vm, file, args, call) {
  let over = false;
  /** @type {(error: unknown) => void} */
  let fail = () => {};
  /** @type {Promise<never>} */
  const failed = new Promise((_, reject) => {
    fail = reject;
  });
  /** @type {Promise<import("../../index").ProcessExitEvent>} */
  const exited = new Promise((resolve) => {
    vm.on("processExit", resolve);
  });
  const { pid } = await vm.spawn(file, args, {
    ...call,
    onStdout: (data) => forward("stdout", data),
    onStderr: (data) => forward("stderr", data),
  });
  /**
   * @param {"stdout" | "stderr"} stream
   * @param {Uint8Array} data
   */
  function forward(stream, data) {
    if (over) return;
    try {
      if (write(FDS[stream], data)) return;
      fail(Object.assign(new Error("nobody reads the output"), { code: "READER_GONE" }));
    } catch (error) {
      fail(error);
    }
    over = true;
  }
  // The process may just have ended.
  const signals = followSignals(FORWARDED, (signal) => vm.signalProcess(pid, signal).catch(() => {}));
  feed(vm, pid).then(() => isTerminalGone() && signals.lost());
  const exitCode = exited.then((status) => status.exitCode);
  return signals.exitCode(await Promise.race([failed, exitCode, signals.ended]));
}

/**
 * Forwards standard input to the program, as fast as the program reads it.
 * @param {AgentVm} vm
 * @param {number} pid
 */
async function feed(vm, pid) {
  try {
    for await (const chunk of process.stdin) await vm.writeProcessStdin(pid, chunk);
    await vm.closeProcessStdin(pid);
  } catch (thrown) {
    const error = systemError(thrown);
    // A program may end without reading all of its input.
    if (error.code !== "STDIN_CLOSED" && error.code !== "VM_DISPOSED" && !isTerminalGone()) {
      complain(`standard input: ${error.message}`);
    }
  }
}

/** @param {typeof process.stdin} stream */
async function whole(stream) {
  if (stream.isTTY) return undefined;
  /** @type {Buffer[]} */
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

module.exports = { run };
