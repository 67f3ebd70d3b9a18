"use strict";
// The host's file calls as a deputy: through no link do they write a file that the guest itself could not write.

const { rejection } = require("../fixture/promises");
const { boot, output } = require("../fixture/vm");

let vm;

beforeEach(async () => {
  vm = await boot();
});

test("writeFile writes nothing in /proc, through no link, and changes nothing there", async () => {
  const { pid } = await vm.spawn("sleep", ["1000"]);
  const files = ["autogroup", "oom_score_adj", "comm", "coredump_filter", "clear_refs", "timerslack_ns"];
  const state = () =>
    output(vm, `cd /proc/${pid}; cat autogroup oom_score_adj comm coredump_filter timerslack_ns 2>&1; true`);
  const before = await state();
  for (const file of files) {
    for (const process of [pid, "self", "thread-self"]) {
      const path = `/proc/${process}/${file}`;
      await output(vm, `ln -sfn ${path} link`);
      for (const way of [path, "/home/user/link"]) {
        const error = await rejection(vm.writeFile(way, "-20"));
        expect({ way, code: error.code }).toEqual({
          way,
          code: expect.stringMatching(/^(EACCES|EPERM|ELOOP|ENOENT|EROFS)$/),
        });
      }
      const [written] = await vm.writeFiles([{ path: "/home/user/link", content: "1000" }]);
      expect(written).toMatchObject({ success: false });
    }
  }
  expect(await state()).toBe(before);
});

test("file calls refuse to write /proc files, also those that the guest may write itself", async () => {
  const { pid } = await vm.spawn("sleep", ["1000"]);
  await output(vm, `ln -s /proc/${pid}/oom_score_adj score; ln -s /proc/${pid}/comm name`);
  await expect(vm.writeFile("/home/user/score", "900")).rejects.toMatchObject({ code: "EACCES", syscall: "open" });
  await expect(vm.writeFile("/home/user/name", "other")).rejects.toMatchObject({ code: "EACCES" });
  expect(await output(vm, `cat /proc/${pid}/oom_score_adj /proc/${pid}/comm`)).toBe("0\nsleep\n");
  // Reading works as before.
  expect(Buffer.from(await vm.readFile("/home/user/name")).toString()).toBe("sleep\n");
});

test("writing still empties, makes and follows as documented", async () => {
  await output(vm, "printf longer > file; ln -s file link; chmod 666 file");
  await vm.writeFile("/home/user/link", "abc");
  expect(await output(vm, "cat file; stat -c ' %a %s' file; readlink link")).toBe("abc 666 3\nfile\n");
  await vm.writeFile("/home/user/file", "");
  expect((await vm.stat("/home/user/file")).size).toBe(0);
  await expect(vm.writeFile("/dev/null", "x")).rejects.toMatchObject({ code: "EINVAL" });
});

test("a directory that may be listed but not searched is listed", async () => {
  await output(vm, "mkdir -p some/dir; echo x > some/file; chmod 444 some");
  expect(await vm.readdir("/home/user/some")).toEqual(["dir", "file"]);
  const found = await vm.readdirRecursive("/home/user/some");
  expect(found.map(({ path, type }) => `${type} ${path}`)).toEqual([
    "directory /home/user/some/dir",
    "file /home/user/some/file",
  ]);
  await output(vm, "chmod 755 some");
});
