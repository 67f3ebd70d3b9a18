"use strict";
// readArchive and writeArchive: tar archives of trees of the VM, as streams, and archives that attack.

const { execFileSync, spawn } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");
const { PassThrough, Readable } = require("node:stream");
const { buffer } = require("node:stream/consumers");
const { pipeline } = require("node:stream/promises");
const zlib = require("node:zlib");

const { temporaryDirectory } = require("./fixture/directory");
const { rejection, until } = require("./fixture/promises");
const { END, entry } = require("./fixture/tar");
const { boot, bootForFile, output } = require("./fixture/vm");

const env = { ...process.env, LC_ALL: "C.UTF-8" };
const sh = (cwd, script) => execFileSync("bash", ["-c", script], { cwd, env, encoding: "latin1", maxBuffer: 2 ** 28 });
const LOOK =
  "{ find . -mindepth 1 ! -type f -printf '%y %m %T@ %P %l\\0'; find . -type f -printf '%y %m %T@ %s %P\\0'; } | LC_ALL=C sort -z";
const SUMS = "find . -type f -execdir sha1sum {} + | LC_ALL=C sort";
/** Everything below a directory: types, modes, times, sizes, names and contents. */
const look = (directory) => (sh(directory, LOOK) + sh(directory, SUMS)).split("\0");
const lookInside = async (vm, cwd) => {
  const read = async (script) =>
    Buffer.from((await vm.exec(script, { cwd, encoding: "buffer", maxOutputBytes: 2 ** 27 })).stdout).toString(
      "latin1",
    );
  return ((await read(LOOK)) + (await read(SUMS))).split("\0");
};

const ODD = `mkdir -p empty/er 'a b' && printf 1 > one && printf 2 > 'a b/two' && : > nothing
printf x > "$(printf 'new\\nline=1')" && printf x > "$(printf 'no\\xffutf8')" && printf x > ünïcode && printf x > -n
printf x > "$(printf 'x%.0s' $(seq 255))" && ln -s "$(printf 'y%.0s' $(seq 1000))" far && ln -s "$(printf '\\xff')" odd
ln -s one link && ln -s /etc/passwd absolute && ln -s nowhere broken && ln -s 'a b' dir
printf ro > ro && chmod 400 ro && printf x > x && chmod 751 x && mkdir sticky && chmod 1777 sticky
truncate -s 64M holes && printf end >> holes && printf x | dd of=holes bs=1 seek=33554432 conv=notrunc status=none && truncate -s 80M holes
truncate -s 3M hole && seq 200000 > large && seq 9000 > medium
( for i in $(seq 30); do mkdir "$(printf 'd%.0s' $(seq 60))$i" && cd "$(printf 'd%.0s' $(seq 60))$i" && printf $i > f; done )
touch -d '2001-02-03 04:05:06.123456789' one 'a b/two' && touch -h -d '1999-01-01 00:00:00.987654321' link
touch -d '1960-05-05 05:05:05.25' x && touch -d '2002-02-02 02:02:02.222222222' 'a b' empty/er sticky`;

let vm;
let from;
beforeAll(async () => {
  vm = await bootForFile();
});
beforeEach(() => {
  from = temporaryDirectory();
});

test("an archive of a tree has every entry as it is, for tar and for another VM", async () => {
  sh(from, ODD);
  await vm.uploadDirectory(from, "/home/user/odd");
  const to = temporaryDirectory();
  const reports = [];
  const archive = await buffer(vm.readArchive("/home/user/odd", { onProgress: (each) => reports.push(each) }));
  // Its holes are none in the archive.
  expect(archive.length).toBeLessThan(4 * 2 ** 20);
  fs.writeFileSync(path.join(to, "archive.tar"), archive);
  sh(to, "mkdir x && tar -x -p -f archive.tar -C x");
  const expected = look(from);
  expect(look(path.join(to, "x"))).toEqual(expected);
  expect(fs.statSync(path.join(to, "x", "holes")).blocks).toBeLessThan(1024);
  expect(sh(to, "tar -tv --numeric-owner -f archive.tar | awk '{ print $2 }' | sort -u")).toBe("1000/1000\n");
  const totals = await vm.writeArchive("/home/user/again", Readable.from([archive]));
  expect(await lookInside(vm, "/home/user/again")).toEqual(expected);
  // What is written has no bytes for holes.
  expect(totals).toEqual({ ...reports.at(-1), bytes: expect.any(Number) });
  expect(totals.bytes).toBeLessThan(archive.length);
  expect(Number((await output(vm, "stat -c %b again/holes")).trim())).toBeLessThan(1024);
});

