"use strict";
// Programs and archives that attack the calls which move whole trees: the server opens and makes files of the VM itself there, and
// a program inside changes what it can at the same time.

const { execFileSync, spawnSync } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");

const { temporaryDirectory } = require("../fixture/directory");
const { rejection } = require("../fixture/promises");
const { END, entry } = require("../fixture/tar");
const { boot, output } = require("../fixture/vm");

test("what is mounted is not taken away through another mount of its directory", async () => {
  const [shared, trusted, from] = Array.from({ length: 3 }, temporaryDirectory);
  fs.writeFileSync(path.join(shared, "config"), "below");
  fs.writeFileSync(path.join(trusted, "config"), "trusted");
  fs.writeFileSync(path.join(from, "config"), "theirs");
  const vm = await boot({
    mounts: [
      { path: "/work", hostPath: shared, readOnly: false },
      { path: "/work/config", hostPath: path.join(trusted, "config") },
      { path: "/other", hostPath: shared, readOnly: false },
    ],
  });
  // The kernel refuses that to the VM's processes, though nothing is mounted at this path, and would allow it to the server's.
  expect((await vm.exec("rm -f /other/config")).stderr).toMatch(/busy/);
  const archive = () => [entry("config", { content: "theirs" }), END];
  const link = () => [entry("config", { type: "2", link: "/etc/passwd" }), END];
  for (const call of [
    () => vm.uploadDirectory(from, "/other"),
    () =>
      vm.writeArchive(
        "/other",
        (async function* () {
          yield* archive();
        })(),
      ),
    () =>
      vm.writeArchive(
        "/other",
        (async function* () {
          yield* link();
        })(),
      ),
  ]) {
    expect(await rejection(call())).toMatchObject({ code: "EBUSY", path: "/other/config" });
  }
  expect(await output(vm, "cat /work/config /other/config")).toBe("trustedbelow");
});

/** A record of an extended header, with a value of `length` bytes. */
function record(key, length, content) {
  const rest = key.length + length + 3;
  let all = rest + 1;
  while (all !== rest + String(all).length) all = rest + String(all).length;
  return Buffer.concat([Buffer.from(`${all} ${key}=`), Buffer.alloc(length, content), Buffer.from("\n")]);
}

test.each([
  ["the name of a file", "path", "0", "x", "ENAMETOOLONG"],
  ["the target of a link", "linkpath", "2", "x", "ENAMETOOLONG"],
  ["a path of many directories", "path", "0", "x/", "LIMIT_EXCEEDED"],
])("%s that no kernel takes is refused before more of the archive is read", async (_what, key, type, content, code) => {
  const vm = await boot();
  const header = record(key, 2 * 2 ** 20 - 64, content);
  let count = 0;
  const archive = async function* () {
    for (; count < 64; count++) yield Buffer.concat([entry("h", { type: "x", content: header }), entry("f", { type })]);
    yield END;
  };
  const error = await rejection(vm.writeArchive("/home/user/t", archive()));
  expect(error).toMatchObject({ code });
  expect(error.message.length).toBeLessThan(400);
  // As many as are on their way at a time.
  expect(count).toBeLessThan(8);
});

const NAMES = ["a", "b", "c", "d", "e"];

/** Python that changes names, types, modes, links and sizes below the working directory at random, for ever. */
const CHANGES = `
import os, random, shutil, socket, sys
names = ${JSON.stringify(NAMES)}
targets = ["/work/.git/hooks", "/work/config", "/shown", "/shown/f", "/etc/passwd", "..", "../..", "/proc/self/fd", "/proc/1/root"]
random.seed(int(sys.argv[1]))
def name():
    return random.choice(["", "", "", "", "../../.git/hooks/", "../"]) + "/".join(random.choices(names, k=random.randint(1, 3)))
def fifo(): os.mkfifo(name())
def bound():
    with socket.socket(socket.AF_UNIX) as made: made.bind(name())
def written():
    fd = os.open(name(), os.O_CREAT | os.O_RDWR | os.O_NONBLOCK, 0o777)
    try:
        os.write(fd, b"inside")
        os.ftruncate(fd, random.choice([0, 5, 70000, 1 << 20]))
        os.fchmod(fd, random.choice([0o4755, 0o2755, 0o644]))
    finally: os.close(fd)
def protected(): os.rename(*random.choice([(name(), "/work/config"), ("/work/config", name()), ("/work/.git", name()), (name(), "/work/missing")]))
changes = [
    lambda: os.mkdir(name()), lambda: os.rename(name(), name()), lambda: os.rename(name(), name()), lambda: os.unlink(name()),
    lambda: os.rmdir(name()), lambda: os.symlink(random.choice(targets), name()), lambda: os.link(name(), name(), follow_symlinks=False),
    lambda: os.chmod(name(), random.choice([0o700, 0o6777, 0o1777, 0o755])), fifo, bound, written, written, protected,
]
while True:
    for _ in range(500):
        try: random.choice(changes)()
        except OSError: pass
    # They would grow for ever: directories are moved into each other.
    for top in names: shutil.rmtree(top, ignore_errors=True)
`;

