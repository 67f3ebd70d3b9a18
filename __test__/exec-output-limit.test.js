"use strict";
const { nodeScript } = require("./fixture/server-process");
const { boot } = require("./fixture/vm");

test("output beyond maxOutputBytes is dropped and reported as truncated, for each stream by itself", async () => {
  const vm = await boot();
  expect(await vm.exec("printf 12345; printf 123456 >&2", { maxOutputBytes: 5 })).toMatchObject({
    stdout: "12345",
    stdoutTruncated: false,
    stderr: "12345",
    stderrTruncated: true,
    exitCode: 0,
  });
});

test("0 keeps nothing, and a silent command is not truncated", async () => {
  const vm = await boot();
  expect(await vm.exec("echo x", { maxOutputBytes: 0 })).toMatchObject({ stdout: "", stdoutTruncated: true });
  expect(await vm.exec("true", { maxOutputBytes: 0 })).toMatchObject({ stdout: "", stdoutTruncated: false });
});

test.each([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])(
  "no incomplete character is left at a cut after %i bytes",
  async (maxOutputBytes) => {
    const vm = await boot();
    const text = "aé€🦀";
    const { stdout, stdoutTruncated } = await vm.exec(`printf '${text}'`, { maxOutputBytes });
    expect(text.startsWith(stdout)).toBe(true);
    expect(Buffer.byteLength(stdout)).toBeGreaterThan(maxOutputBytes - 4);
    expect(Buffer.byteLength(stdout)).toBeLessThanOrEqual(maxOutputBytes);
    expect(stdoutTruncated).toBe(maxOutputBytes < Buffer.byteLength(text));
  },
);

test("16 MiB are kept by default, and the command runs to its end", async () => {
  const vm = await boot();
  const result = await vm.exec("head -c 20000000 /dev/zero; echo $? >&2");
  expect(result.stdout).toHaveLength(16 * 1024 * 1024);
  expect(result).toMatchObject({ stdoutTruncated: true, stderr: "0\n", stderrTruncated: false, exitCode: 0 });
});

test("more can be asked for", async () => {
  const vm = await boot();
  const result = await vm.exec("head -c 40000000 /dev/zero", { maxOutputBytes: 50_000_000 });
  expect(result.stdout).toHaveLength(40_000_000);
  expect(result.stdoutTruncated).toBe(false);
});

test("memory stays bounded while a command prints 1 GB", async () => {
  const { ended } = nodeScript(`
    const vm = await AgentVm.create();
    await vm.exec("true");
    const before = process.memoryUsage.rss();
    let most = 0;
    const timer = setInterval(() => { most = Math.max(most, process.memoryUsage.rss()); }, 5);
    let told = 0;
    const result = await vm.exec("head -c 1000000000 /dev/zero", { onStderr() {}, maxOutputBytes: 1e6 });
    const streamed = await vm.exec("head -c 300000000 /dev/zero", { onStdout: (data) => { told += data.length; }, maxOutputBytes: 0 });
    clearInterval(timer);
    console.log(JSON.stringify({ grew: most - before, kept: result.stdout.length, code: result.exitCode, told }));
    await vm.dispose();
  `);
  const { stdout, stderr } = await ended;
  expect(stderr).toBe("");
  const { grew, ...rest } = JSON.parse(stdout);
  expect(rest).toEqual({ kept: 1e6, code: 0, told: 300_000_000 });
  expect(grew).toBeLessThan(150e6);
}, 120_000);
