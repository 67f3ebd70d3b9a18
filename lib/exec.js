"use strict";
// One-shot commands.

const check = require("./arguments");
const { aborted } = require("./error");
const { exitStatus } = require("./exit-status");

/** Runs a program; resolves to an ExecResult when it has ended. */
async function exec(calls, file, args, options) {
  const { stdin, signal, onStdout, onStderr, ...rest } = check.members("options", options, check.exec);
  calls.requireVm();
  if (signal?.aborted) throw aborted();
  const message = JSON.stringify({ ...rest, file, args, streams: Boolean(onStdout || onStderr) });
  return execResult(await calls.exec({ stdout: onStdout, stderr: onStderr }, message, stdin, signal));
}

function execResult([status, stdout, stderr, stdoutTruncated, stderrTruncated, timedOut, background]) {
  return {
    ...exitStatus(status),
    stdout,
    stderr,
    stdoutTruncated,
    stderrTruncated,
    timedOut,
    background: background ? JSON.parse(background) : [],
  };
}

module.exports = { exec };
