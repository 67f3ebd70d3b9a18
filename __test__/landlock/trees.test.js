"use strict";
// Trees in and out of a VM without namespaces, whose directories are the host's.
const fs = require("node:fs");
const path = require("node:path");

const { temporaryDirectory } = require("../fixture/directory");
const { rejection } = require("../fixture/promises");
const { atLevel, boot, output } = require("../fixture/vm");

atLevel("landlock");

test("trees come in and out with modes, times and links, and with the programs' rights only", async () => {
  const vm = await boot();
  const home = (await output(vm, "echo $HOME")).trim();
  const [from, to, outside] = [temporaryDirectory(), temporaryDirectory(), temporaryDirectory()];
  fs.mkdirSync(path.join(from, "d", "e"), { recursive: true });
  fs.writeFileSync(path.join(from, "d", "f"), "x", { mode: 0o640 });
  fs.symlinkSync("d/f", path.join(from, "l"));
  const time = new Date("2001-02-03T04:05:06.789Z");
  for (const name of ["d/f", "d/e", "d"]) fs.utimesSync(path.join(from, name), time, time);
  fs.chmodSync(path.join(from, "d"), 0o750);
  const totals = { files: 1, directories: 2, links: 1, bytes: 1, skipped: 0 };
  expect(await vm.uploadDirectory(from, `${home}/in`)).toEqual(totals);
  expect(await output(vm, "cd in && stat -c '%a %Y %n' d d/f d/e && readlink l && cat l")).toBe(
    "750 981173106 d\n640 981173106 d/f\n755 981173106 d/e\nd/f\nx",
  );
  expect(await vm.downloadDirectory(`${home}/in`, to)).toEqual(totals);
  expect(fs.readFileSync(path.join(to, "l"), "utf8")).toBe("x");
  expect(fs.statSync(path.join(to, "d")).mtime).toEqual(time);
  const refused = { code: expect.stringMatching(/^(EACCES|ENOENT|EROFS|EPERM)$/) };
  expect(await rejection(vm.uploadDirectory(from, path.join(outside, "x")))).toMatchObject(refused);
  expect(await rejection(vm.downloadDirectory(outside, to))).toMatchObject(refused);
  expect(fs.readdirSync(outside)).toEqual([]);
});