test.each(["gnu -S", "posix -S", "posix -S --sparse-version=0.1", "posix", "gnu", "ustar", "v7"])(
  "an archive of tar --format=%s is written with what it keeps",
  async (format) => {
    const isOld = /ustar|v7/.test(format);
    sh(
      from,
      `mkdir -p t/d/e && cd t && printf 1 > d/one && seq 100000 > d/e/big && ln -s one d/link && ln d/one d/e/hard && chmod 750 d
      truncate -s 2M d/holes && printf x >> d/holes && for i in $(seq 50); do printf x | dd of=d/holes bs=1 seek=$((i * 20000)) conv=notrunc status=none; done
      ${isOld ? "true" : "printf x > $(printf 'x%.0s' $(seq 200)) && ln -s $(printf 'y%.0s' $(seq 300)) l"}
      find . -exec touch -h -d '2001-02-03 04:05:06' {} +`,
    );
    sh(from, `tar -c --format=${format} -f t.tar -C t .`);
    const name = `/home/user/${format.replace(/\W+/g, "-")}`;
    await vm.writeArchive(name, fs.createReadStream(path.join(from, "t.tar"), { highWaterMark: 777 }));
    expect(await lookInside(vm, name)).toEqual(look(path.join(from, "t")));
    expect((await output(vm, `stat -c %h ${name}/d/one`)).trim()).toBe("2");
  },
);

test("an archive goes from one VM to another through gzip, and exclude holds on both ends", async () => {
  const other = await boot();
  await output(
    vm,
    "mkdir -p src/node_modules src/b && seq 100000 > src/a && printf x > src/node_modules/m && printf x > src/b/c.log",
  );
  const chunks = [];
  await pipeline(vm.readArchive("/home/user/src", { exclude: ["node_modules"] }), zlib.createGzip(), async (source) => {
    for await (const chunk of source) chunks.push(chunk);
  });
  const totals = await other.writeArchive("/home/user/src", Readable.from(chunks).pipe(zlib.createGunzip()), {
    exclude: ["b/*.log"],
  });
  expect(totals).toMatchObject({ files: 1, directories: 1 });
  expect((await output(other, "cd src && find . | sort && sha1sum < a")).trim()).toBe(
    `.\n./a\n./b\n${(await output(vm, "sha1sum < src/a")).trim()}`,
  );
});

const record = (key, value) => {
  const rest = ` ${key}=${value}\n`;
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return `${length}${rest}`;
};
const write = (name, ...entries) => vm.writeArchive(name, Readable.from([...entries, END]));

test("hostile archives stay below the directory", async () => {
  await output(vm, "mkdir -p outside hostile && printf safe > outside/f");
  const top = "/home/user/hostile";
  await write(top, entry("/absolute", { content: "x" }), entry("//etc//./deep", { content: "y" }));
  expect(await output(vm, "cat hostile/absolute hostile/etc/deep; ls -d /absolute 2>/dev/null || true")).toBe("xy");
  const refused = { code: "INVALID_ARGUMENT" };
  for (const [name, options] of [
    ["../outside/f", {}],
    ["a/../../outside/f", {}],
    ["..", { type: "5" }],
    ["hard", { type: "1", link: "../outside/f" }],
  ])
    expect(await rejection(write(top, entry(name, { content: options.type ? "" : "bad", ...options })))).toMatchObject(
      refused,
    );
  const through = await rejection(
    write(top, entry("l", { type: "2", link: "../outside" }), entry("l/f", { content: "bad" })),
  );
  expect(through).toMatchObject({ code: "ENOTDIR", path: `${top}/l` });
  // Over a link, which is replaced; and through a hard link of a link.
  await write(top, entry("m", { type: "2", link: "../outside/f" }), entry("m", { content: "new" }));
  await write(
    top,
    entry("n", { type: "2", link: "../outside/f" }),
    entry("o", { type: "1", link: "n" }),
    entry("o", { content: "new" }),
  );
  expect(await rejection(write(top, entry("p", { type: "1", link: "l/f" })))).toMatchObject({
    code: expect.stringMatching(/^(ELOOP|ENOTDIR)$/),
  });
  expect(await rejection(write(top, entry("q", { type: "1", link: "/etc/passwd" })))).toMatchObject({ code: "ENOENT" });
  // A file that a link to it shares is not written to.
  await write(
    top,
    entry("r", { content: "first" }),
    entry("s", { type: "1", link: "r" }),
    entry("r", { content: "second" }),
    entry("r", { type: "1", link: "r" }),
  );
  expect(await output(vm, "cat hostile/m hostile/o hostile/r hostile/s outside/f && ls outside")).toBe(
    "newnewsecondfirstsafef\n",
  );
  const odd = ["3", "4", "6"].map((type) => entry(`odd${type}`, { type }));
  expect(await write(top, ...odd, entry("set", { content: "x", mode: 0o6755 }))).toMatchObject({
    skipped: 3,
    files: 1,
  });
  expect(await output(vm, "ls hostile | grep odd || true; stat -c %a hostile/set")).toBe("755\n");
});

