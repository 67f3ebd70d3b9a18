"use strict";
// `copy` does what fs.cp with `verbatimSymlinks` does, as the VM's user.

const { execFileSync } = require("node:child_process");
const fs = require("node:fs");

const { directoryForFile, temporaryDirectory } = require("./fixture/directory");
const { rejection, until } = require("./fixture/promises");
const { boot, bootForFile, output } = require("./fixture/vm");

const TREE = `mkdir -p t/a/b t/empty other/a into && printf 1 > t/one && printf 2 > t/a/two && printf 3 > t/a/b/three
chmod 751 t/one && chmod 600 t/a/two && chmod 555 t/empty && chmod 500 t/a/b && chmod 1777 t/a
ln -s one t/link && ln -s /nowhere t/a/broken && ln -s a t/dir && printf old > other/one && printf old > other/a/two
ln -s old other/link && printf f > f && chmod 640 f && ln -s f l && ln -s t d && mkfifo p && mkdir s && mkfifo s/p
mkdir -p plain/a && printf old > plain/one && printf old > plain/a/two && mkdir onto && mkdir onto/one && printf x > file`;

/** Everything below a directory: type, mode, content. */
const LOOK =
  "find . -mindepth 1 -printf '%y %m %P %l\\n' | sort; find . -type f ! -perm -400 -prune -o -type f -printf '%P ' -exec cat {} \\; -printf '\\n' | sort";

/** The codes that fs.cp has of its own. */
const CODES = {
  ERR_FS_CP_EINVAL: "EINVAL",
  ERR_FS_CP_DIR_TO_NON_DIR: "EISDIR",
  ERR_FS_CP_NON_DIR_TO_DIR: "ENOTDIR",
  ERR_FS_EISDIR: "EISDIR",
  ERR_FS_CP_EEXIST: "EEXIST",
  ERR_FS_CP_FIFO_PIPE: "EINVAL",
  ERR_FS_CP_SOCKET: "EINVAL",
};

const r = { recursive: true };
const CALLS = [
  ["f", "new"],
  ["f", "deep/er/new"],
  ["f", "file"],
  ["f", "file", { force: false }],
  ["f", "file", { force: false, errorOnExist: true }],
  ["f", "l"],
  ["l", "new"],
  ["l", "l2/l"],
  ["l", "other/link"],
  ["l", "f"],
  ["f", "f"],
  ["none", "new"],
  ["f/x", "new"],
  ["f", "file/x"],
  ["f", "t"],
  ["t", "new"],
  ["t", "new", r],
  ["t/", "new/", r],
  ["d/", "new", r],
  ["d", "new", r],
  ["t", "other", r],
  ["t", "plain", { ...r, force: false }],
  ["t", "other", { ...r, force: false, errorOnExist: true }],
  ["t", "into", r],
  ["t", "f", r],
  ["t", "l", r],
  ["t", "onto", r],
  ["t", "t", r],
  ["t", "t/a", r],
  ["t", "t/new", r],
  ["t", "t/new/er/still", r],
  ["t", "deep/er", r],
  ["p", "new"],
  ["s", "new", r],
];

describe.each(["namespaces", "landlock"])("at the level %s", (isolation) => {
  const host = directoryForFile();
  // A user cannot remove what is in a directory without this right.
  afterAll(() => execFileSync("chmod", ["-R", "u+rwX", host]));
  let vm;
  let home;
  beforeAll(async () => {
    vm = await bootForFile({ isolation });
    home = await output(vm, 'printf %s "$HOME"');
    // The user of the VM reads it too.
    fs.chmodSync(host, 0o755);
  });

  test("each copy leaves what fs.cp leaves, and fails where it does", async () => {
    const found = [];
    const expected = [];
    for (const [index, [from, to, options]] of CALLS.entries()) {
      const label = `${from} → ${to} ${JSON.stringify(options ?? {})}`;
      const at = `${host}/${index}`;
      fs.mkdirSync(at);
      execFileSync("sh", ["-ec", TREE], { cwd: at });
      const said = await fs.promises.cp(`${at}/${from}`, `${at}/${to}`, { ...options, verbatimSymlinks: true }).then(
        () => "done",
        ({ code }) => CODES[code] ?? code,
      );
      // How far a copy came that failed depends on the order of the names.
      const look = (left) => (said === "done" ? left : "");
      expected.push([label, said, look(execFileSync("sh", ["-c", LOOK], { cwd: at, encoding: "utf8" }))]);

      const inside = `${home}/${index}`;
      await output(vm, `mkdir ${inside} && cd ${inside} && ${TREE}`);
      const outcome = await vm.copy(`${inside}/${from}`, `${inside}/${to}`, options).then(
        () => "done",
        ({ code }) => code,
      );
      found.push([label, outcome, look(await output(vm, LOOK, { cwd: inside }))]);
    }
    expect(found).toEqual(expected);
    expect(new Set(found.map(([, outcome]) => outcome)).size).toBeGreaterThan(4);
  }, 120_000);
});

