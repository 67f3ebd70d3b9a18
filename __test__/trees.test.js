"use strict";
// uploadDirectory and downloadDirectory: what is kept, what is merged, and where both end.

const { execFileSync } = require("node:child_process");
const crypto = require("node:crypto");
const fs = require("node:fs");
const path = require("node:path");

const { AgentVm } = require("..");
const { directoryForFile, temporaryDirectory } = require("./fixture/directory");
const { root } = require("./fixture/project");
const { rejection, until } = require("./fixture/promises");
const { nodeScript } = require("./fixture/server-process");
const { boot, bootForFile, output } = require("./fixture/vm");

const sh = (cwd, script) => execFileSync("bash", ["-c", script], { cwd, encoding: "latin1", maxBuffer: 2 ** 28 });

/** Type, mode, time, size and path of everything below the working directory. */
const LOOK =
  "{ find . -mindepth 1 ! -type f -printf '%y %m %T@ %P %l\\0'; find . -type f -printf '%y %m %T@ %s %P\\0'; } | LC_ALL=C sort -z";
const look = (directory) => sh(directory, LOOK).split("\0");
const lookInside = async (vm, directory) => {
  const { stdout } = await vm.exec(LOOK, { cwd: directory, encoding: "buffer", maxOutputBytes: 2 ** 28 });
  return Buffer.from(stdout).toString("latin1").split("\0");
};

/** Compares two of these lists; a failure shows the first differences only. */
function expectSame(found, expected) {
  const [all, wanted] = [new Set(found), new Set(expected)];
  const extra = found.filter((line) => !wanted.has(line)).slice(0, 3);
  const missing = expected.filter((line) => !all.has(line)).slice(0, 3);
  expect({ extra, missing, count: found.length }).toEqual({ extra: [], missing: [], count: expected.length });
}

let vm;
beforeAll(async () => {
  vm = await bootForFile();
});

/** A repository of more than 5,000 files: this package's dependencies, under git. */
function repository() {
  const directory = path.join(directoryForFile(), "repository");
  fs.mkdirSync(directory);
  const from = path.join(root, "node_modules");
  let files = 0;
  for (const name of fs.readdirSync(from).sort()) {
    if (files > 5200) break;
    // Programs of many megabytes.
    if (name === ".cache" || name === "@oxlint" || name === "@rivetkit" || name === "@rivet-dev") continue;
    fs.cpSync(path.join(from, name), path.join(directory, name), { recursive: true, verbatimSymlinks: true });
    files += Number(sh(directory, `find '${name}' -type f | wc -l`));
  }
  sh(directory, "find . -type f -size +256k -delete");
  const config = "-c user.name=x -c user.email=x@example.com -c init.defaultBranch=main -c commit.gpgsign=false";
  sh(directory, `git ${config} init -q && git add -f -A && git ${config} commit -q -m x && git repack -q -a -d`);
  return directory;
}

test("a repository of 5,000 files comes in and out again with every entry as it was", async () => {
  const from = repository();
  const back = path.join(directoryForFile(), "new", "directory");
  const up = await vm.uploadDirectory(from, "/home/user/repository");
  const found = look(from);
  expectSame(await lookInside(vm, "/home/user/repository"), found);
  const status = "git --no-optional-locks status --porcelain | wc -l";
  expect((await output(vm, status, { cwd: "/home/user/repository" })).trim()).toBe("0");
  const down = await vm.downloadDirectory("/home/user/repository", back);
  expectSame(look(back), found);
  expect(sh(from, `diff -r --no-dereference . ${back} | wc -l`).trim()).toBe("0");
  expect(down).toEqual(up);
  const count = (types) => Number(sh(from, `find . -mindepth 1 ${types} | wc -l`));
  expect(up).toEqual({
    files: count("-type f"),
    directories: count("-type d"),
    links: count("-type l"),
    bytes: Number(sh(from, "find . -type f -printf '%s\\n' | awk '{ all += $1 } END { printf \"%d\", all }'")),
    skipped: 0,
  });
  expect(up.files).toBeGreaterThan(5000);
  // Once more, over what is there.
  expect(await vm.uploadDirectory(from, "/home/user/repository")).toEqual(up);
  expect((await output(vm, status, { cwd: "/home/user/repository" })).trim()).toBe("0");
}, 300_000);

