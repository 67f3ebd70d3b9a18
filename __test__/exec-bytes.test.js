"use strict";
const { boot } = require("./fixture");

const python = (vm, script) => vm.execFile("python3", ["-c", `import os, time\n${script}`]);

test("letters that are cut between two reads come out whole", async () => {
  const vm = await boot();
  const { stdout } = await python(
    vm,
    `for byte in "aé€🦀z".encode() * 3:
    os.write(1, bytes([byte]))
    time.sleep(0.01)`,
  );
  expect(stdout).toBe("aé€🦀z".repeat(3));
});

test("letters at every border of a large output come out whole", async () => {
  const vm = await boot();
  for (const text of ["€", "🦀", "é€🦀a"]) {
    const { stdout } = await python(
      vm,
      `os.write(1, b"x"); import sys; sys.stdout.write(${JSON.stringify(text)} * 300_000)`,
    );
    expect(stdout === `x${text.repeat(300_000)}`).toBe(true);
  }
});

test("bytes that are not UTF-8 become U+FFFD, as TextDecoder has it", async () => {
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
