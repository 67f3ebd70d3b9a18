"use strict";
// What a guest's directories, output and files can do to a server that lists and reads them.

const fs = require("node:fs");

const { rejection, until } = require("../fixture/promises");
const { boot, output } = require("../fixture/vm");

/**
 * The longest time, in milliseconds, that the event loop was blocked while `work` ran. It is measured as this thread's
 * processor time, so that other load on the machine does not count.
 */
async function longestHold(work) {
  const spent = () => Number(fs.readFileSync("/proc/thread-self/schedstat", "utf8").split(" ")[0]) / 1e6;
  let last = spent();
  let longest = 0;
  const timer = setInterval(() => {
    const now = spent();
    longest = Math.max(longest, now - last);
    last = now;
  }, 1);
  try {
    await work();
  } finally {
    clearInterval(timer);
  }
  return longest;
}

/** Makes directories. Everybody may change them: with a range of ids, file calls of an ordinary user's server act as `user`. */
async function nested(vm, depth, name) {
  const script = `
import os
os.umask(0)
os.mkdir("/home/user/deep")
os.chdir("/home/user/deep")
for _ in range(${depth}):
    os.mkdir(${name})
    os.chdir(${name})`;
  const { exitCode, stderr } = await vm.execFile("python3", ["-c", script]);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
}

test("directories that are too much for one listing end the call, and nothing else", async () => {
  const vm = await boot();
  await nested(vm, 850, '"\\x01" * 255');
  await expect(vm.readdirRecursive("/home/user")).rejects.toMatchObject({
    code: "LIMIT_EXCEEDED",
    message: expect.stringContaining("64 MiB"),
  });
  expect(await vm.readdirRecursive("/home/user", { maxDepth: 10 })).toHaveLength(11);
  await vm.delete("/home/user/deep", { recursive: true });
  expect(await vm.readdir("/home/user")).toEqual([]);
}, 120_000);

test("a tree deeper than 4,096 directories is listed to a depth, or not at all, and deleted at few descriptors", async () => {
  const vm = await boot();
  await nested(vm, 5000, '"a"');
  await expect(vm.readdirRecursive("/home/user")).rejects.toMatchObject({
    code: "LIMIT_EXCEEDED",
    message: expect.stringContaining("4096"),
  });
  expect(await vm.readdirRecursive("/home/user", { maxDepth: 100 })).toHaveLength(101);
  const before = fs.readdirSync("/proc/self/fd").length;
  let most = 0;
  const counting = setInterval(() => {
    most = Math.max(most, fs.readdirSync("/proc/self/fd").length);
  }, 5);
  await vm.delete("/home/user/deep", { recursive: true });
  clearInterval(counting);
  expect(most).toBeLessThan(before + 40);
  expect(await vm.readdir("/home/user")).toEqual([]);
}, 120_000);

test("200,000 files are listed without holding the event loop", async () => {
  const vm = await boot({ limits: { diskBytes: 2 * 1024 ** 3 } });
  const script = `
import os
for number in range(200_000):
    if number % 10_000 == 0:
        path = f"/home/user/{'d' * 150}/{number:06}"
        os.makedirs(path)
        os.chdir(path)
    os.close(os.open(f"{number:0>100}", os.O_CREAT))`;
  expect((await vm.execFile("python3", ["-c", script])).exitCode).toBe(0);
  let found;
  const hold = await longestHold(async () => {
    found = await vm.readdirRecursive("/home/user");
  });
  expect(found).toHaveLength(200_021);
  expect(found[21].path).toMatch(/\/0{100}$/);
  expect(new Set(found.map(({ path }) => path)).size).toBe(200_021);
  // V8 may use half of it for garbage collection. A listing in one piece took 500.
  expect(hold).toBeLessThan(60);
}, 120_000);

test("output whose text is longer than JavaScript takes in one piece of UTF-8 is returned whole", async () => {
  const vm = await boot();
  const bytes = 180_000_000;
  const { stdout, stdoutTruncated } = await vm.exec(`head -c ${bytes} /dev/zero | tr '\\0' '\\377'`, {
    maxOutputBytes: 200_000_000,
  });
  expect(stdoutTruncated).toBe(false);
  expect(stdout.length).toBe(bytes);
  expect(stdout[0] + stdout[bytes - 1]).toBe("\ufffd\ufffd");
}, 120_000);

test("a deleted directory takes nothing with it that links lead to, and stops at mounts", async () => {
  const vm = await boot();
  await output(vm, "umask 0; mkdir -p top/below /tmp/kept; echo kept > /tmp/kept/file; ln -s /tmp/kept top/below/link");
  await vm.delete("/home/user/top", { recursive: true });
  expect(await output(vm, "cat /tmp/kept/file; ls")).toBe("kept\n");
  await output(vm, "echo kept > file");
  expect((await rejection(vm.delete("/home/user", { recursive: true }))).code).toMatch(/^(EBUSY|EACCES|EROFS)$/);
  expect(await output(vm, "cat file")).toBe("kept\n");
});

test("a directory that another process fills is deleted, or the call says so", async () => {
  const vm = await boot();
  await output(vm, "umask 0; mkdir -p top/a/b");
  const { pid } = await vm.spawn("python3", [
    "-c",
    `
import os
os.umask(0)
print("up", flush=True)
while True:
    for path in ("top/a/b/c", "top/d/e"):
        try: os.makedirs(path)
        except OSError: pass
    try: os.rename("top/a/b", "moved"); os.rename("moved", "top/b")
    except OSError: pass`,
  ]);
  const outcomes = [];
  for (let round = 0; round < 20; round++) {
    const deleted = vm.delete("/home/user/top", { recursive: true });
    outcomes.push(
      await deleted.then(
        () => "done",
        (error) => error.code,
      ),
    );
  }
  expect(outcomes.filter((code) => !/^(done|ENOENT|ENOTEMPTY|EBUSY)$/.test(code))).toEqual([]);
  await vm.killProcess(pid);
  await until(async () => {
    await output(vm, "umask 0; mkdir -p top");
    await vm.delete("/home/user/top", { recursive: true });
    return true;
  });
  expect(await vm.exists("/home/user/top")).toBe(false);
});

test("however many listings of deep trees are asked for at once, the server opens few directories for them", async () => {
  const vm = await boot();
  // The sibling at each level keeps the directory above it open until its turn.
  await output(
    vm,
    `python3 -c '
import os
for level in range(2000):
    os.mkdir("a"); os.mkdir("b"); os.chdir("a")'`,
  );
  const descriptors = () => fs.readdirSync("/proc/self/fd").length;
  const before = descriptors();
  let most = 0;
  let pending = true;
  const listings = Promise.all(Array.from({ length: 32 }, () => vm.readdirRecursive("/home/user"))).finally(() => {
    pending = false;
  });
  while (pending) {
    most = Math.max(most, descriptors() - before);
    await new Promise(setImmediate);
  }
  for (const listed of await listings) expect(listed).toHaveLength(4000);
  // 4 listings at a time, each with one directory for every 64 levels and a few more.
  expect(most).toBeLessThan(4 * 50);
}, 120_000);