const ODD = `mkdir -p empty/er 'a b' && printf 1 > one && printf 2 > 'a b/two' && : > nothing
printf x > "$(printf 'new\\nline')" && printf x > "$(printf 'no\\xffutf8')" && printf x > -n && printf x > '*'
printf x > "$(printf 'x%.0s' $(seq 255))" && ln -s "$(printf 'y%.0s' $(seq 1000))" far
ln -s one link && ln -s /etc/passwd absolute && ln -s nowhere broken && ln -s 'a b' dir && ln -s "$(printf '\\xff')" odd
ln one hard && mkfifo fifo && printf ro > ro && chmod 400 ro && printf x > x && chmod 751 x && mkdir sticky && chmod 1777 sticky
printf s > setid && chmod 6755 setid && mkdir setgid && chmod 2755 setgid
truncate -s 64M holes && printf end >> holes && printf x | dd of=holes bs=1 seek=33554432 conv=notrunc status=none && truncate -s 80M holes
truncate -s 3M hole
( for i in $(seq 90); do mkdir "$(printf 'd%.0s' $(seq 60))$i" && cd "$(printf 'd%.0s' $(seq 60))$i" && printf $i > f; done )
( cd empty && for i in $(seq 200); do mkdir d && cd d; done )
touch -d '2001-02-03 04:05:06.123456789' one 'a b/two' && touch -h -d '1999-01-01 00:00:00.987654321' link
touch -d '1960-05-05 05:05:05.5' x && mkdir closed && printf x > closed/f && chmod 555 closed
touch -d '2002-02-02 02:02:02.222222222' 'a b' empty/er closed`;

test("modes, times, links, holes, empty directories and odd names are kept, and set-id bits are not", async () => {
  const [from, to] = [temporaryDirectory(), temporaryDirectory()];
  sh(from, ODD);
  try {
    const totals = await vm.uploadDirectory(from, "/home/user/odd");
    expect(totals).toMatchObject({ skipped: 1 });
    await vm.downloadDirectory("/home/user/odd", to);
    sh(from, "rm fifo && chmod a-s setid setgid");
    // The time of the change above is not that of the copy.
    const without = (listed) => listed.map((line) => line.replace(/^(. \d+ )(.*) setgid/, "$1 setgid"));
    expectSame(without(look(to)), without(look(from)));
    expectSame(without(await lookInside(vm, "/home/user/odd")), without(look(from)));
    const sums = "find . -type f -execdir sha1sum {} + | LC_ALL=C sort";
    expectSame(sh(to, sums).split("\n"), sh(from, sums).split("\n"));
    for (const name of ["holes", "hole"]) expect(fs.statSync(path.join(to, name)).blocks).toBeLessThan(1024);
    expect(fs.statSync(path.join(to, "hard")).nlink).toBe(1);
  } finally {
    for (const directory of [from, to]) sh(directory, "chmod u+w closed; rm -rf ./*");
  }
  await output(vm, "chmod 700 odd/closed && rm -rf odd");
}, 60_000);

