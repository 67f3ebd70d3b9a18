"use strict";
const { nodeScript } = require("./fixture/server-process");
const { boot } = require("./fixture/vm");

const python = (vm, script) => vm.execFile("python3", ["-c", `import os, time\n${script}`]);

test("characters that are split between two reads are decoded correctly", async () => {
  const vm = await boot();
  const { stdout } = await python(
    vm,
    `for byte in "aé€🦀z".encode() * 3:
    os.write(1, bytes([byte]))
    time.sleep(0.01)`,
  );
  expect(stdout).toBe("aé€🦀z".repeat(3));
});

test("characters at every chunk border of a large output are decoded correctly", async () => {
  const vm = await boot();
  for (const text of ["€", "🦀", "é€🦀a"]) {
    const { stdout } = await python(
      vm,
      `os.write(1, b"x"); import sys; sys.stdout.write(${JSON.stringify(text)} * 300_000)`,
    );
    expect(stdout === `x${text.repeat(300_000)}`).toBe(true);
  }
});

test("bytes that are not UTF-8 become U+FFFD, as with TextDecoder", async () => {
  const vm = await boot();
  const samples = [
    [0xff],
    [0x61, 0xe2, 0x82, 0x62],
    [0xf0, 0x9f, 0xa6],
    [0xc0, 0x80],
    [0xed, 0xa0, 0x80],
    [0xf4, 0x90, 0x80, 0x80, 0x7a],
    [0xe2, 0x82],
    [0x80, 0x80],
  ];
  for (const bytes of samples) {
    const { stdout } = await python(vm, `os.write(1, bytes(${JSON.stringify(bytes)}))`);
    expect(stdout).toBe(new TextDecoder().decode(new Uint8Array(bytes)));
  }
});

test("NUL bytes, carriage returns and a missing last newline stay", async () => {
  const vm = await boot();
  expect((await vm.exec("printf 'a\\0b\\r\\nc'")).stdout).toBe("a\0b\r\nc");
});

test("a byte order mark stays", async () => {
  const vm = await boot();
  expect((await python(vm, `os.write(1, b"\\xef\\xbb\\xbfx")`)).stdout).toBe("\ufeffx");
});

test("a long text is complete, survives garbage collection, and is freed after its last use", async () => {
  const server = nodeScript(
    `const wanted = Array.from({ length: 1_000_000 }, (_, index) => index + "\\n").join("");
    const vm = await AgentVm.create();
    const long = async (command) => (await vm.exec(command)).stdout;
    const kept = await long("seq 0 999999");
    const turn = () => new Promise((resolve) => setTimeout(resolve, 10));
    for (let i = 0; i < 100; i++) {
      if ((await long("head -c 8M /dev/zero | tr '\\\\0' x")).length !== 2 ** 23) throw new Error("not whole");
      gc();
      await turn();
    }
    console.log(kept === wanted, JSON.parse(JSON.stringify(kept)) === wanted, kept.slice(-7, -1));
    console.log(process.memoryUsage.rss() / 2 ** 20 < 400);
    await vm.dispose();`,
    { flags: ["--expose-gc"] },
  );
  const { stdout, stderr } = await server.ended;
  expect(stderr).toBe("");
  expect(stdout).toBe("true true 999999\ntrue");
});

test("a worker's long text is freed with the worker", async () => {
  const source = `
    const { AgentVm } = require(${JSON.stringify(require.resolve(".."))});
    AgentVm.create().then(async (vm) => {
      globalThis.kept = (await vm.exec("seq 0 999999")).stdout;
      require("node:worker_threads").parentPort.postMessage(kept.length);
    });`;
  const server = nodeScript(`
    const { Worker } = require("node:worker_threads");
    for (let round = 0; round < 5; round++) {
      const worker = new Worker(${JSON.stringify(source)}, { eval: true });
      const length = await new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject));
      await worker.terminate();
      console.log(length);
    }`);
  const { stdout, stderr } = await server.ended;
  expect(stderr).toBe("");
  expect(stdout.split("\n")).toEqual(Array(5).fill("6888890"));
});
