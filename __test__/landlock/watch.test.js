"use strict";
const { once, takeUntil } = require("../fixture/mirror");
const { rejection } = require("../fixture/promises");
const { boot, output } = require("../fixture/vm");

test("files are watched where programs may read, although programs have no inotify", async () => {
  const vm = await boot({ isolation: "landlock" });
  const home = (await output(vm, "pwd")).trim();
  await output(vm, "mkdir d");
  const watcher = vm.watch(home, { recursive: true });
  await watcher.ready;
  await output(vm, "echo 1 > d/f; mv d e; touch e/end");
  expect(once(await takeUntil(watcher, `${home}/e/end`))).toEqual([
    { type: "created", path: `${home}/d/f` },
    { type: "changed", path: `${home}/d/f` },
    { type: "renamed", path: `${home}/e`, from: `${home}/d` },
    { type: "created", path: `${home}/e/end` },
  ]);
  await watcher.return();
  const outside = vm.watch("/root");
  expect(["EACCES", "ENOENT"]).toContain((await rejection(outside.ready)).code);
  expect((await rejection(vm.watch("/etc/ssh", { recursive: true }).ready)).code).toMatch(/^(EACCES|ENOENT)$/);
});