test("a tree is merged into what is there: files and links are replaced, directories stay", async () => {
  const [from, to] = [temporaryDirectory(), temporaryDirectory()];
  sh(from, "mkdir -p d/e && printf new > d/f && printf new > d/l && ln -s new d/k && chmod 700 d && printf n > d/e/g");
  const there =
    "mkdir d && chmod 751 d && printf old > d/f && chmod 400 d/f && printf kept > d/kept && printf safe > target && ln -s ../target d/l && printf old > d/k && ln d/f other";
  const after = "cat d/f d/kept target other; readlink d/k; stat -c %a,%F d d/l; cat d/e/g";
  const expected = "newkeptsafeoldnew\n751,directory\n644,regular file\nn";
  sh(to, there);
  await output(vm, `mkdir merged && cd merged && ${there}`);
  await vm.uploadDirectory(from, "/home/user/merged/");
  expect(await output(vm, `cd merged && ${after}`)).toBe(expected);
  await vm.downloadDirectory("/home/user/merged/d", path.join(to, "d"), { exclude: ["kept"] });
  expect(sh(to, after)).toBe(expected);
});

test("no link is followed where a copy goes, and a directory is not replaced", async () => {
  const [from, to, outside] = [temporaryDirectory(), temporaryDirectory(), temporaryDirectory()];
  sh(from, "mkdir d && printf x > d/f");
  fs.symlinkSync(outside, path.join(to, "d"));
  await output(vm, `mkdir into outside && ln -s ../outside into/d && mkdir -p files/d/f`);
  const up = await rejection(vm.uploadDirectory(from, "/home/user/into"));
  expect(up).toMatchObject({ code: "ENOTDIR", path: "/home/user/into/d" });
  expect(await rejection(vm.uploadDirectory(from, "/home/user/files"))).toMatchObject({
    code: "EISDIR",
    path: "/home/user/files/d/f",
  });
  await output(vm, "mkdir -p source/d && printf x > source/d/f");
  const down = await rejection(vm.downloadDirectory("/home/user/source", to));
  expect(down).toMatchObject({ code: "ENOTDIR", path: path.join(to, "d") });
  fs.rmSync(path.join(to, "d"));
  fs.mkdirSync(path.join(to, "d", "f"), { recursive: true });
  expect(await rejection(vm.downloadDirectory("/home/user/source", to))).toMatchObject({
    code: "EISDIR",
    path: path.join(to, "d", "f"),
  });
  expect(fs.readdirSync(outside)).toEqual([]);
  expect(fs.readdirSync(path.join(to, "d"))).toEqual(["f"]);
  expect(await vm.readdir("/home/user/outside")).toEqual([]);
});

test("programs that exchange directories for links lead a copy nowhere else, in either direction", async () => {
  const [from, to, shared, outside] = Array.from({ length: 4 }, temporaryDirectory);
  fs.writeFileSync(path.join(outside, "secret"), "secret");
  // The VM's user can write there, whichever id it has.
  fs.chmodSync(shared, 0o777);
  fs.chmodSync(outside, 0o755);
  fs.chmodSync(path.dirname(shared), 0o1777);
  for (let i = 0; i < 20; i++) {
    fs.mkdirSync(path.join(from, `d${i}`, "e"), { recursive: true });
    fs.writeFileSync(path.join(from, `d${i}`, "e", "f"), "x");
  }
  const hostile = await boot({ mounts: [{ hostPath: shared, path: "/shared", readOnly: false }] });
  await output(hostile, `mkdir -p tree/a/b real && printf x > tree/a/b/f && mkdir /shared/x`);
  await hostile.spawn("sh", [
    "-c",
    `while :; do mv tree/a/b real/b; ln -s '${outside}' tree/a/b; ln -s / tree/a/root; rm tree/a/b tree/a/root; mv real/b tree/a/b
      for d in /shared/d*; do mv $d /shared/x/; ln -s '${outside}' $d; rm -f $d; done; rm -rf /shared/x/*; done`,
  ]);
  for (let round = 0; round < 30; round++) {
    await hostile.downloadDirectory("/home/user/tree", to).catch(() => {});
    // The server writes where the programs do.
    await hostile.uploadDirectory(from, "/home/user/copy").catch(() => {});
    await hostile.downloadDirectory("/home/user/copy", shared).catch(() => {});
  }
  expect(fs.readdirSync(outside)).toEqual(["secret"]);
  expect(sh(to, "grep -rl secret . || true")).toBe("");
  expect(await output(hostile, "grep -rls secret copy tree || true")).toBe("");
  await hostile.dispose();
}, 60_000);

