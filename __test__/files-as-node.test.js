"use strict";
// The same calls with Node.js's fs on a directory of the host, and in a VM: the same results and the same codes.

const fs = require("node:fs");
const path = require("node:path");

const { directoryForFile } = require("./fixture/directory");
const { bootForFile, output } = require("./fixture/vm");

let host;
let vm;
let home;

/** Makes the same tree in both places. */
const TREE = `mkdir -p d/sub closed && printf 0123456789 > f && printf x > d/sub/x && : > empty && printf 'gr\\303\\274\\303\\237e' > text
ln -s f link && ln -s d dlink && ln -s nowhere/x dangling && ln -s loop2 loop1 && ln -s loop1 loop2 && ln -s d/sub/x deep
mkfifo fifo && mkdir -m 0 shut && touch -d @1000000000 f`;

/** Makes both, with the VM at an isolation level. */
async function makeBoth(isolation) {
  host = fs.realpathSync(directoryForFile());
  vm = await bootForFile({ isolation });
  home = (await output(vm, 'printf %s "$HOME"')).toString();
  require("node:child_process").execFileSync("sh", ["-ec", TREE], { cwd: host });
  await output(vm, TREE);
}

const name = "a".repeat(256);

/** A call of fs.promises in the form of the call of a VM, if they differ. */
const NODE = {
  readdirEntries: async (at) =>
    (await fs.promises.readdir(at, { withFileTypes: true }))
      .map((entry) => [entry.name, typeOf(entry)])
      .sort(([one], [other]) => (one < other ? -1 : 1)),
  chmod: async (at, mode) => {
    await fs.promises.chmod(at, mode);
    return (await fs.promises.stat(at)).mode & 0o7777;
  },
  utimes: async (at, accessed, modified) => {
    await fs.promises.utimes(at, accessed, modified);
    const { atimeMs, mtimeMs } = await fs.promises.stat(at);
    return [Math.round(atimeMs), Math.round(mtimeMs)];
  },
  truncate: async (at, length) => {
    await fs.promises.truncate(at, length);
    return (await fs.promises.stat(at)).size;
  },
  lstat: async (at) => attributesOf(await fs.promises.lstat(at)),
  symlink: async (target, at) => {
    await fs.promises.symlink(target, at);
    return fs.promises.readlink(at);
  },
  appendFile: async (at, data) => {
    await fs.promises.appendFile(at, data);
    return fs.promises.readFile(at, "utf8");
  },
  mkdtemp: async (prefix) => {
    const made = await fs.promises.mkdtemp(prefix);
    return [made.slice(0, -6) === prefix, (await fs.promises.stat(made)).mode & 0o777];
  },
  readPart: async (at, offset, length) => {
    const handle = await fs.promises.open(at);
    try {
      const { bytesRead, buffer } = await handle.read(Buffer.alloc(length), 0, length, offset);
      return buffer.subarray(0, bytesRead).toString();
    } finally {
      await handle.close();
    }
  },
};
const INSIDE = {
  readdirEntries: async (at) => (await vm.readdirEntries(at)).map((entry) => [entry.name, entry.type]),
  chmod: async (at, mode) => {
    await vm.chmod(at, mode);
    return (await vm.stat(at)).mode & 0o7777;
  },
  utimes: async (at, accessed, modified) => {
    await vm.utimes(at, accessed, modified);
    const { atimeMs, mtimeMs } = await vm.stat(at);
    return [Math.round(atimeMs), Math.round(mtimeMs)];
  },
  truncate: async (at, length) => {
    await vm.truncate(at, length);
    return (await vm.stat(at)).size;
  },
  lstat: async (at) => attributesOf(await vm.lstat(at)),
  symlink: async (target, at) => {
    await vm.symlink(target, at);
    return vm.readlink(at);
  },
  appendFile: async (at, data) => {
    await vm.appendFile(at, data);
    return vm.readFile(at, "utf8");
  },
  mkdtemp: async (prefix) => {
    const made = await vm.mkdtemp(prefix);
    return [made.slice(0, -6) === prefix, (await vm.stat(made)).mode & 0o777];
  },
  readPart: async (at, offset, length) => vm.readFile(at, { encoding: "utf8", offset, length }),
};

const attributesOf = ({ mode, size, isSymbolicLink, isDirectory }) => ({
  type: mode & 0o170000,
  size: (mode & 0o170000) === 0o040000 ? 0 : size,
  isSymbolicLink: typeof isSymbolicLink === "function" ? (mode & 0o170000) === 0o120000 : isSymbolicLink,
  isDirectory: typeof isDirectory === "function" ? (mode & 0o170000) === 0o040000 : isDirectory,
});

function typeOf(entry) {
  if (entry.isFIFO()) return "fifo";
  if (entry.isSymbolicLink()) return "symlink";
  return entry.isDirectory() ? "directory" : "file";
}

/** The result, or the code of the error; what it says of the directory is left out. */
async function outcome(call, at) {
  const plain = (value) => (typeof value === "string" ? value.replaceAll(at, "<home>") : value);
  try {
    return { result: plain((await call()) ?? null) };
  } catch (error) {
    return { code: error.code };
  }
}

