"use strict";
// Streams over files of the VM.

const { randomBytes } = require("node:crypto");
const fs = require("node:fs");
const { once } = require("node:events");
const { buffer, text } = require("node:stream/consumers");
const { finished, pipeline } = require("node:stream/promises");
const { setFlagsFromString } = require("node:v8");
const { runInNewContext } = require("node:vm");

const { filesOf, writeStreamOf } = require("../lib/file-streams");
const { directoryForFile } = require("./fixture/directory");
const { rejection, until } = require("./fixture/promises");
const { boot, bootForFile, output } = require("./fixture/vm");

const host = directoryForFile();
let vm;
beforeAll(async () => {
  vm = await bootForFile();
});

const content = randomBytes(3_000_000);

test("bytes go in and out unchanged, at any highWaterMark", async () => {
  for (const highWaterMark of [undefined, 1000, 1, 5_000_000]) {
    const part = highWaterMark === 1 ? content.subarray(0, 2000) : content;
    const writable = vm.createWriteStream("/home/user/f", { highWaterMark });
    for (let at = 0; at < part.length; at += 70_001) {
      if (!writable.write(part.subarray(at, at + 70_001))) await once(writable, "drain");
    }
    writable.end();
    await finished(writable);
    const read = await buffer(vm.createReadStream("/home/user/f", { highWaterMark }));
    expect(Buffer.compare(read, part)).toBe(0);
  }
  await pipeline(vm.createReadStream("/home/user/f"), vm.createWriteStream("/home/user/g"));
  expect(await output(vm, "cmp f g && echo same")).toBe("same\n");
});

test("a stream that is read takes few calls, and one that nobody reads any more holds at most 1 MiB", async () => {
  const size = 20 * 1024 * 1024;
  await output(vm, `truncate -s ${size} large`);
  const lengths = [];
  const stream = vm.createReadStream("/home/user/large");
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
    lengths.push(chunk.length);
    if (lengths.length === 8) break;
  }
  expect(lengths.map((length) => length / 65_536)).toEqual([1, 2, 4, 8, 16, 16, 16, 16]);
  await until(() => stream.readableLength > 0);
  expect(stream.readableLength).toBe(1024 * 1024);
  const rest = await buffer(stream);
  expect(rest.length + lengths.reduce((sum, length) => sum + length)).toBe(size);
});

test("ranges, encodings and flags do what those of Node.js do", async () => {
  const line = "0123456789äöü";
  const places = [
    [fs, `${host}/f`],
    [vm, "/home/user/n"],
  ];
  const results = await Promise.all(
    places.map(async ([side, file]) => {
      const found = [];
      const outcome = (promise) =>
        promise.then(
          (value) => found.push(value ?? "done"),
          (error) => found.push(error.code),
        );
      const write = (data, options) => outcome(finished(side.createWriteStream(file, options).end(data)));
      await outcome(text(side.createReadStream(file)));
      await write("x", { flags: "r+" });
      await write(line, { flags: "wx", mode: 0o600 });
      await write(line, { flags: "wx" });
      for (const options of [
        {},
        { start: 3 },
        { start: 3, end: 3 },
        { end: 0 },
        { start: 100 },
        { start: 2, end: 100 },
      ]) {
        await outcome(text(side.createReadStream(file, options)));
        await outcome(text(side.createReadStream(file, { ...options, encoding: "hex" })));
      }
      await write("XY", { flags: "r+", start: 2 });
      await outcome(text(side.createReadStream(file, "utf8")));
      await write("end", { flags: "a" });
      await write("far", { flags: "r+", start: 30 });
      await outcome(text(side.createReadStream(file)));
      await write("short");
      await outcome(text(side.createReadStream(file)));
      // A character in two chunks.
      await write(line);
      await outcome(text(side.createReadStream(file, { encoding: "utf8", highWaterMark: 11 })));
      await write("x", { flags: "ax" });
      await outcome(text(side.createReadStream(file.replace(/.$/, ""))));
      await outcome(finished(side.createWriteStream(`${file}/x`).end("x")));
      await outcome(finished(side.createWriteStream(file.replace(/.$/, "none/x")).end("x")));
      await outcome(finished(side.createWriteStream(`${file}-empty`).end()));
      await outcome(text(side.createReadStream(`${file}-empty`)));
      return found;
    }),
  );
  expect(results[1]).toEqual(results[0]);
  expect((await vm.stat("/home/user/n")).mode & 0o777).toBe(0o600);
});