test("exclude leaves out names, paths and directories", async () => {
  const [from, to] = [temporaryDirectory(), temporaryDirectory()];
  sh(from, "mkdir -p node_modules/x src/node_modules src/dist dist a/b && touch a/b/x.log a/b/x.txt src/target dist/y");
  const exclude = ["node_modules", "*.log", "/dist", "target/", "a/*/x.t?t"];
  await vm.uploadDirectory(from, "/home/user/excluded", { exclude });
  expect((await output(vm, "cd excluded && find . -mindepth 1 | sort")).trim().split("\n")).toEqual([
    "./a",
    "./a/b",
    "./src",
    "./src/dist",
    "./src/target",
  ]);
  await vm.downloadDirectory("/home/user/excluded", to, { exclude: ["src/**/{dist,none}", "[a-c]"] });
  expect(sh(to, "find . -mindepth 1 | sort")).toBe("./src\n./src/target\n");
});

test("progress is reported while a tree is copied, up to the totals", async () => {
  const from = temporaryDirectory();
  const piece = Buffer.alloc(2 ** 20, 1);
  for (let i = 0; i < 300; i++) fs.writeFileSync(path.join(from, `f${i}`), piece);
  const reports = [];
  const big = await boot({ limits: { diskBytes: 2 ** 30 } });
  const totals = await big.uploadDirectory(from, "/home/user/big", { onProgress: (each) => reports.push(each) });
  expect(totals).toEqual({ files: 300, directories: 0, links: 0, bytes: 300 * 2 ** 20, skipped: 0 });
  expect(reports.at(-1)).toEqual(totals);
  for (const [index, each] of reports.slice(1).entries())
    expect(each.bytes).toBeGreaterThanOrEqual(reports[index].bytes);
  // Ended at the limit of the disk, with the path.
  const full = await boot({ limits: { diskBytes: 2 ** 24 } });
  expect(await rejection(full.uploadDirectory(from, "/home/user/big"))).toMatchObject({
    code: "ENOSPC",
    path: expect.stringMatching(/^\/home\/user\/big\/f\d+$/),
  });
});

test("maxBytes and maxEntries bound a copy, and an abort ends it", async () => {
  const [from, to] = [temporaryDirectory(), temporaryDirectory()];
  for (let i = 0; i < 200; i++) fs.writeFileSync(path.join(from, `f${i}`), crypto.randomBytes(100));
  fs.mkdirSync(path.join(from, "d"));
  const all = await vm.uploadDirectory(from, "/home/user/bounded", { maxBytes: 20_000, maxEntries: 201 });
  expect(all).toMatchObject({ files: 200, bytes: 20_000 });
  for (const options of [{ maxBytes: 19_999 }, { maxEntries: 200 }]) {
    expect(await rejection(vm.uploadDirectory(from, "/home/user/b", options))).toMatchObject({
      code: "LIMIT_EXCEEDED",
    });
    expect(await rejection(vm.downloadDirectory("/home/user/bounded", to, options))).toMatchObject({
      code: "LIMIT_EXCEEDED",
    });
  }
  // A file of 8 EiB that is one hole.
  await output(vm, "mkdir hole && truncate -s 7E hole/f 2>/dev/null || truncate -s 8T hole/f");
  expect(await rejection(vm.downloadDirectory("/home/user/hole", to))).toMatchObject({ code: "LIMIT_EXCEEDED" });
  const reason = new Error("enough");
  expect(
    await rejection(vm.downloadDirectory("/home/user/bounded", to, { signal: AbortSignal.abort(reason) })),
  ).toEqual(expect.objectContaining({ code: "ABORTED", cause: reason }));
  await output(
    vm,
    "mkdir large && truncate -s 200M large/f && yes | dd of=large/g bs=1M count=200 iflag=fullblock status=none",
  );
  const controller = new AbortController();
  const aborted = rejection(
    vm.downloadDirectory("/home/user/large", path.join(to, "large"), { signal: controller.signal }),
  );
  await until(() => fs.existsSync(path.join(to, "large")));
  controller.abort(reason);
  expect(await aborted).toMatchObject({ code: "ABORTED", cause: reason });
  const left = fs.readdirSync(path.join(to, "large")).filter((name) => !["f", "g"].includes(name));
  expect(left).toEqual([]);
});