test("archives that are damaged, endless or too large are refused", async () => {
  const top = "/home/user/damaged";
  const refused = { code: "INVALID_ARGUMENT" };
  const broken = entry("x", { content: "x" });
  broken[0] ^= 1;
  const pax = (content, size) => entry("pax", { type: "x", content, ...(size && { size }) });
  for (const pieces of [
    [],
    [Buffer.from("no archive")],
    [Buffer.alloc(511)],
    [broken],
    [entry("x", { content: "x" }).subarray(0, 600)],
    [pax("99 path=x\n"), entry("x")],
    [pax("x"), entry("x")],
    [pax(record("size", "-1")), entry("x")],
    [pax(record("path", "a\0b")), entry("x")],
    [pax(record("path", "../b")), entry("x")],
    [pax(record("GNU.sparse.major", "1")), entry("x", { content: "1\n0\n" })],
    [pax(record("GNU.sparse.map", "0,5,3,1") + record("GNU.sparse.size", "9")), entry("x", { content: "123456" })],
    [pax("", 2 ** 32)],
    [entry("x", { type: "L", size: 2 ** 32 })],
    [entry("x", { content: "x" }), pax(record("path", "y"))],
    ["text"],
  ])
    expect(await rejection(vm.writeArchive(top, Readable.from(pieces)))).toMatchObject(refused);
  // A bomb: 8 GiB of zeros that are announced, and 8 EiB of a hole.
  const limit = { code: "LIMIT_EXCEEDED" };
  const bomb = entry("bomb", { size: 2 ** 33 - 1 });
  expect(await rejection(vm.writeArchive(top, Readable.from([bomb]), { maxBytes: 2 ** 20 }))).toMatchObject(limit);
  const hole = pax(
    record("GNU.sparse.major", "1") +
      record("GNU.sparse.name", "h") +
      record("GNU.sparse.realsize", "9223372036854775807"),
  );
  expect(await rejection(write(top, hole, entry("h", { content: "0\n".padEnd(512, "\0") })))).toMatchObject(limit);
  const many = function* () {
    for (let i = 0; ; i++) yield entry(`many${i}`);
  };
  expect(await rejection(vm.writeArchive(top, Readable.from(many()), { maxEntries: 1000 }))).toMatchObject(limit);
  // Directories that no entry describes count as well.
  const undescribed = pax(record("path", `${"u/".repeat(1000)}f`));
  expect(
    await rejection(vm.writeArchive(top, Readable.from([undescribed, entry("f"), END]), { maxEntries: 1000 })),
  ).toMatchObject(limit);
  expect(await write(`${top}/counted`, entry("a/b/f"), entry("a/g"))).toMatchObject({ files: 2, directories: 2 });
  const deep = "d/".repeat(5000);
  expect(await rejection(write(top, pax(record("path", `${deep}f`)), entry("x")))).toMatchObject(limit);
  // The end without its blocks of zeros is an end.
  expect(await vm.writeArchive(top, Readable.from([entry("whole", { content: "x" })]))).toMatchObject({ files: 1 });
});