const date = new Date(1_234_567_890_123);
const CALLS = [
  ...["f", "text", "empty", "link", "deep", "none", "d", "dlink", "dangling", "loop1", "f/x", "none/x", name].flatMap(
    (file) => [
      ["readFile", file, "utf8"],
      ["readFile", file, { encoding: "hex" }],
      ["lstat", file],
      ["lstat", `${file}/`],
      ["readlink", file],
      ["readlink", `${file}/`],
      ["realpath", file],
      ["realpath", `${file}/`],
      ["readdirEntries", file],
    ],
  ),
  ["realpath", "d/../d/./sub//x"],
  ["realpath", ""],
  ["lstat", "fifo"],
  ["readlink", "fifo"],
  ["realpath", "fifo"],
  ["readdirEntries", ""],
  ...[
    [0, 10],
    [3, 4],
    [9, 4],
    [10, 1],
    [1e15, 5],
    [0, 0],
  ].flatMap(([offset, length]) => [
    ["readPart", "f", offset, length],
    ["readPart", "empty", offset, length],
  ]),
  ["readPart", "none", 0, 1],
  ...["latin1", "base64", "base64url", "utf16le", "ascii", "binary", "ucs2"].map((encoding) => [
    "readFile",
    "text",
    encoding,
  ]),
  ["chmod", "f", 0o751],
  ["chmod", "link", 0o640],
  ["chmod", "f", "600"],
  ["chmod", "d", 0o1777],
  ["chmod", "f/", 0o644],
  ["chmod", "none", 0o644],
  ["chmod", "dangling", 0o644],
  ["chmod", "loop1", 0o644],
  ["chmod", "f", 0o644],
  ["utimes", "f", 1, 2],
  ["utimes", "f", 1.5, 1_700_000_000.25],
  ["utimes", "link", date, date],
  ["utimes", "d", 0, 0],
  ["utimes", "f", new Date(-1500), new Date(-1_000_000)],
  ["utimes", "none", 0, 0],
  ["utimes", "f/", 0, 0],
  ["utimes", "dangling", 0, 0],
  ["truncate", "f", 4],
  ["truncate", "f", 2 ** 40],
  ["truncate", "f", 0],
  ["truncate", "link", 3],
  ["truncate", "none", 0],
  ["truncate", "d", 0],
  ["truncate", "dangling", 0],
  ["truncate", "f/", 0],
  ["appendFile", "f", "abc"],
  ["appendFile", "f", "ü"],
  ["appendFile", "appended", "new"],
  ["appendFile", "link", "1"],
  ["appendFile", "d", "1"],
  ["appendFile", "none/x", "1"],
  ["appendFile", "f/x", "1"],
  ["appendFile", "made/", "1"],
  ["symlink", "anywhere", "new1"],
  ["symlink", "d", "new2"],
  ["symlink", "", "new3"],
  ["symlink", "x", "f"],
  ["symlink", "x", "dangling"],
  ["symlink", "x", "none/x"],
  ["symlink", "x", "f/x"],
  ["symlink", "x", "new4/"],
  ["symlink", "x", "d/"],
  ["symlink", "x".repeat(5000), "new5"],
  ["mkdtemp", "d/temporary-"],
  ["mkdtemp", "d/"],
  ["mkdtemp", "none/x"],
  ["mkdtemp", "f/x"],
  ["mkdtemp", name],
];

test.each(["namespaces", "landlock"])("each call gives what Node.js gives (%s)", async (isolation) => {
  await makeBoth(isolation);
  const found = [];
  const expected = [];
  for (const [call, ...args] of CALLS) {
    // A relative target stays what it is.
    const index = call === "symlink" ? 1 : 0;
    const at = (base) => args.map((arg, each) => (each === index ? (arg === "" ? base : `${base}/${arg}`) : arg));
    const node = NODE[call] ?? fs.promises[call];
    const inside = INSIDE[call] ?? vm[call].bind(vm);
    const label = `${call}(${args.map((arg) => String(arg).slice(0, 20)).join(", ")})`;
    expected.push([label, await outcome(() => node(...at(host)), host)]);
    found.push([label, await outcome(() => inside(...at(home)), home)]);
  }
  expect(found).toEqual(expected);
  // Both kinds of outcome were seen.
  expect(found.filter(([, { code }]) => code !== undefined).length).toBeGreaterThan(40);
  expect(found.filter(([, { code }]) => code === undefined).length).toBeGreaterThan(60);
});

test("an error names the call and the path", async () => {
  await makeBoth("namespaces");
  const at = path.posix.join(home, "none");
  for (const [call, syscall] of [
    [vm.lstat(at), "lstat"],
    [vm.readlink(at), "readlink"],
    [vm.realpath(at), "realpath"],
    [vm.chmod(at, 0o600), "chmod"],
    [vm.utimes(at, 0, 0), "utime"],
    [vm.truncate(at), "open"],
    [vm.readdirEntries(at), "open"],
    [vm.symlink("x", at + "/x"), "symlink"],
  ]) {
    await expect(call).rejects.toMatchObject({ code: "ENOENT", errno: -2, syscall, path: expect.stringContaining(at) });
  }
  await expect(vm.mkdtemp(`${at}/x-`)).rejects.toMatchObject({
    code: "ENOENT",
    syscall: "mkdtemp",
    path: `${at}/x-XXXXXX`,
  });
});