test("files of /proc count as many bytes as they have, whatever size they show", async () => {
  const [from, to] = ["/proc/sys/kernel/random", temporaryDirectory()];
  // The length of a random id is always the same.
  const exclude = fs.readdirSync(from).filter((name) => !["boot_id", "uuid"].includes(name));
  expect(fs.statSync(path.join(from, "uuid")).size).toBe(0);
  for (const copy of [
    (options) => vm.uploadDirectory(from, "/home/user/random", options),
    (options) => vm.downloadDirectory(from, to, options),
  ]) {
    expect(await copy({ exclude })).toMatchObject({ files: 2, bytes: 2 * 37 });
    expect(await rejection(copy({ exclude, maxBytes: 73 }))).toMatchObject({ code: "LIMIT_EXCEEDED" });
  }
  // No temporary file is left of the copy that failed.
  expect(fs.readdirSync(to).sort()).toEqual(["boot_id", "uuid"]);
});

test("patterns that take long for many long paths hold up no other VM, and an abort ends them", async () => {
  const to = temporaryDirectory();
  const other = await boot();
  const levels = 400;
  const into = `mkdir ${"a".repeat(250)} && cd ${"a".repeat(250)}`;
  const make = `mkdir long && cd long && for i in {1..${levels}}; do ${into}; done && seq 200000 | xargs touch`;
  await output(vm, `exec bash -c '${make}'`);
  const controller = new AbortController();
  const options = { exclude: ["/x/*.o", "**/x/*.y/"], signal: controller.signal };
  const depth = () => Number(sh(to, "find . -mindepth 1 -type d -printf x | wc -c"));
  try {
    const aborted = rejection(vm.downloadDirectory("/home/user/long", to, options));
    // The last directories follow when the names in the last one have been compared.
    await until(() => depth() > levels - 100);
    // To compare the names takes many times as long as these, and if it held them up, it would be over after the first.
    for (let i = 0; i < 20; i++) await output(other, "true");
    controller.abort();
    expect(await aborted).toMatchObject({ code: "ABORTED" });
    expect(depth()).toBeLessThan(levels);
  } finally {
    // Deeper than Node.js removes.
    sh(to, "rm -rf *");
  }
});