test("a failure, an abort and the end of the VM end an archive, and give its place back", async () => {
  const ending = await boot({ limits: { diskBytes: 2 ** 30 } });
  await output(ending, "mkdir large && yes | dd of=large/g bs=1M count=100 iflag=fullblock status=none");
  const reason = new Error("enough");
  // One piece after the other, so that none is at its end.
  const open = Array.from({ length: 8 }, () => ending.readArchive("/home/user/large"));
  await Promise.all(open.map((stream) => new Promise((resolve) => stream.once("readable", resolve))));
  expect(await rejection(buffer(ending.readArchive("/home/user/large")))).toMatchObject({ code: "LIMIT_EXCEEDED" });
  for (const stream of open.slice(1)) stream.destroy();
  await until(async () => !(await rejection(buffer(ending.readArchive("/home/user/none")))).code.startsWith("LIMIT"));
  expect(await rejection(buffer(ending.readArchive("/home/user/none")))).toMatchObject({
    code: "ENOENT",
    path: "/home/user/none",
  });
  const controller = new AbortController();
  const read = ending.readArchive("/home/user/large", { signal: controller.signal });
  const never = new Readable({ read() {} });
  const written = rejection(ending.writeArchive("/home/user/x", never, { signal: controller.signal }));
  never.push(entry("x", { content: "x" }));
  await until(() => ending.exists("/home/user/x"));
  controller.abort(reason);
  expect(await rejection(buffer(read))).toMatchObject({ code: "ABORTED", cause: reason });
  expect(await written).toMatchObject({ code: "ABORTED", cause: reason });
  expect(never.destroyed).toBe(true);
  const failing = Readable.from(
    (async function* () {
      yield entry("x", { content: "x" });
      throw reason;
    })(),
  );
  expect(await rejection(ending.writeArchive("/home/user/x", failing))).toBe(reason);
  // Sources that fail before a piece is asked for: their error is the call's, and no uncaught one.
  for (const later of [(fail) => fail(), process.nextTick, setImmediate]) {
    const early = new Readable({ read() {} });
    later(() => early.destroy(reason));
    expect(await rejection(ending.writeArchive("/home/user/x", early))).toBe(reason);
  }
  await ending.dispose();
  expect(await rejection(buffer(open[0]))).toMatchObject({
    code: expect.stringMatching(/^(VM_DISPOSED|INVALID_ARGUMENT)$/),
  });
  expect(() => ending.readArchive("/x")).toThrow(expect.objectContaining({ code: "VM_DISPOSED" }));
  for (const bad of ["x", undefined, 1])
    expect(() => vm.readArchive(bad)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  for (const bad of [undefined, null, "x", {}, 1])
    expect(await rejection(vm.writeArchive("/home/user/x", bad))).toMatchObject({ code: "INVALID_ARGUMENT" });
});

test("an archive larger than memory is read at the reader's speed", async () => {
  const { execPath } = process;
  const script = `
    const { AgentVm } = require(${JSON.stringify(path.join(__dirname, ".."))});
    (async () => {
      const vm = await AgentVm.create({ limits: { diskBytes: 2 ** 30 } });
      await vm.exec("mkdir t && dd if=/dev/zero of=t/large bs=1M count=600 status=none");
      const before = process.memoryUsage().rss;
      let bytes = 0;
      const stream = vm.readArchive("/home/user/t");
      await new Promise((resolve) => setTimeout(resolve, 300));
      const held = process.memoryUsage().rss - before;
      for await (const chunk of stream) bytes += chunk.length;
      console.log(JSON.stringify({ bytes, held }));
      await vm.dispose();
    })();`;
  const child = spawn(execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
  const { bytes, held } = JSON.parse((await buffer(child.stdout)).toString());
  // The content, an extended header with the time, a header, and the end.
  expect(bytes).toBe(600 * 2 ** 20 + 4 * 512 + 512);
  expect(held).toBeLessThan(64 * 2 ** 20);
});

test("a VM has eight archives open, and a ninth changes nothing", async () => {
  const sources = Array.from({ length: 8 }, () => new PassThrough());
  const writing = sources.map((source, n) => vm.writeArchive(`/home/user/open${n}`, source));
  await until(async () => (await Promise.all(sources.map((_, n) => vm.exists(`/home/user/open${n}`)))).every(Boolean));
  const ninth = vm.writeArchive("/home/user/ninth", Readable.from([END]));
  expect(await rejection(ninth)).toMatchObject({
    code: "LIMIT_EXCEEDED",
    message: expect.stringContaining("8 archives"),
  });
  expect(await vm.exists("/home/user/ninth")).toBe(false);
  for (const source of sources) source.end(END);
  await Promise.all(writing);
  await vm.writeArchive("/home/user/ninth", Readable.from([END]));
  expect(await vm.exists("/home/user/ninth")).toBe(true);
});