test("with force: false links are kept too", async () => {
  const vm = await boot();
  await output(vm, "mkdir t to; ln -s new t/l; ln -s old to/l; echo new > t/f");
  await vm.copy("/home/user/t", "/home/user/to", { recursive: true, force: false });
  expect(await output(vm, "readlink to/l; cat to/f")).toBe("old\nnew\n");
  const refused = { recursive: true, force: false, errorOnExist: true };
  await expect(vm.copy("/home/user/t", "/home/user/to", refused)).rejects.toMatchObject({ code: "EEXIST" });
});

test("times are kept if asked for, and set-id bits never", async () => {
  const vm = await boot();
  await output(vm, "printf x > f; chmod 6755 f; touch -d @1000000000.5 f; mkdir d; cp -p f d; chmod 7777 d");
  await vm.copy("/home/user/d", "/home/user/kept", { recursive: true, preserveTimestamps: true });
  await vm.copy("/home/user/f", "/home/user/new");
  expect(await output(vm, "stat -c '%a %Y' kept/f; stat -c %a kept new")).toBe("755 1000000000\n1777\n755\n");
  expect((await vm.stat("/home/user/kept/f")).mtimeMs).toBe(1_000_000_000_500);
  expect((await vm.stat("/home/user/new")).mtimeMs).toBeGreaterThan(1_500_000_000_000);
});

test("copies go between the VM's own files and directories of the host", async () => {
  const home = temporaryDirectory();
  const vm = await boot({ home });
  await output(vm, "mkdir -p /tmp/t/a; printf x > /tmp/t/a/f; chmod 4755 /tmp/t/a/f; ln -s /etc/passwd /tmp/t/link");
  await vm.copy("/tmp/t", "/home/user/t", { recursive: true });
  expect(fs.statSync(`${home}/t/a/f`).mode & 0o7777).toBe(0o755);
  expect(fs.readlinkSync(`${home}/t/link`)).toBe("/etc/passwd");
  await vm.copy("/home/user/t", "/tmp/back", { recursive: true });
  expect(await output(vm, "cat /tmp/back/a/f")).toBe("x");
  await expect(vm.copy("/tmp/t", "/usr/t", { recursive: true })).rejects.toMatchObject({
    code: "EROFS",
    path: "/usr/t",
  });
  await expect(vm.copy("/tmp/t/a/f", "/proc/self/comm")).rejects.toMatchObject({ code: expect.stringMatching(/^E/) });
  await expect(vm.copy("/dev/zero", "/tmp/zero")).rejects.toMatchObject({ code: "EINVAL", path: "/dev/zero" });
  await expect(vm.copy("/proc/self/exe", "/tmp/exe")).rejects.toMatchObject({ code: expect.stringMatching(/^E/) });
  await vm.copy("/proc/version", "/tmp/version");
  expect(await vm.readFile("/tmp/version", "utf8")).toMatch(/^Linux version/);
});

test("a file of 1 TiB that is a hole takes no room", async () => {
  const vm = await boot({ limits: { diskBytes: 8 * 1024 * 1024 } });
  await output(vm, "truncate -s 1T f; printf end | dd of=f bs=1 seek=1G conv=notrunc 2>&1; printf last >> f");
  await vm.copy("/home/user/f", "/home/user/g");
  const { size, blocks } = await vm.stat("/home/user/g");
  expect(size).toBe(2 ** 40 + 4);
  expect(blocks).toBeLessThan(64);
  const text = (offset, length) => vm.readFile("/home/user/g", { encoding: "utf8", offset, length });
  expect([await text(2 ** 30, 3), await text(2 ** 40, 9)]).toEqual(["end", "last"]);
  await output(vm, "head -c 6000000 /dev/urandom > big");
  await expect(vm.copy("/home/user/big", "/home/user/big2")).rejects.toMatchObject({
    code: "ENOSPC",
    path: "/home/user/big2",
  });
});

