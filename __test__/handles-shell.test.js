"use strict";
// Handles of shells: what `openShell` and `getHandle` resolve to.

const { rejection, sleep, until } = require("./fixture/promises");
const { boot, bootForFile } = require("./fixture/vm");

let vm;
beforeAll(async () => {
  vm = await bootForFile();
});

const CAT = { command: "sh", args: ["-c", "stty raw -echo; printf ready; exec cat"] };

/** Collects what a stream brings; resolves when it contains the text. */
function collect(stream) {
  let text = "";
  stream.on("data", (data) => (text += data));
  return { shows: (wanted) => until(() => text.includes(wanted)), text: () => text };
}

test("a handle compares, and becomes JSON, as { shellId }", async () => {
  const shell = await vm.openShell({ command: "true" });
  const { shellId } = shell;
  expect(shell).toEqual({ shellId });
  expect(JSON.stringify(shell)).toBe(`{"shellId":"${shellId}"}`);
  expect(Object.keys({ ...shell })).toEqual(["shellId"]);
  await shell.exited;
});

test("the stream types, and shows what the terminal does, from the first byte to the end", async () => {
  const shell = await vm.openShell({ command: "sh" });
  const events = [];
  vm.on("shellData", ({ shellId, data }) => shellId === shell.shellId && events.push(data));
  await until(async () => (await vm.readShell(shell.shellId)).nextSeq > 0);
  shell.stream.write("echo $((6 * 7)); exit 3\n");
  const text = Buffer.concat(await shell.stream.toArray()).toString();
  expect(text).toBe("$ echo $((6 * 7)); exit 3\r\n42\r\n");
  expect(await shell.exited).toMatchObject({ exitCode: 3, reason: "exited" });
  expect(Buffer.concat(events).toString()).toBe(text.slice(text.length - Buffer.concat(events).length));
});

test("end() and destroy() leave the shell running", async () => {
  const shell = await vm.openShell(CAT);
  const shown = collect(shell.stream);
  await shown.shows("ready");
  shell.stream.end("last words");
  await shown.shows("last words");
  shell.stream.destroy();
  await sleep(50);
  expect((await vm.listShells()).find(({ shellId }) => shellId === shell.shellId)).toMatchObject({ running: true });
  const again = collect((await vm.getHandle(shell.shellId)).stream);
  await again.shows("readylast words");
  await shell.close();
  expect((await shell.exited).reason).toBe("signal");
});

test("readScreen shows what is on the terminal, and waits for more as the VM's own call", async () => {
  const shell = await vm.openShell({ ...CAT, screen: true });
  const first = await vm.waitForScreen(shell.shellId, "ready");
  expect(await shell.readScreen()).toEqual(first);
  const next = shell.readScreen({ after: first.nextSeq });
  shell.stream.write(" and more");
  expect((await next).lines[0]).toBe("ready and more");
  const controller = new AbortController();
  const aborted = rejection(shell.readScreen({ after: (await next).nextSeq, signal: controller.signal }));
  controller.abort();
  expect((await aborted).code).toBe("ABORTED");
  expect((await rejection(shell.readScreen({ nonsense: 1 }))).code).toBe("INVALID_ARGUMENT");
  expect((await rejection(shell.readScreen({}, 1))).code).toBe("INVALID_ARGUMENT");
  await shell.close();
});

test("resize sets the size of the terminal", async () => {
  const shell = await vm.openShell({ command: "sh" });
  const shown = collect(shell.stream);
  await shell.resize(101, 33);
  shell.stream.write("stty size\n");
  await shown.shows("33 101");
  expect((await rejection(shell.resize(0, 1))).code).toBe("INVALID_ARGUMENT");
  await shell[Symbol.asyncDispose]();
  expect((await rejection(shell.resize(80, 24))).code).toBe("SHELL_NOT_FOUND");
  await shell[Symbol.asyncDispose]();
});

test("a stream that nobody reads pauses the shell, and reading it lets the shell continue", async () => {
  const shell = await vm.openShell({ command: "head", args: ["-c", "5000000", "/dev/zero"] });
  const { stream } = shell;
  const written = async () => (await vm.readShell(shell.shellId, { after: Number.MAX_SAFE_INTEGER })).nextSeq;
  let before = -1;
  await until(async () => {
    const now = await written();
    const stands = now === before;
    before = now;
    await sleep(100);
    return stands && now > 0;
  });
  expect(before).toBeLessThan(1_500_000);
  let bytes = 0;
  for await (const chunk of stream) bytes += chunk.length;
  expect(bytes).toBe(5_000_000);
});

test("a write after the shell's exit fails with SHELL_NOT_FOUND, and a beginning that is not kept with LIMIT_EXCEEDED", async () => {
  const small = await boot({ limits: { replayBytes: 1000 } });
  const shell = await small.openShell({ command: "sh", args: ["-c", "seq 10000"] });
  await shell.exited;
  const errors = [];
  const other = await small.openShell(CAT);
  other.stream.on("error", (error) => errors.push(error));
  await other.close();
  other.stream.write("x");
  await until(() => errors.length > 0);
  expect(["SHELL_NOT_FOUND", "ERR_STREAM_DESTROYED", "ERR_STREAM_WRITE_AFTER_END"]).toContain(errors[0].code);
  const error = await rejection(shell.stream.toArray());
  expect(error).toMatchObject({ code: "LIMIT_EXCEEDED", truncatedBytes: expect.any(Number) });
  expect(error.truncatedBytes).toBe((await small.readShell(shell.shellId)).truncatedBytes);
});

test("exited does not reject when the VM ends, and disposing of the handle then does nothing", async () => {
  const own = await boot();
  const shell = await own.openShell(CAT);
  const shown = shell.stream.toArray();
  await own.dispose();
  expect(await shell.exited).toMatchObject({ exitCode: 137, reason: "disposed" });
  expect(Buffer.concat(await shown).toString()).toMatch(/^(ready)?$/);
  await shell[Symbol.asyncDispose]();
  expect((await rejection(shell.close())).code).toBe("VM_DISPOSED");
});
