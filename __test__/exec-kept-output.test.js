"use strict";
// Which output a result keeps, and in which form: `keepOutput` and `encoding`.

const { rejection } = require("./fixture/promises");
const { bootForFile } = require("./fixture/vm");

let vm;
beforeAll(async () => {
  vm = await bootForFile();
});

const bytes = (...values) => Buffer.from(values);

test.each([
  ["head", 5, "12345", { at: 5, bytes: 5 }],
  ["tail", 5, "67890", { at: 0, bytes: 5 }],
  ["ends", 5, "12390", { at: 3, bytes: 5 }],
  ["ends", 4, "1290", { at: 2, bytes: 6 }],
  ["ends", 1, "1", { at: 1, bytes: 9 }],
  ["tail", 0, "", { at: 0, bytes: 10 }],
  ["ends", 0, "", { at: 0, bytes: 10 }],
])(
  "keepOutput %s keeps %i bytes of that end, and says what is missing",
  async (keepOutput, maxOutputBytes, kept, gap) => {
    const result = await vm.exec("printf 1234567890; printf 1234567890 >&2", { keepOutput, maxOutputBytes });
    expect(result).toMatchObject({ stdout: kept, stdoutTruncated: true, stdoutDropped: gap, exitCode: 0 });
    expect(result).toMatchObject({ stderr: kept, stderrTruncated: true, stderrDropped: gap });
  },
);

test.each(["head", "tail", "ends"])("keepOutput %s keeps all of what is within the bound", async (keepOutput) => {
  for (const maxOutputBytes of [10, 11, 1000]) {
    const result = await vm.exec("printf 12345; sleep 0.02; printf 67890", { keepOutput, maxOutputBytes });
    expect(result).toMatchObject({ stdout: "1234567890", stdoutTruncated: false, stderrTruncated: false });
    expect(Object.keys(result)).not.toContain("stdoutDropped");
    expect(Object.keys(result)).not.toContain("stderrDropped");
  }
});

test("without keepOutput the first bytes are kept", async () => {
  const { stdout, stdoutDropped } = await vm.exec("printf 123456", { maxOutputBytes: 2 });
  expect({ stdout, stdoutDropped }).toEqual({ stdout: "12", stdoutDropped: { at: 2, bytes: 4 } });
});

test("both ends of much output are exact, also with a listener and in a file's own pieces", async () => {
  const lines = Array.from({ length: 200_000 }, (_, index) => `${index + 1}\n`).join("");
  for (const onStdout of [undefined, () => {}]) {
    const options = { keepOutput: "ends", maxOutputBytes: 100_001, onStdout };
    const { stdout, stdoutDropped } = await vm.exec("seq 200000", options);
    expect(stdoutDropped).toEqual({ at: 50_001, bytes: lines.length - 100_001 });
    expect(stdout === lines.slice(0, 50_001) + lines.slice(-50_000)).toBe(true);
  }
  const { stdout } = await vm.exec("seq 200000", { keepOutput: "tail", maxOutputBytes: 70_000 });
  expect(stdout === lines.slice(-70_000)).toBe(true);
});

test("text has no part of a character at a gap, and both sides of the gap stay apart", async () => {
  const text = "aé€🦀b🦀€éc";
  const all = Buffer.from(text);
  for (const keepOutput of ["head", "tail", "ends"]) {
    for (let maxOutputBytes = 0; maxOutputBytes < all.length; maxOutputBytes++) {
      const options = { keepOutput, maxOutputBytes, stdin: text };
      const { stdout, stdoutDropped } = await vm.execFile("cat", [], options);
      const { at } = stdoutDropped;
      expect(text.startsWith(stdout.slice(0, at)) && text.endsWith(stdout.slice(at))).toBe(true);
      expect(Buffer.byteLength(stdout) + stdoutDropped.bytes).toBe(all.length);
      expect(Buffer.byteLength(stdout)).toBeGreaterThan(maxOutputBytes - 7);
    }
  }
});

test("encoding buffer gives the bytes as they were written, whole and cut", async () => {
  const written = bytes(0xff, 0, 0xf0, 0x9f, 0x41, 0xc3);
  const run = (options) => vm.exec("tee /dev/stderr", { stdin: written, encoding: "buffer", ...options });
  const whole = await run();
  expect(whole.stdout).toEqual(written);
  expect(whole.stderr).toEqual(written);
  expect(whole).toMatchObject({ stdoutTruncated: false, exitCode: 0 });
  expect(await run({ maxOutputBytes: 3 })).toMatchObject({
    stdout: bytes(0xff, 0, 0xf0),
    stdoutDropped: { at: 3, bytes: 3 },
  });
  expect(await run({ maxOutputBytes: 3, keepOutput: "tail" })).toMatchObject({
    stdout: bytes(0x9f, 0x41, 0xc3),
    stdoutDropped: { at: 0, bytes: 3 },
  });
  expect(await run({ maxOutputBytes: 3, keepOutput: "ends" })).toMatchObject({
    stderr: bytes(0xff, 0, 0xc3),
    stderrDropped: { at: 2, bytes: 3 },
  });
  const large = await vm.exec("head -c 1000000 /dev/zero", { encoding: "buffer" });
  expect(large.stdout.equals(Buffer.alloc(1_000_000))).toBe(true);
  expect(large.stderr).toEqual(bytes());
});

test("encoding utf8 is the default", async () => {
  expect((await vm.exec("echo x", { encoding: "utf8" })).stdout).toBe("x\n");
});

test.each([
  ["keepOutput", "middle", '"head", "tail", "ends"'],
  ["keepOutput", null, '"head", "tail", "ends"'],
  ["encoding", "latin1", '"utf8", "buffer"'],
  ["check", "yes", "true or false"],
])("%s %p is refused, and the message says what would be right", async (option, value, right) => {
  const error = await rejection(vm.exec("true", { [option]: value }));
  expect(error.code).toBe("INVALID_ARGUMENT");
  expect(error.message).toContain(option);
  expect(error.message).toContain(right);
});