/** Writes a tree in which the same names are files, directories and links, and makes an archive of it. */
function tree(round) {
  const directory = temporaryDirectory();
  const fill = (at, depth) => {
    for (const [number, name] of NAMES.entries()) {
      const [file, kind] = [path.join(at, name), (round + number + depth * 2) % 4];
      if (kind === 0 && depth < 2) {
        fs.mkdirSync(file);
        fill(file, depth + 1);
      } else if (kind === 1) {
        fs.symlinkSync(["/etc/passwd", "../..", "/work/.git/hooks"][number % 3], file);
      } else {
        fs.writeFileSync(file, "outside".repeat(number * 5000), { mode: 0o755 });
        fs.chmodSync(file, 0o6755);
      }
    }
  };
  fill(directory, 0);
  return [directory, execFileSync("tar", ["-C", directory, "-c", "."], { maxBuffer: 2 ** 28 })];
}

/** Everything below a directory: paths and attributes. */
function* below(directory) {
  for (const name of fs.readdirSync(directory)) {
    const found = path.join(directory, name);
    const stat = fs.lstatSync(found);
    yield [found, stat];
    if (stat.isDirectory()) yield* below(found);
  }
}

/** Files with a set-id bit. */
const withSetId = (directory) =>
  spawnSync("find", [directory, "-type", "f", "-perm", "/6000"], { encoding: "utf8" }).stdout;

const descriptors = () => fs.readdirSync("/proc/self/fd").length;

test("programs that change a tree in every way while it is copied lead nothing out, and reach nothing protected", async () => {
  const [work, shown] = [temporaryDirectory(), temporaryDirectory()];
  fs.mkdirSync(path.join(work, ".git/hooks"), { recursive: true });
  fs.mkdirSync(path.join(work, "x/t"), { recursive: true });
  for (const [name, content] of [
    [".git/hooks/h", "hook"],
    ["config", "config"],
  ]) {
    fs.writeFileSync(path.join(work, name), content);
  }
  fs.writeFileSync(path.join(shown, "f"), "shown");
  const vm = await boot({
    mounts: [
      { path: "/work", hostPath: work, readOnly: false, protect: [".git/hooks/", "config", "missing"] },
      { path: "/shown", hostPath: shown },
    ],
  });
  await output(vm, "mkdir -p ~/x/t");
  for (const [number, cwd] of ["/work/x/t", "/home/user/x/t"].entries()) {
    await vm.spawn("python3", ["-c", CHANGES, String(number)], { cwd });
  }
  const before = descriptors();
  const outcomes = new Set();
  for (let round = 0; round < 12; round++) {
    const there = round % 2 === 0 ? "/work/x/t" : "/home/user/x/t";
    const [[from, archive], to] = [tree(round), temporaryDirectory()];
    const read = async () => {
      for await (const piece of vm.readArchive(there)) expect(piece.includes("root:x:")).toBe(false);
    };
    const calls = [
      vm.uploadDirectory(from, there),
      vm.downloadDirectory(there, to),
      read(),
      vm.writeArchive(
        there,
        (async function* () {
          yield archive;
        })(),
      ),
    ];
    for (const { status, reason } of await Promise.allSettled(calls)) outcomes.add(status + (reason?.code ?? ""));
    const found = [...below(to)];
    const odd = found.filter(
      ([file, stat]) =>
        !(stat.isFile() || stat.isDirectory() || stat.isSymbolicLink()) || path.basename(file).startsWith(".agent-vm-"),
    );
    const setId = found.filter(([, stat]) => !stat.isSymbolicLink() && stat.mode & 0o6000);
    // Nothing but the letters of what is written here, in any part.
    const files = found.filter(([, stat]) => stat.isFile()).map(([file]) => fs.readFileSync(file, "latin1"));
    expect([odd, setId, files.filter((content) => !/^[deinostu\0]*$/.test(content))]).toEqual([[], [], []]);
    expect(withSetId(work)).toBe("");
  }
  // Both of it was tried: copies that came to their end, and copies that the programs stopped.
  expect([...outcomes].sort().join(" ")).toMatch(/fulfilled.*rejectedE/);
  expect(descriptors()).toBeLessThan(before + 32);
  await vm.dispose();
  expect(withSetId(work)).toBe("");
  expect(fs.readdirSync(path.join(work, ".git/hooks"))).toEqual(["h"]);
  expect(fs.existsSync(path.join(work, "missing"))).toBe(false);
  const read = (...names) => fs.readFileSync(path.join(...names), "utf8");
  expect([read(work, ".git/hooks/h"), read(work, "config"), read(shown, "f")]).toEqual(["hook", "config", "shown"]);
  expect(fs.readdirSync(shown)).toEqual(["f"]);
}, 120_000);
