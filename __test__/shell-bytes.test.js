"use strict";
const { createHash } = require("node:crypto");
const { shellsOf } = require("./fixture/shells");
const { bootForFile } = require("./fixture/vm");

let vm;
let shells;
beforeAll(async () => {
  vm = await bootForFile();
  shells = shellsOf(vm);
});

const sha = (data) => createHash("sha256").update(data).digest("hex");

/** Random bytes, or random letters if `text`: a lost, repeated or moved piece is always noticed. */
function noise(length, text) {
  const bytes = Buffer.alloc(length);
  for (let i = 0, state = 1; i < length; i++) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    bytes[i] = text ? 97 + ((state >>> 16) % 26) : state >>> 16;
  }
  return bytes;
}

/** A terminal that changes no bytes in either direction. */
async function raw(script) {
  const shell = await shells.open({ command: "sh", args: ["-c", `stty raw -echo; printf ready; ${script}`] });
  await shell.shows("ready");
  return shell;
}

test("20 kB written right before the exit arrive whole before shellExit, 400 times", async () => {
  const letters = noise(20_000, true);
  await vm.writeFile("/tmp/letters", letters);
  for (let round = 0; round < 8; round++) {
    const opened = await Promise.all(
      // The shell itself writes, or a child that it waits for.
      Array.from({ length: 50 }, (_, i) =>
        shells.open(
          i % 2
            ? { command: "cat", args: ["/tmp/letters"] }
            : { command: "sh", args: ["-c", "cat /tmp/letters; exit 9"] },
        ),
      ),
    );
    await Promise.all(opened.map((shell) => shell.wait()));
    for (const shell of opened) {
      expect(shell.bytes().equals(letters)).toBe(true);
      expect(shell.gapless).toBe(true);
      expect(shell.events.filter((event) => event === "exit").length).toBe(1);
      expect(shell.events.at(-1)).toBe("exit");
    }
  }
});

test("a listener that is slower than the program loses no byte", async () => {
  const slow = await bootForFile();
  const own = shellsOf(slow);
  slow.on("shellData", () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 40));
  const script =
    "import os,sys; b = os.read(0, 1); data = b'x' * 60000 + b'end'\nwhile data: data = data[os.write(1, data):]\nos._exit(0)";
  const shell = await own.open({ command: "python3", args: ["-c", script] });
  await shell.write("\n");
  expect(await shell.wait()).toBe(0);
  expect(shell.length).toBe(60_003 + 2);
  expect(shell.text().endsWith("end")).toBe(true);
});

test("a paste of 100 kB arrives whole and in order at a program that reads slowly", async () => {
  const paste = noise(100_000, false);
  const reader = `exec python3 -c '
import hashlib, os, sys, time
digest, left = hashlib.sha256(), ${paste.length}
print("set", end="", flush=True)
time.sleep(0.2)
while left:
    piece = os.read(0, min(left, 700))
    digest.update(piece)
    left -= len(piece)
    time.sleep(0.001)
print(digest.hexdigest(), end="")'`;
  const shell = await raw(reader);
  await shell.shows("set");
  // One large write, and then single bytes: the kernel accepts neither at once.
  const writes = [shell.write(paste.subarray(0, 99_900))];
  for (let i = 99_900; i < paste.length; i++) writes.push(shell.write(paste.subarray(i, i + 1)));
  await Promise.all(writes);
  expect(await shell.wait()).toBe(0);
  expect(shell.text()).toBe(`readyset${sha(paste)}`);
});

test("a long paste of many lines, which the terminal delivers line by line, arrives whole too", async () => {
  const lines = Array.from({ length: 2000 }, (_, i) => `${i} ${noise(45, true)}`);
  const reader = `stty -echo; echo ready; exec python3 -c '
import hashlib, sys, time
digest = hashlib.sha256()
for i in range(${lines.length}):
    digest.update(sys.stdin.buffer.readline())
    if i % 100 == 0: time.sleep(0.01)
print(digest.hexdigest())'`;
  const shell = await shells.open({ command: "sh", args: ["-c", reader] });
  await shell.shows("ready");
  const paste = `${lines.join("\n")}\n`;
  await shell.write(paste);
  expect(await shell.wait()).toBe(0);
  expect(shell.text()).toBe(`ready\r\n${sha(paste)}\r\n`);
});

test("characters that are split between two reads or two writes are not damaged", async () => {
  const text = "zwölf Boxkämpfer 🥊 jagen Виктор über den großen 沙丘 ".repeat(2000);
  await vm.writeFile("/tmp/text", text);
  const reading = await raw("cat /tmp/text");
  await reading.wait();
  expect(reading.text()).toBe(`ready${text}`);

  const bytes = Buffer.from(text.slice(0, 2000));
  const echoing = await raw(`exec head -c ${bytes.length}`);
  for (let at = 0; at < bytes.length; at += 3) await echoing.write(bytes.subarray(at, at + 3));
  await echoing.wait();
  expect(echoing.text()).toBe(`ready${bytes}`);
});

test("every byte from 0 to 255 passes unchanged in both directions in raw mode", async () => {
  const bytes = Buffer.from(Array.from({ length: 256 * 4 }, (_, i) => (i < 256 ? i : (i * 7) & 0xff)));
  const shell = await raw(`exec head -c ${bytes.length}`);
  await shell.write(bytes);
  expect(await shell.wait()).toBe(0);
  expect(shell.bytes().subarray("ready".length).equals(bytes)).toBe(true);
});

test("data is bytes, and what is written may be changed afterwards", async () => {
  const shell = await raw("exec head -c 300000 | sha256sum");
  let type;
  shell.onData((data) => (type = data));
  const bytes = noise(300_000, false);
  const sent = Uint8Array.from(bytes);
  const written = shell.write(sent);
  sent.fill(0);
  await written;
  await shell.wait();
  expect(shell.text()).toContain(sha(bytes));
  expect(type).toBeInstanceOf(Uint8Array);
});

test("writes to one shell keep their order, text and bytes, awaited or not", async () => {
  const count = 3000;
  const shell = await raw(`exec head -n ${count}`);
  const expected = Array.from({ length: count }, (_, i) => `line ${i}\n`);
  expected.forEach((line, i) => shell.write(i % 2 ? line : Buffer.from(line)));
  await shell.wait();
  expect(shell.text()).toBe(`ready${expected.join("")}`);
});
