"use strict";

const { AgentVm } = require("../..");
const { createOptions, timeout, usage, withoutUndefined } = require("./options");
const { complain, printJson, write } = require("./output");
const { followSignals } = require("./signals");
const { isTerminalGone } = require("./terminal");

const FDS = { stdout: 1, stderr: 2 };
const FORWARDED = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"];

/** Runs one program in a VM of its own, its streams and signals passed on; resolves to its exit code. */
async function run(options, [file, ...args]) {
  if (file === undefined)
    throw usage('run needs a program: agent-vm run -- CMD [ARG…]; for a shell\'s syntax, "sh -c …"');
  const call = withoutUndefined({ cwd: options.cwd, timeout: timeout(options.timeout) });
  const vm = await AgentVm.create(createOptions(options));
  try {
    return await (options.json ? collect : pass)(vm, file, args, call);
  } finally {
    await vm.dispose();
  }
}

async function collect(vm, file, args, call) {
  const result = await vm.execFile(file, args, { ...call, stdin: await whole(process.stdin) });
  printJson(result);
  return result.exitCode;
}

async function pass(vm, file, args, call) {
  let over = false;
  let fail;
  const failed = new Promise((_, reject) => {
    fail = reject;
  });
  const exited = new Promise((resolve) => {
    vm.on("processExit", resolve);
  });
  const { pid } = await vm.spawn(file, args, {
    ...call,
    onStdout: (data) => forward("stdout", data),
    onStderr: (data) => forward("stderr", data),
  });
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
  // It may have ended just now.
  const signals = followSignals(FORWARDED, (signal) => vm.signalProcess(pid, signal).catch(() => {}));
  feed(vm, pid).then(() => isTerminalGone() && signals.lost());
  const exitCode = exited.then((status) => status.exitCode);
  return signals.exitCode(await Promise.race([failed, exitCode, signals.ended]));
}

/** Passes our standard input on, as fast as the program reads it. */
async function feed(vm, pid) {
  try {
    for await (const chunk of process.stdin) await vm.writeProcessStdin(pid, chunk);
    await vm.closeProcessStdin(pid);
  } catch (error) {
    // A program need not read what it is given, and may end before it has.
    if (error.code !== "STDIN_CLOSED" && error.code !== "VM_DISPOSED" && !isTerminalGone()) {
      complain(`standard input: ${error.message}`);
    }
  }
}

async function whole(stream) {
  if (stream.isTTY) return undefined;
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

module.exports = { run };
