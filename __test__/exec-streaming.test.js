"use strict";
const { rejection } = require("./fixture/promises");
const { boot, output } = require("./fixture/vm");

test("output arrives as it is written, as bytes, and all of it before the call resolves", async () => {
  const vm = await boot();
  const told = { stdout: [], stderr: [] };
  const result = await vm.exec("seq 200000; seq 1000 >&2", {
    onStdout: (data) => told.stdout.push(data),
    onStderr: (data) => told.stderr.push(data),
  });
  for (const stream of ["stdout", "stderr"]) {
    expect(told[stream].every((data) => ArrayBuffer.isView(data) && data.byteLength > 0)).toBe(true);
    expect(Buffer.concat(told[stream]).toString() === result[stream]).toBe(true);
  }
  expect(result.stdout).toMatch(/^1\n2\n[^]*\n200000\n$/);
  expect(result.stderr).toMatch(/\n1000\n$/);
});

test("the first line arrives while the command still runs", async () => {
  const vm = await boot();
  const controller = new AbortController();
  const first = await new Promise((resolve) => {
    rejection(vm.exec("echo first; sleep 1000", { onStdout: resolve, signal: controller.signal }));
  });
  expect(Buffer.from(first).toString()).toBe("first\n");
  controller.abort();
});

test("chunks are the bytes that were written, whatever they are", async () => {
  const vm = await boot();
  const chunks = [];
  await vm.execFile("python3", ["-c", "import os; os.write(1, bytes(range(256)) * 300)"], {
    onStdout: (data) => chunks.push(data),
  });
  expect(Buffer.concat(chunks).equals(Buffer.concat(Array(300).fill(Buffer.from([...Array(256).keys()]))))).toBe(true);
});

test("a callback gets the output beyond maxOutputBytes too", async () => {
  const vm = await boot();
  let told = 0;
  const result = await vm.exec("head -c 5000000 /dev/zero", {
    maxOutputBytes: 10,
    onStdout: (data) => (told += data.length),
  });
  expect(told).toBe(5_000_000);
  expect(result).toMatchObject({ stdout: "\0".repeat(10), stdoutTruncated: true });
});

test("a slow callback slows the command down, and loses nothing", async () => {
  const vm = await boot();
  let told = 0;
  await vm.exec("head -c 3000000 /dev/zero", {
    onStdout: (data) => {
      told += data.length;
      const until = performance.now() + 20;
      while (performance.now() < until);
    },
  });
  expect(told).toBe(3_000_000);
});

test("later output of background processes calls no callback", async () => {
  const vm = await boot();
  const chunks = [];
  await vm.exec("(sleep 0.3; echo late; touch wrote) & echo now", { onStdout: (data) => chunks.push(data) });
  await output(vm, "until [ -e wrote ]; do sleep 0.05; done");
  expect(Buffer.concat(chunks).toString()).toBe("now\n");
});

test("however short a command is, all its output arrives before the call settles", async () => {
  const vm = await boot();
  const one = async (index) => {
    let told = "";
    const take = (data) => (told += data);
    const { stdout } = await vm.exec(`echo ${index}; echo ${index} >&2`, { onStdout: take, onStderr: take });
    return told.split("\n").sort().join() === `,${index},${index}` && stdout === `${index}\n`;
  };
  for (let begun = 0; begun < 480; begun += 16) {
    const all = await Promise.all(Array.from({ length: 16 }, (_, lane) => one(begun + lane)));
    expect(all).not.toContain(false);
  }
});

test("however short a command is, it has its input", async () => {
  const vm = await boot();
  for (let begun = 0; begun < 480; begun += 16) {
    const inputs = Array.from({ length: 16 }, (_, lane) => String(begun + lane));
    const results = await Promise.all(inputs.map((stdin) => vm.exec("read line; echo $line", { stdin })));
    expect(results.map(({ stdout }) => stdout.trim())).toEqual(inputs);
  }
});
