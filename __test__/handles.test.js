"use strict";
// Handles of processes: what `spawn` and `getHandle` resolve to.

const { AgentVmError } = require("..");
const { rejection, sleep, until } = require("./fixture/promises");
const { nodeScript } = require("./fixture/server-process");
const { boot, bootForFile } = require("./fixture/vm");

let vm;
beforeAll(async () => {
  vm = await bootForFile();
});

/** Everything that a stream brings, as text. */
async function textOf(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

async function linesOf(handle) {
  const lines = [];
  for await (const { stream, line } of handle.lines()) lines.push(`${stream}: ${line}`);
  return lines;
}

test("a handle compares, and becomes JSON, as { pid }", async () => {
  const handle = await vm.spawn("true");
  const { pid } = handle;
  expect(handle).toEqual({ pid });
  expect(JSON.stringify(handle)).toBe(`{"pid":${pid}}`);
  expect(Object.keys({ ...handle })).toEqual(["pid"]);
  expect(structuredClone(handle)).toEqual({ pid });
  expect(await vm.waitProcess(pid)).toBe(0);
});

test("stdin is written in order and whole, and end() closes it", async () => {
  const handle = await vm.spawn("wc", ["-c"]);
  const output = textOf(handle.stdout);
  const large = Buffer.alloc(300_000, "x");
  for (let round = 0; round < 10; round++) {
    handle.stdin.write("é");
    if (!handle.stdin.write(large)) await new Promise((resolve) => handle.stdin.once("drain", resolve));
  }
  handle.stdin.end("end");
  expect(await output).toBe(`${10 * (2 + 300_000) + 3}\n`);
  expect((await handle.exited).exitCode).toBe(0);
});

test("a write to stdin that nobody reads any more fails with STDIN_CLOSED", async () => {
  const handle = await vm.spawn("sh", ["-c", "exec <&-; echo closed; sleep 60"]);
  const errors = [];
  handle.stdin.on("error", (error) => errors.push(error));
  for await (const { line } of handle.lines()) if (line === "closed") break;
  handle.stdin.write("x");
  await until(() => errors.length > 0);
  expect(errors[0]).toBeInstanceOf(AgentVmError);
  expect(errors[0].code).toBe("STDIN_CLOSED");
  await handle.kill();
});

test("stdin is destroyed without an error when the process exits", async () => {
  const handle = await vm.spawn("true");
  const { stdin } = handle;
  const errors = [];
  stdin.on("error", (error) => errors.push(error));
  await new Promise((resolve) => stdin.on("close", resolve));
  expect(stdin.destroyed).toBe(true);
  expect(errors).toEqual([]);
});

test("destroying stdin closes it", async () => {
  const handle = await vm.spawn("cat");
  handle.stdin.destroy();
  expect((await handle.exited).exitCode).toBe(0);
});

test("stdout and stderr are apart, byte for byte", async () => {
  const handle = await vm.spawn("sh", ["-c", "printf '\\377\\0out'; printf '\\376err' >&2"]);
  const [out, err] = await Promise.all([handle.stdout.toArray(), handle.stderr.toArray()]);
  expect(Buffer.concat(out)).toEqual(Buffer.from([0xff, 0, 0x6f, 0x75, 0x74]));
  expect(Buffer.concat(err)).toEqual(Buffer.from([0xfe, 0x65, 0x72, 0x72]));
});

test("a stream that is read late begins at the first byte, also after the exit and while more comes", async () => {
  const handle = await vm.spawn("sh", ["-c", "seq 1 5000; read go; seq 5001 10000; echo late >&2"]);
  const first = Array.from({ length: 5000 }, (_, index) => `${index + 1}\n`).join("");
  const whole = Array.from({ length: 10_000 }, (_, index) => `${index + 1}\n`).join("");
  await until(async () => (await vm.readProcessOutput(handle.pid)).nextSeq === first.length);
  const during = textOf(handle.stdout);
  await vm.writeProcessStdin(handle.pid, "\n");
  expect(await during).toBe(whole);
  await handle.exited;
  expect(await textOf((await vm.getHandle(handle.pid)).stdout)).toBe(whole);
  expect(await textOf(handle.stderr)).toBe("late\n");
});

test("streams, lines, events, callbacks and other handles each get everything", async () => {
  const got = { event: "", callback: "" };
  const onEvent = ({ pid, data }) => pid > 0 && (got.event += data);
  vm.on("processOutput", onEvent);
  const handle = await vm.spawn("seq", ["1000"], { onStdout: (data) => (got.callback += data) });
  const other = await vm.getHandle(handle.pid);
  const [first, second, lines] = await Promise.all([textOf(handle.stdout), textOf(other.stdout), linesOf(handle)]);
  vm.off("processOutput", onEvent);
  const expected = Array.from({ length: 1000 }, (_, index) => `${index + 1}\n`).join("");
  expect({ ...got, first, second }).toEqual({ event: expected, callback: expected, first: expected, second: expected });
  expect(lines).toEqual(
    expected
      .split("\n")
      .slice(0, -1)
      .map((line) => `stdout: ${line}`),
  );
});

test("a stream whose beginning is no longer kept fails with LIMIT_EXCEEDED and truncatedBytes", async () => {
  const small = await boot({ limits: { replayBytes: 10_000 } });
  const handle = await small.spawn("head", ["-c", "100000", "/dev/zero"]);
  await handle.exited;
  for (const name of ["stdout", "stderr"]) {
    const error = await rejection(handle[name].toArray());
    expect(error).toBeInstanceOf(AgentVmError);
    expect(error.code).toBe("LIMIT_EXCEEDED");
    expect(error.truncatedBytes).toBeGreaterThanOrEqual(90_000);
    expect(error.truncatedBytes).toBe((await small.readProcessOutput(handle.pid)).truncatedBytes);
  }
  const lines = handle.lines();
  expect((await rejection(lines.next())).code).toBe("LIMIT_EXCEEDED");
  expect(await lines.next()).toEqual({ value: undefined, done: true });
});

test("a stream that is read at once gets all output, although none is kept", async () => {
  const none = await boot({ limits: { replayBytes: 0 } });
  for (let round = 0; round < 20; round++) {
    const { stdout } = await none.spawn("head", ["-c", "200000", "/dev/zero"]);
    const chunks = await stdout.toArray();
    expect(Buffer.concat(chunks)).toHaveLength(200_000);
  }
});

test("a stream that nobody reads pauses the process, and reading it lets the process continue", async () => {
  const total = 20_000_000;
  const handle = await vm.spawn("head", ["-c", String(total), "/dev/zero"]);
  const { stdout } = handle;
  const written = async () => (await vm.readProcessOutput(handle.pid, { after: Number.MAX_SAFE_INTEGER })).nextSeq;
  let before = -1;
  await until(async () => {
    const now = await written();
    const stands = now === before;
    before = now;
    await sleep(50);
    return stands && now > 0;
  });
  // Its buffer, and the chunks that were on their way.
  expect(await written()).toBeLessThan(512 * 1024 + 2.5 * 1024 * 1024);
  let bytes = 0;
  for await (const chunk of stdout) bytes += chunk.length;
  expect(bytes).toBe(total);
  expect((await handle.exited).exitCode).toBe(0);
});

test("a stream that nobody reads does not hold up the exit of its process, nor a kill", async () => {
  const handle = await vm.spawn("yes");
  const { stdout } = handle;
  await until(async () => (await vm.readProcessOutput(handle.pid, { after: 0 })).nextSeq > 100_000);
  await handle.kill();
  expect(await handle.exited).toMatchObject({ reason: "signal", signal: "SIGKILL" });
  // What it had written is all there.
  const text = await textOf(stdout);
  expect(/^(y\n)*y?$/.test(text)).toBe(true);
  expect(text.length).toBe((await vm.readProcessOutput(handle.pid, { after: Number.MAX_SAFE_INTEGER })).nextSeq);
});

test("leaving a loop, or destroying a stream, leaves the process and its events as they are", async () => {
  const handle = await vm.spawn("sh", ["-c", "exec yes on"]);
  for await (const chunk of handle.stdout) {
    expect(chunk.length).toBeGreaterThan(0);
    break;
  }
  const lines = handle.lines();
  expect((await lines.next()).value).toEqual({ stream: "stdout", line: "on" });
  await lines.return();
  expect(await lines.next()).toEqual({ value: undefined, done: true });
  let bytes = 0;
  const onOutput = ({ pid, data }) => (bytes += pid === handle.pid ? data.length : 0);
  vm.on("processOutput", onOutput);
  await until(() => bytes > 4_000_000);
  vm.off("processOutput", onOutput);
  expect(await vm.getProcess(handle.pid)).toMatchObject({ running: true });
  await handle.kill();
});

test("streams end when nothing can write to them any more, which may be after the exit", async () => {
  const handle = await vm.spawn("sh", ["-c", "sleep 60 & echo parent; exit 4"]);
  let ended = false;
  const output = textOf(handle.stdout).finally(() => (ended = true));
  expect((await handle.exited).exitCode).toBe(4);
  await sleep(100);
  expect(ended).toBe(false);
  await vm.killProcess(handle.pid);
  expect(await output).toBe("parent\n");
});

test("output that a process left behind writes comes before the end of the stream", async () => {
  const handle = await vm.spawn("sh", [
    "-c",
    "(until [ -e go ]; do sleep 0.02; done; echo child; echo more >&2) & exit 4",
  ]);
  const [out, err, lines] = [textOf(handle.stdout), textOf(handle.stderr), linesOf(handle)];
  expect((await handle.exited).exitCode).toBe(4);
  await vm.exec("touch go");
  expect([await out, await err]).toEqual(["child\n", "more\n"]);
  expect((await lines).sort()).toEqual(["stderr: more", "stdout: child"]);
});

test("a stream that its process closes ends while the process runs", async () => {
  const handle = await vm.spawn("sh", ["-c", "echo first; exec >&-; echo second >&2; sleep 60"]);
  expect(await textOf(handle.stdout)).toBe("first\n");
  expect(await vm.getProcess(handle.pid)).toMatchObject({ running: true });
  await handle.kill();
  expect(await textOf(handle.stderr)).toBe("second\n");
});

test("lines have no line ends, and characters whole; the last one needs no end", async () => {
  const text = "one\n\ntwo\r\nth\rree\né€🦀\n\ufeffmark\nlast";
  // A byte at a time, so that every character is cut.
  const script = `process.stdin.on("data", async (data) => { for (const byte of data) { process.stdout.write(Buffer.of(byte)); await new Promise(setImmediate); } })`;
  const handle = await vm.spawn("node", ["-e", script]);
  handle.stdin.end(text);
  const expected = ["one", "", "two", "th\rree", "é€🦀", "\ufeffmark", "last"].map((line) => `stdout: ${line}`);
  expect(await linesOf(handle)).toEqual(expected);
});

test("invalid UTF-8 in a line is U+FFFD", async () => {
  const handle = await vm.spawn("printf", ["a\\377b\\n\\303"]);
  expect(await linesOf(handle)).toEqual(["stdout: a\ufffdb", "stdout: \ufffd"]);
});

test("lines that are asked for all at once come in order", async () => {
  const handle = await vm.spawn("seq", ["3"]);
  const lines = handle.lines();
  const results = await Promise.all(Array.from({ length: 5 }, () => lines.next()));
  expect(results.map(({ value, done }) => [value?.line, done])).toEqual([
    ["1", false],
    ["2", false],
    ["3", false],
    [undefined, true],
    [undefined, true],
  ]);
});

test("a line without an end is bounded", async () => {
  const handle = await vm.spawn("sh", ["-c", "tr '\\0' x < /dev/zero"]);
  const error = await rejection(handle.lines().next());
  expect(error.code).toBe("LIMIT_EXCEEDED");
  expect(error.message).toContain("16777216");
  await handle.kill();
}, 30_000);

test("lines that nobody takes hold the process up", async () => {
  const handle = await vm.spawn("yes");
  const lines = handle.lines();
  const written = async () => (await vm.readProcessOutput(handle.pid, { after: Number.MAX_SAFE_INTEGER })).nextSeq;
  let before = -1;
  await until(async () => {
    const now = await written();
    const stands = now === before;
    before = now;
    await sleep(50);
    return stands && now > 0;
  });
  expect(before).toBeLessThan(3 * 1024 * 1024);
  for (let count = 0; count < 1_000_000; count++) {
    const { value } = await lines.next();
    if (value.line !== "y") throw new Error(value.line);
  }
  await handle.kill();
}, 30_000);

test.each([
  ["single bytes", "node", ["-e", "for (;;) require('fs').writeSync(1, 'x')"], "stdout"],
  ["empty lines", "yes", [""], "lines"],
  ["a line of single bytes", "node", ["-e", "for (;;) require('fs').writeSync(1, 'x')"], "lines"],
])("output of %s that nobody takes costs the server little memory", async (_, command, args, reader) => {
  const { ended } = nodeScript(
    `
    const vm = await AgentVm.create();
    const handle = await vm.spawn(${JSON.stringify(command)}, ${JSON.stringify(args)});
    const sum = () => { gc(); const { heapUsed, external } = process.memoryUsage(); return heapUsed + external; };
    const before = sum();
    const taken = ${reader === "lines" ? "handle.lines()" : "handle.stdout"};
    ${reader === "lines" && command === "node" ? "taken.next();" : ""}
    await new Promise((resolve) => setTimeout(resolve, 2500));
    const { nextSeq } = await vm.readProcessOutput(handle.pid, { after: Number.MAX_SAFE_INTEGER });
    console.log(JSON.stringify({ grown: sum() - before, nextSeq }));
    process.exit();`,
    { flags: ["--expose-gc"] },
  );
  const { grown, nextSeq } = JSON.parse((await ended).stdout);
  expect(nextSeq).toBeGreaterThan(1000);
  expect(grown).toBeLessThan(12 * 1024 * 1024);
});

test("exited has the exit status after the exit event, and does not reject when the VM ends", async () => {
  const own = await boot();
  const order = [];
  own.on("processExit", ({ exitCode }) => order.push(`event ${exitCode}`));
  const handle = await own.spawn("sh", ["-c", "exit 5"]);
  const status = await handle.exited;
  order.push("exited");
  expect(order).toEqual(["event 5", "exited"]);
  expect(status).toMatchObject({ exitCode: 5, signal: null, reason: "exited", usage: { userMs: expect.any(Number) } });
  expect(status).not.toHaveProperty("pid");
  const endless = await own.spawn("sleep", ["60"]);
  const { exited } = endless;
  await own.dispose();
  expect(await exited).toMatchObject({ exitCode: 137, reason: "disposed" });
  expect(await endless.exited).toBe(await exited);
});

test("kill() ends everything that the process started, and kill(signal) sends a signal", async () => {
  const handle = await vm.spawn("sh", [
    "-c",
    "trap 'echo caught' USR1; sleep 987 & echo ready; while :; do wait; done",
  ]);
  const lines = handle.lines();
  expect((await lines.next()).value.line).toBe("ready");
  await handle.kill("SIGUSR1");
  expect((await lines.next()).value.line).toBe("caught");
  await handle.kill();
  expect(await vm.getProcess(handle.pid)).toMatchObject({ running: false });
  const left = (await vm.allProcesses()).filter(({ args }) => args.includes("987"));
  expect(left).toEqual([]);
  await handle.kill("SIGTERM");
  expect((await rejection(handle.kill("SIGNAL"))).code).toBe("INVALID_ARGUMENT");
  expect((await rejection(handle.kill(9))).code).toBe("INVALID_ARGUMENT");
});

test("disposing of a handle kills its process; after the VM's end it does nothing", async () => {
  const handle = await vm.spawn("sleep", ["60"]);
  await handle[Symbol.asyncDispose]();
  expect(await vm.getProcess(handle.pid)).toMatchObject({ running: false, exitCode: 137 });
  await handle[Symbol.asyncDispose]();
  const own = await boot();
  const other = await own.spawn("sleep", ["60"]);
  await own.dispose();
  await other[Symbol.asyncDispose]();
  expect((await rejection(other.kill())).code).toBe("VM_DISPOSED");
});

test("getHandle attaches to a process by its pid", async () => {
  const { pid } = await vm.spawn("sh", ["-c", "read line; echo got $line; exit 2"]);
  const handle = await vm.getHandle(pid);
  expect(handle).toEqual({ pid });
  handle.stdin.end("it\n");
  expect(await textOf(handle.stdout)).toBe("got it\n");
  expect((await handle.exited).exitCode).toBe(2);
  expect((await (await vm.getHandle(pid)).exited).exitCode).toBe(2);
});

test.each([
  [99_999, "PROCESS_NOT_FOUND", "Process not found: 99999"],
  ["shell-99", "SHELL_NOT_FOUND", "Shell not found: shell-99"],
  [0, "INVALID_ARGUMENT", "id must be"],
  [undefined, "INVALID_ARGUMENT", "id must be"],
  [{}, "INVALID_ARGUMENT", "id must be"],
])("getHandle(%p) rejects with %s", async (id, code, message) => {
  const error = await rejection(vm.getHandle(id));
  expect(error.code).toBe(code);
  expect(error.message).toContain(message);
});

test("streams end with the VM, and fail with VM_DISPOSED only if they are read for the first time after it", async () => {
  const own = await boot();
  const handle = await own.spawn("sh", ["-c", "echo before; sleep 60"]);
  const output = textOf(handle.stdout);
  const lines = handle.lines();
  expect((await lines.next()).value.line).toBe("before");
  await own.dispose();
  expect(await output).toBe("before\n");
  expect((await lines.next()).done).toBe(true);
  expect((await rejection(handle.stderr.toArray())).code).toBe("VM_DISPOSED");
  expect((await rejection(own.getHandle(handle.pid))).code).toBe("VM_DISPOSED");
});

test("a listener of a stream that throws is an uncaught exception, and nothing else is lost", async () => {
  const { ended } = nodeScript(`
    const vm = await AgentVm.create();
    const uncaught = [];
    process.on("uncaughtException", (error) => uncaught.push(error.message));
    let event = "";
    vm.on("processOutput", ({ data }) => (event += data));
    const handle = await vm.spawn("echo", ["x"]);
    handle.stdout.on("data", () => { throw new Error("mine"); });
    const other = await vm.getHandle(handle.pid);
    const chunks = await other.stdout.toArray();
    await handle.exited;
    console.log(JSON.stringify({ uncaught, event, other: String(Buffer.concat(chunks)) }));
    await vm.dispose();`);
  const { stdout, stderr } = await ended;
  expect(stderr).toBe("");
  expect(JSON.parse(stdout)).toEqual({ uncaught: ["mine"], event: "x\n", other: "x\n" });
});

test("a destroyed stream of a process that has exited does not keep Node.js running", async () => {
  const { ended } = nodeScript(`
    const vm = await AgentVm.create();
    const handle = await vm.spawn("sh", ["-c", "sleep 300 & echo out"]);
    for await (const chunk of handle.stdout) break;
    const status = await handle.exited;
    console.log(status.exitCode);`);
  expect(await ended).toMatchObject({ code: 0, signal: null, stdout: "0", stderr: "" });
});
