"use strict";
// `encoding`, `keepOutput` and `check` of a command in a context.
const { AgentVmError } = require("..");
const { context } = require("./fixture/contexts");
const { rejection } = require("./fixture/promises");
const { bootForFile } = require("./fixture/vm");

let vm;
beforeAll(async () => {
  vm = await bootForFile();
});

describe.each(["bash", "dash", "zsh"])("%s", (shell) => {
  test("encoding: a result with bytes, or text in which invalid sequences are U+FFFD", async () => {
    const run = await context(vm, { shell });
    const command = "printf '\\377\\000é'; printf '\\376' >&2";
    const { stdout, stderr } = await run(command, { encoding: "buffer" });
    expect(Buffer.from(stdout)).toEqual(Buffer.from([0xff, 0, 0xc3, 0xa9]));
    expect(Buffer.from(stderr)).toEqual(Buffer.from([0xfe]));
    expect(await run(command)).toMatchObject({ stdout: "\ufffd\0é", stderr: "\ufffd" });
  });

  test("keepOutput: what is kept is each command's own", async () => {
    const run = await context(vm, { shell });
    const command = "printf 1234567890; printf 1234567890 >&2";
    for (const [keepOutput, kept, gap] of [
      ["head", "12345", { at: 5, bytes: 5 }],
      ["tail", "67890", { at: 0, bytes: 5 }],
      ["ends", "12390", { at: 3, bytes: 5 }],
    ]) {
      expect(await run(command, { keepOutput, maxOutputBytes: 5 })).toMatchObject({
        stdout: kept,
        stdoutTruncated: true,
        stdoutDropped: gap,
        stderr: kept,
        stderrDropped: gap,
      });
    }
    expect(await run(command)).toMatchObject({ stdout: "1234567890", stdoutTruncated: false });
  });

  test("check: a command that fails is a rejection with its result, and the context goes on", async () => {
    const run = await context(vm, { shell });
    await run("kept=yes");
    const error = await rejection(run("echo out; echo why >&2; (exit 3)", { check: true }));
    expect(error).toBeInstanceOf(AgentVmError);
    expect(error.code).toBe("COMMAND_FAILED");
    expect(error.result).toMatchObject({ exitCode: 3, stdout: "out\n", stderr: "why\n", contextRestarted: false });
    expect(await run("echo $? $kept", { check: true })).toMatchObject({ stdout: "3 yes\n" });
    const late = await rejection(run("sleep 1000", { check: true, timeout: 200 }));
    expect(late).toMatchObject({ code: "COMMAND_FAILED", result: { timedOut: true } });
    const exited = await rejection(run("exit 4", { check: true }));
    expect(exited.result).toMatchObject({ exitCode: 4, contextRestarted: true });
    expect(await run("true", { check: true })).toMatchObject({ exitCode: 0 });
  });
});