test("names that are no UTF-8, and trees deeper than any path, are copied whole", async () => {
  const vm = await boot();
  const script = `
import os
os.makedirs(b"top/caf\\351/in")
open(b"top/caf\\351/in/\\377", "w").write("odd")
os.chdir("top")
for _ in range(1200):
    os.mkdir("abcdefghij")
    os.chdir("abcdefghij")
open("end", "w").close()`;
  expect((await vm.execFile("python3", ["-c", script])).exitCode).toBe(0);
  await vm.copy("/home/user/top", "/home/user/copy", { recursive: true });
  expect((await vm.readdirRecursive("/home/user/copy")).map(({ type }) => type)).toEqual(
    (await vm.readdirRecursive("/home/user/top")).map(({ type }) => type),
  );
  expect(await output(vm, "cat copy/caf$(printf '\\351')/in/*")).toBe("odd");
});

test("a directory that is swapped for a link while it is copied leads nowhere else", async () => {
  const vm = await boot();
  const swap = `
import ctypes
libc = ctypes.CDLL(None)
print("up", flush=True)
while True:
    for one, other in ((b"t/a", b"t/link"), (b"to/a", b"to/link")):
        libc.syscall(${process.arch === "x64" ? 316 : 276}, -100, one, -100, other, 2)`;
  await output(
    vm,
    "mkdir -p keep t/a to/a; echo kept > keep/f; echo secret > keep/secret; echo f > t/a/f; ln -s ../keep t/link; ln -s ../keep to/link",
  );
  const up = new Promise((resolve) => vm.once("processOutput", resolve));
  const { pid } = await vm.spawn("python3", ["-c", swap]);
  await up;
  const codes = new Map();
  for (let tries = 0; tries < 300; tries++) {
    const code = await vm.copy("/home/user/t", "/home/user/to", { recursive: true }).then(
      () => "done",
      (error) => error.code,
    );
    codes.set(code, (codes.get(code) ?? 0) + 1);
  }
  await vm.killProcess(pid);
  expect([...codes.keys()].filter((code) => !/^(done|E[A-Z]+)$/.test(code))).toEqual([]);
  expect(await output(vm, "cat keep/f; ls keep; find to -name secret")).toBe("kept\nf\nsecret\n");
}, 120_000);

test("a link that takes the place of a copied directory does not get what is below it", async () => {
  const vm = await boot();
  await output(vm, "mkdir -p from/a/b; cd from/a; for i in $(seq 3000); do echo x > f$i; done; echo secret > b/inner");
  const wasBefore = await until(async () => {
    await output(vm, "rm -rf to elsewhere; mkdir elsewhere");
    const swap = vm.exec(
      "while [ ! -e to/a/f1500 ]; do :; done; mv to/a to/gone; ln -s /home/user/elsewhere to/a; ls to/gone/b",
      { cwd: "/home/user" },
    );
    const copied = vm.copy("/home/user/from", "/home/user/to", { recursive: true }).then(
      () => "copied",
      ({ code }) => code,
    );
    // Was the link there before the copy came to b?
    return (await swap).exitCode === 2 && copied;
  });
  expect(wasBefore).toBe("ELOOP");
  expect(await output(vm, "ls elsewhere")).toBe("");
}, 90_000);

test("copies leave threads for other calls, and more than two wait", async () => {
  const vm = await boot();
  await output(vm, "head -c 200M /dev/zero | tr '\\0' x > big; echo small > small");
  const done = [];
  const copies = [1, 2, 3, 4].map((each) => vm.copy("/home/user/big", `/home/user/copy${each}`));
  const calls = [vm.readdir("/home/user"), vm.readFile("/home/user/small")];
  await Promise.all([
    Promise.all(calls).then(() => done.push("calls")),
    Promise.all(copies).then(() => done.push("copies")),
  ]);
  expect(done).toEqual(["calls", "copies"]);
  expect(await output(vm, "for i in 1 2 3 4; do cmp big copy$i && echo same; done")).toBe("same\n".repeat(4));
}, 90_000);

test("a copy ends with its VM", async () => {
  const vm = await boot();
  await output(vm, "mkdir t; for i in $(seq 2000); do : > t/$i; done");
  const copied = rejection(vm.copy("/home/user/t", "/home/user/u", { recursive: true }));
  await vm.dispose();
  expect((await copied).code).toBe("VM_DISPOSED");
});
