"use strict";

const { AgentVm } = require("../..");
const { createOptions, timeout, usage, withoutUndefined } = require("./options");
const { write } = require("./output");

const FDS = { stdout: 1, stderr: 2 };
const FORWARDED = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"];

/** What a shell says of a program that died of SIGPIPE: the reader of our output has gone. */
const READER_GONE = 141;

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
  process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
  return result.exitCode;
}

async function pass(vm, file, args, call) {
  let readerGone = false;
  const exited = new Promise((resolve) => {
    vm.on("processExit", resolve);
  });
  const { pid } = await vm.spawn(file, args, {
    ...call,
    onStdout: (data) => forward("stdout", data),
    onStderr: (data) => forward("stderr", data),
  });
  function forward(stream, data) {
    if (readerGone || write(FDS[stream], data)) return;
    readerGone = true;
    vm.killProcess(pid).catch(() => {});
  }
  for (const signal of FORWARDED) {
    // It may have ended just now.
    process.on(signal, () => vm.signalProcess(pid, signal).catch(() => {}));
  }
  feed(vm, pid);
  const { exitCode } = await exited;
  return readerGone ? READER_GONE : exitCode;
}

/** Passes our standard input on, as fast as the program reads it. */
async function feed(vm, pid) {
  try {
    for await (const chunk of process.stdin) await vm.writeProcessStdin(pid, chunk);
    await vm.closeProcessStdin(pid);
  } catch (error) {
    // A program need not read what it is given, and may end before it has.
    if (error.code !== "STDIN_CLOSED" && error.code !== "VM_DISPOSED") {
      process.stderr.write(`agent-vm: standard input: ${error.message}\n`);
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
