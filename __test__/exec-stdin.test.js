"use strict";
const { createHash } = require("node:crypto");
const { boot, output } = require("./fixture/vm");

test("without stdin, a command that reads is at its end at once", async () => {
  const vm = await boot();
  expect(await vm.exec("cat")).toMatchObject({ exitCode: 0, stdout: "" });
  expect(await vm.exec("cat", { stdin: "" })).toMatchObject({ exitCode: 0, stdout: "" });
  expect(await vm.exec("cat", { stdin: new Uint8Array() })).toMatchObject({ exitCode: 0, stdout: "" });
});

test("a string arrives as UTF-8, bytes as they are", async () => {
  const vm = await boot();
  expect(await output(vm, "cat", { stdin: "zwölf 🦀" })).toBe("zwölf 🦀");
  expect(await output(vm, "od -An -tx1", { stdin: new Uint8Array([0, 255, 128, 10]) })).toBe(" 00 ff 80 0a\n");
  const whole = new Uint8Array([1, 2, 3, 4, 5]);
  expect(await output(vm, "od -An -tx1", { stdin: whole.subarray(1, 3) })).toBe(" 02 03\n");
});

test("50 MB arrive whole", async () => {
  const vm = await boot();
  const bytes = Buffer.alloc(50_000_000);
  for (let i = 0; i < bytes.length; i += 4) bytes.writeUInt32LE((i * 2654435761) >>> 0, i);
  const hash = createHash("sha256").update(bytes).digest("hex");
  expect(await output(vm, "sha256sum", { stdin: bytes })).toBe(`${hash}  -\n`);
});

test("a Buffer that was passed may be changed afterwards", async () => {
  const vm = await boot();
  const bytes = Buffer.alloc(300_000, "a");
  const counted = output(vm, "sleep 0.1; tr -d a | wc -c", { stdin: bytes });
  bytes.fill("b");
  expect(await counted).toBe("0\n");
});

test("a command need not read it", async () => {
  const vm = await boot();
  expect(await vm.exec("exit 4", { stdin: Buffer.alloc(5_000_000) })).toMatchObject({ exitCode: 4 });
  expect(await vm.exec("head -c 2", { stdin: Buffer.alloc(5_000_000, "x") })).toMatchObject({ stdout: "xx" });
  expect(await vm.exec("exec <&-; sleep 0.1; echo on", { stdin: Buffer.alloc(1_000_000) })).toMatchObject({
    stdout: "on\n",
  });
});

test("large input and large output at the same time do not deadlock", async () => {
  const vm = await boot();
  const text = "0123456789abcdef".repeat(500_000);
  expect((await output(vm, "cat", { stdin: text })) === text).toBe(true);
});
