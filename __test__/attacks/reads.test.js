"use strict";
// The memory that a guest's files cost a server that reads them.

const fs = require("node:fs");

const { rejection } = require("../fixture/promises");
const { boot, output } = require("../fixture/vm");

const MiB = 1024 * 1024;

/** The resident memory of this process, in bytes. */
function resident() {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(fs.readFileSync("/proc/self/status", "utf8"))[1]) * 1024;
}

test("a file of more than maxBytes is not read, and the error names the bound", async () => {
  const vm = await boot();
  await output(vm, "printf 12345 > five; : > none; truncate -s 1500M sparse");
  expect(Buffer.from(await vm.readFile("/home/user/five", { maxBytes: 5 })).toString()).toBe("12345");
  expect(await vm.readFile("/home/user/none", { maxBytes: 0 })).toHaveLength(0);
  for (const [path, maxBytes] of [
    ["/home/user/five", 4],
    ["/home/user/five", 0],
    ["/home/user/sparse", 1024],
    // It reports a size of 0.
    ["/proc/cpuinfo", 10],
  ]) {
    await expect(vm.readFile(path, { maxBytes })).rejects.toMatchObject({
      code: "EFBIG",
      errno: -27,
      syscall: "read",
      path,
      message: expect.stringContaining(`at most ${maxBytes} bytes are read (maxBytes)`),
    });
  }
  const [five, sparse] = await vm.readFiles(["/home/user/five", "/home/user/sparse"], { maxBytes: 5 });
  expect(five).toEqual({ path: "/home/user/five", content: Buffer.from("12345") });
  expect(sparse).toMatchObject({ content: null, error: expect.stringMatching(/^EFBIG/) });
});

test.each([["utf9"], [{ maxBytes: -1 }], [{ maxBytes: "5" }], [{ maxBytes: 2 ** 31 }], [{ encoding: "utf9" }], [null]])(
  "readFile(path, %j) is an invalid argument",
  async (options) => {
    const vm = await boot();
    await expect(vm.readFile("/etc/hostname", options)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(vm.readFiles(["/etc/hostname"], options)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  },
);

test("many large reads at once share 256 MiB, and small ones of another VM have their turn", async () => {
  const [vm, other] = await Promise.all([boot(), boot()]);
  await output(vm, "truncate -s 130M sparse");
  await output(other, "echo small > small");
  const before = resident();
  const reads = Array.from({ length: 4 }, () => vm.readFile("/home/user/sparse"));
  // While JavaScript is busy it takes no results, so the server holds everything that was read. On a busy machine
  // reading is slow, so the loop waits until three seconds have brought nothing more.
  let most = before;
  for (let last = Date.now(); Date.now() < last + 3000 && most - before < 200 * MiB;) {
    const now = resident();
    if (now < most + MiB) continue;
    most = now;
    last = Date.now();
  }
  expect(most - before).toBeLessThan(200 * MiB);
  const small = other.readFile("/home/user/small");
  for (const read of reads) expect(await read).toHaveLength(130 * MiB);
  expect(Buffer.from(await small).toString()).toBe("small\n");
}, 120_000);

test("reads that wait end with their VM, and give back what they hold", async () => {
  const [vm, other] = await Promise.all([boot(), boot()]);
  await output(vm, "truncate -s 1900M sparse");
  await output(other, "truncate -s 10M sparse");
  const read = () =>
    vm.readFile("/home/user/sparse").then(
      () => "read",
      (error) => error.code,
    );
  const reads = Array.from({ length: 6 }, read);
  await vm.dispose();
  const codes = await Promise.all(reads);
  expect(codes.filter((code) => code === "VM_DISPOSED").length).toBeGreaterThan(3);
  expect(await other.readFile("/home/user/sparse")).toHaveLength(10 * MiB);
}, 120_000);

test("a file that grows while it is read is bounded too", async () => {
  const vm = await boot();
  await output(vm, "head -c 1000000 /dev/zero > grows");
  const { pid } = await vm.spawn("sh", ["-c", "while :; do head -c 1000000 /dev/zero; done >> grows"]);
  const read = await rejection(
    vm.readFile("/home/user/grows", { maxBytes: 1 * MiB }).then(() => {
      // It may have been read before it grew; if not, it is too large.
      return vm.readFile("/home/user/grows", { maxBytes: 1000 }).then(({ length }) => length);
    }),
  );
  expect(read.code).toBe("EFBIG");
  await vm.killProcess(pid);
  const grown = await vm.stat("/home/user/grows");
  expect(await vm.readFile("/home/user/grows")).toHaveLength(grown.size);
});

test("one VM's reads of the largest files do not make another VM's wait for them all", async () => {
  const [vm, other] = await Promise.all([boot(), boot()]);
  const [home, homeOfOther] = await Promise.all([vm, other].map((each) => output(each, "printf %s $HOME")));
  await output(vm, "truncate -s 500M sparse");
  await output(other, "echo small > small; truncate -s 5M medium");
  const ended = [];
  const reads = Array.from({ length: 8 }, () =>
    vm.readFile(`${home}/sparse`).then(({ length }) => {
      ended.push("large");
      return length;
    }),
  );
  const others = ["small", "medium"].map((name) =>
    other.readFile(`${homeOfOther}/${name}`).then(() => ended.push(name)),
  );
  await Promise.all(others);
  // One read may run, one may have waited before, and one may have been settled meanwhile.
  expect(ended.filter((name) => name === "large").length).toBeLessThanOrEqual(3);
  expect(await Promise.all(reads)).toEqual(Array(8).fill(500 * MiB));
});
