"use strict";
// Programs for another processor mode: a 32-bit program ends with a signal and a message that name the cause.

const { execFileSync, spawnSync } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");
const { temporaryDirectory } = require("./fixture/directory");
const { boot } = require("./fixture/vm");

if (process.arch === "x64") {
  /** Prints a line and exits with 7, by i386 system calls; it needs no library. */
  const SOURCE = `
static int call(int number, int one, const void *two, int three) {
    int result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(one), "c"(two), "d"(three) : "memory");
    return result;
}
void _start(void) { call(4, 1, "ran\\n", 4); call(1, 7, 0, 0); for (;;) ; }`;

  function program() {
    const file = path.join(temporaryDirectory(), "program");
    execFileSync("gcc", ["-m32", "-nostdlib", "-static", "-fno-pic", "-x", "c", "-", "-o", file], { input: SOURCE });
    return file;
  }

  test.each(["namespaces", "landlock"])(
    "with %s, a 32-bit program ends with SIGSYS, and its shell says so",
    async (isolation) => {
      const file = program();
      const onHost = spawnSync(file, { encoding: "utf8" });
      // A kernel that runs no 32-bit programs reports that itself.
      const runs = onHost.error === undefined;
      if (runs && onHost.stdout !== "ran\n") throw new Error(JSON.stringify(onHost));

      const vm = await boot({ isolation });
      await vm.exec("mkdir -p $HOME/bin");
      const home = (await vm.exec("cd; pwd")).stdout.trim();
      await vm.writeFile(`${home}/program`, fs.readFileSync(file));
      const inShell = await vm.exec("chmod 755 program; ./program; echo after", { cwd: home });
      expect(inShell).toMatchObject({
        stdout: "after\n",
        stderr: expect.stringMatching(runs ? /Bad system call/ : /Exec format/),
      });
      const alone = await vm.execFile(`${home}/program`).catch((error) => ({ code: error.code }));
      expect(alone).toMatchObject(runs ? { exitCode: 159, signal: "SIGSYS", stdout: "" } : { code: "ENOEXEC" });
    },
  );
}

test("a program for another processor is refused", async () => {
  const vm = await boot();
  // The ELF header of a program for the other of the two supported architectures.
  const machine = process.arch === "x64" ? 0xb7 : 0x3e;
  const head = Buffer.from([
    0x7f,
    0x45,
    0x4c,
    0x46,
    2,
    1,
    1,
    ...Array(9).fill(0),
    2,
    0,
    machine,
    0,
    1,
    ...Array(43).fill(0),
  ]);
  await vm.writeFile("/tmp/program", head);
  const { exitCode, stderr } = await vm.exec("chmod 755 /tmp/program; /tmp/program");
  expect({ exitCode, stderr }).toMatchObject({ exitCode: 126, stderr: expect.stringContaining("Exec format error") });
});