test("streams that nobody reads hold up nothing, and there are at most 256", async () => {
  const other = await boot();
  await output(other, "truncate -s 1G big");
  const streams = Array.from({ length: 256 }, () => other.createReadStream("/home/user/big"));
  const before = process.memoryUsage().rss;
  await Promise.all(streams.map((stream) => once(stream, "readable")));
  expect(streams.every((stream) => stream.readableLength === 65_536)).toBe(true);
  const one = other.createReadStream("/home/user/big");
  const [error] = await once(one, "error");
  expect(error).toMatchObject({
    name: "AgentVmError",
    code: "LIMIT_EXCEEDED",
    message: expect.stringContaining("256"),
  });
  expect(await rejection(finished(other.createWriteStream("/home/user/new")))).toMatchObject({
    code: "LIMIT_EXCEEDED",
  });
  await other.writeFile("/home/user/small", "x");
  expect(await other.readFile("/home/user/small", "utf8")).toBe("x");
  expect(await output(other, "echo on")).toBe("on\n");
  expect(process.memoryUsage().rss - before).toBeLessThan(200 * 1024 * 1024);
  // Each that ends makes room for another.
  streams.pop().destroy();
  const next = other.createReadStream("/home/user/small", "utf8");
  expect(await text(next)).toBe("x");
  await other.dispose();
  // They read no more: the files were closed with the VM.
  const [stream] = streams;
  stream.on("data", () => {});
  expect(await rejection(finished(stream))).toMatchObject({ code: "VM_DISPOSED" });
  for (const each of streams) each.destroy();
});

test("a stream that was dropped gives its place back", async () => {
  setFlagsFromString("--expose_gc");
  const gc = runInNewContext("gc");
  const other = await boot();
  await other.writeFile("/home/user/f", "x".repeat(100_000));
  const fill = async () => {
    const streams = Array.from({ length: 256 }, () => other.createReadStream("/home/user/f"));
    await Promise.all(streams.map((stream) => once(stream, "readable")));
  };
  await fill();
  await until(async () => {
    gc();
    return (
      (await rejection(finished(other.createReadStream("/home/user/f").resume())).catch(() => undefined)) === undefined
    );
  });
});