test("a wrong argument is INVALID_ARGUMENT, and a missing directory is the kernel's error with its path", async () => {
  const from = temporaryDirectory();
  const refused = { code: "INVALID_ARGUMENT" };
  for (const args of [
    [from, "x"],
    ["", "/x"],
    [1, "/x"],
    [`${from}\0`, "/x"],
    [from, "/x", { exclude: "x" }],
    [from, "/x", { exclude: ["["] }],
    [from, "/x", { exclude: Array(257).fill("x") }],
    [from, "/x", { exclude: ["x".repeat(1025)] }],
    [from, "/x", { maxBytes: -1 }],
    [from, "/x", { maxEntries: 1.5 }],
    [from, "/x", { onProgress: true }],
    [from, "/x", { signal: {} }],
    [from, "/x", { filter: () => true }],
    [from, "/x", {}, 1],
  ]) {
    expect(await rejection(vm.uploadDirectory(...args))).toMatchObject(refused);
    const [hostPath, inside, ...rest] = args;
    expect(await rejection(vm.downloadDirectory(inside, hostPath, ...rest))).toMatchObject(refused);
  }
  const none = path.join(from, "none");
  expect(await rejection(vm.uploadDirectory(none, "/home/user/x"))).toMatchObject({ code: "ENOENT", path: none });
  fs.writeFileSync(path.join(from, "file"), "");
  expect(await rejection(vm.uploadDirectory(path.join(from, "file"), "/home/user/x"))).toMatchObject({
    code: "ENOTDIR",
  });
  expect(await rejection(vm.downloadDirectory("/none", from))).toMatchObject({ code: "ENOENT", path: "/none" });
  expect(await rejection(vm.uploadDirectory(from, "/usr/x"))).toMatchObject({ code: expect.stringMatching(/^E/) });
  const gone = await AgentVm.create();
  await gone.dispose();
  expect(await rejection(gone.uploadDirectory(from, "/x"))).toMatchObject({ code: "VM_DISPOSED" });
});

test("a directory is not copied into itself", async () => {
  const shared = temporaryDirectory();
  fs.chmodSync(shared, 0o777);
  fs.writeFileSync(path.join(shared, "f"), "x");
  fs.mkdirSync(path.join(shared, "to"));
  const mounted = await boot({ mounts: [{ hostPath: shared, path: "/shared", readOnly: false }] });
  expect(await rejection(mounted.downloadDirectory("/shared", path.join(shared, "to")))).toMatchObject({
    code: "EINVAL",
    path: "/shared/to",
  });
  await mounted.dispose();
});

test("the end of the VM ends its copies", async () => {
  const to = temporaryDirectory();
  const ending = await boot({ limits: { diskBytes: 2 ** 30 } });
  await output(ending, "mkdir large && yes | dd of=large/g bs=1M count=400 iflag=fullblock status=none");
  const copies = [1, 2, 3].map((each) =>
    rejection(ending.downloadDirectory("/home/user/large", path.join(to, `${each}`))),
  );
  await until(() => fs.existsSync(path.join(to, "1")));
  await ending.dispose();
  for (const error of await Promise.all(copies)) expect(error).toMatchObject({ code: "VM_DISPOSED" });
});

const busy = (call) => `
  const vm = await AgentVm.create();
  await vm.exec("mkdir t && for i in $(seq 3000); do echo $i > t/$i; done && dd if=/dev/zero of=t/large bs=1M count=300 status=none");
  console.log("ready");
  for (;;) await ${call};`;

test("killing the server in the middle of an upload leaves the host as it was", async () => {
  const from = temporaryDirectory();
  for (let i = 0; i < 500; i++) fs.writeFileSync(path.join(from, `f${i}`), "x".repeat(i));
  const before = look(from);
  const server = nodeScript(busy(`vm.uploadDirectory(${JSON.stringify(from)}, "/home/user/up")`));
  await server.line();
  server.child.kill("SIGKILL");
  expect(await server.ended).toMatchObject({ signal: "SIGKILL" });
  expectSame(look(from), before);
});

test("killing the server in the middle of a download leaves whole files and temporary ones", async () => {
  const to = temporaryDirectory();
  const server = nodeScript(busy(`vm.downloadDirectory("/home/user/t", ${JSON.stringify(to)})`));
  await server.line();
  await until(() => fs.readdirSync(to).length > 100);
  server.child.kill("SIGKILL");
  await server.ended;
  const names = fs.readdirSync(to).filter((name) => !/^\.agent-vm-[0-9a-f]{16}-\d+\.tmp$/.test(name));
  const isWhole = (name) => {
    const content = fs.readFileSync(path.join(to, name));
    return name === "large" ? content.length === 300 * 2 ** 20 : content.toString() === `${name}\n`;
  };
  expect(names.filter((name) => !isWhole(name))).toEqual([]);
});