test("errors are emitted with their codes, and refused arguments are thrown", async () => {
  await output(vm, "mkfifo pipe; mkdir -p dir; ln -s /proc/self/fd/1 magic");
  const failed = (stream) => rejection(finished(stream.resume?.() ?? stream.end("x")));
  const codes = {};
  for (const file of ["none", "dir", "pipe", "magic"]) {
    codes[file] = [
      (await failed(vm.createReadStream(`/home/user/${file}`))).code,
      (await failed(vm.createWriteStream(`/home/user/${file}/none/x`))).code,
    ];
  }
  expect(codes).toEqual({
    none: ["ENOENT", "ENOENT"],
    dir: ["EISDIR", "ENOENT"],
    pipe: ["EINVAL", "ENOTDIR"],
    magic: ["ELOOP", "ELOOP"],
  });
  expect((await failed(vm.createWriteStream("/home/user/pipe"))).code).toMatch(/^(ENXIO|EINVAL)$/);
  expect((await failed(vm.createWriteStream("/proc/self/comm"))).code).toBe("EACCES");
  expect((await failed(vm.createWriteStream("/usr/x"))).code).toBe("EROFS");
  expect((await failed(vm.createWriteStream("/dev/null"))).code).toBe("EINVAL");
  for (const bad of [
    ["x"],
    [1],
    ["/x", { flags: "w+" }],
    ["/x", { nonsense: 1 }],
    ["/x", { start: -1 }],
    ["/x", {}, 1],
  ]) {
    for (const create of ["createReadStream", "createWriteStream"]) {
      if (create === "createReadStream" && bad[1]?.flags) bad[1] = { flags: "r" };
      expect(() => vm[create](...bad)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    }
  }
});

test("what would have no effect is refused", () => {
  const refused = expect.objectContaining({ code: "INVALID_ARGUMENT" });
  expect(() => vm.createReadStream("/x", { start: 2, end: 1 })).toThrow(refused);
  expect(() => vm.createReadStream("/x", "utf9")).toThrow(refused);
  expect(() => vm.createWriteStream("/x", { flags: "a", start: 0 })).toThrow(refused);
  // Only chmod sets such bits.
  expect(() => vm.createWriteStream("/x", { mode: 0o4755 })).toThrow(refused);
});

test("a full disk fails the write, and an abort destroys the stream", async () => {
  const small = await boot({ limits: { diskBytes: 4 * 1024 * 1024 } });
  const full = pipeline(async function* () {
    for (;;) yield content.subarray(0, 500_000);
  }, small.createWriteStream("/home/user/f"));
  expect(await rejection(full)).toMatchObject({ code: "ENOSPC", syscall: "write", path: "/home/user/f" });

  const controller = new AbortController();
  const reason = new Error("enough");
  await vm.writeFile("/home/user/f", content);
  const ends = [
    vm.createReadStream("/home/user/f", { signal: controller.signal }),
    vm.createWriteStream("/home/user/h", { signal: controller.signal }),
  ].map((stream) => rejection(finished(stream)));
  setImmediate(() => controller.abort(reason));
  for (const end of ends) expect(await end).toMatchObject({ code: "ABORTED", cause: reason });
  const late = vm.createReadStream("/home/user/f", { signal: controller.signal });
  expect(await rejection(finished(late))).toMatchObject({ code: "ABORTED" });
});

test("a stream that is destroyed in the middle of a write leaves the files of others alone", async () => {
  const other = await boot();
  await other.writeFile("/home/user/first", "first\n");
  const first = other.createWriteStream("/home/user/first", { flags: "a" });
  await new Promise((resolve) => first.write("line\n", resolve));
  const files = filesOf(other);
  const written = [];
  const write = async (opened, bytes, position) => {
    written.push([opened, position]);
    await files.write(opened, bytes, position);
    upload.destroy();
  };
  const upload = writeStreamOf({ ...files, write }, "/home/user/upload", undefined);
  upload.end(Buffer.alloc(5 * 1024 * 1024, "Z"));
  await once(upload, "close");
  await until(() => written.length > 1);
  // Each part is for the same file, which is closed.
  expect(new Set(written.map(([opened]) => opened)).size).toBe(1);
  first.end("end\n");
  await finished(first);
  expect(await other.readFile("/home/user/first", "utf8")).toBe("first\nline\nend\n");
  expect((await other.stat("/home/user/upload")).size).toBe(1024 * 1024);
});

test("what is no number of an open file is none, and what is no position is refused", async () => {
  const other = await boot();
  await other.writeFile("/home/user/f", "kept");
  const files = filesOf(other);
  const how = { empty: false, exclusive: false, append: false };
  const opened = await files.openToWrite("/home/user/f", how);
  const bytes = Buffer.from("lost");
  for (const wrong of [Number.NaN, undefined, -1, -0.5, opened + 0.5, Number.POSITIVE_INFINITY, 2 ** 64, null, ""]) {
    expect((await rejection(files.write(wrong, bytes, 0))).code).toBe("INVALID_ARGUMENT");
    expect((await rejection(files.read(wrong, 0, 4))).code).toBe("INVALID_ARGUMENT");
    files.close(wrong);
  }
  for (const position of [Number.NaN, -1, 0.5, Number.POSITIVE_INFINITY]) {
    expect((await rejection(files.write(opened, bytes, position))).code).toBe("INVALID_ARGUMENT");
  }
  // It is still open.
  await files.write(opened, Buffer.from("K"), 0);
  expect(await other.readFile("/home/user/f", "utf8")).toBe("Kept");
  files.close(opened);
});
