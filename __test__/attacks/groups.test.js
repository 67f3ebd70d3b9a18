"use strict";
// The groups of an ordinary user's server. With a range of ids no program inside has them, and then no call of the server may use
// them either.

const fs = require("node:fs");
const path = require("node:path");

const { temporaryDirectory } = require("../fixture/directory");
const { rejection } = require("../fixture/promises");
const { hasRange } = require("../fixture/subordinate");
const { boot, output } = require("../fixture/vm");

/** The group inside of which scripts/test-as.sh makes the server's user a member, if it has subordinate ids. */
const GROUP = 42;
const OUTSIDE = 1_200_000_042;

if (!hasRange()) {
  test("without a range, `user` has the single id that it needs", async () => {
    const vm = await boot();
    expect(await output(vm, "id -u", { user: "user" })).toBe("1000\n");
  });
} else {
  // A root server gives up all groups, and has the right to.
  if (process.getuid() !== 0) {
    test("the server is a member of that group", () => {
      expect(process.getgroups()).toContain(OUTSIDE);
    });
  }

  test("what a program may not do, no file call does by the server's groups", async () => {
    const vm = await boot({ ids: "range", user: "user" });
    const asRoot = { user: "root", cwd: "/" };
    await output(
      vm,
      `mkdir -p /tmp/g/t/d /tmp/g/w && echo secret > /tmp/g/t/f && echo secret > /tmp/g/t/d/g && mkdir /tmp/g/closed && echo x > /tmp/g/closed/f
       chgrp -R ${GROUP} /tmp/g/t /tmp/g/w /tmp/g/closed && chmod 640 /tmp/g/t/f && chmod 750 /tmp/g/t/d /tmp/g/closed && chmod 770 /tmp/g/w && chmod 755 /tmp/g /tmp/g/t`,
      asRoot,
    );
    // The kernel refuses each to programs of `user`.
    const { stdout, stderr } = await vm.exec(
      "id -G; cat /tmp/g/t/f; ls /tmp/g/t/d; touch /tmp/g/w/f; ls /tmp/g/closed",
      {
        user: "user",
      },
    );
    expect(stdout).toBe("1000\n");
    expect(stderr.match(/denied/g)).toHaveLength(4);

    const to = temporaryDirectory();
    const from = temporaryDirectory();
    fs.writeFileSync(path.join(from, "f"), "x");
    const archive = async () => {
      for await (const piece of vm.readArchive("/tmp/g/t")) expect(piece.includes("secret")).toBe(false);
    };
    for (const call of [
      () => vm.readFile("/tmp/g/t/f"),
      () => vm.readFile("/tmp/g/t/d/g"),
      () => vm.readdir("/tmp/g/closed"),
      () => vm.stat("/tmp/g/closed/f"),
      () => vm.writeFile("/tmp/g/w/f", "x"),
      () => vm.downloadDirectory("/tmp/g/t", to, { exclude: ["d"] }),
      () => vm.downloadDirectory("/tmp/g/t", to, { exclude: ["f"] }),
      () => vm.downloadDirectory("/tmp/g/closed", to),
      () => vm.uploadDirectory(from, "/tmp/g/w"),
      archive,
    ]) {
      expect(await rejection(call())).toMatchObject({ code: "EACCES" });
    }
    expect(fs.readdirSync(to)).toEqual([]);
    expect(await output(vm, "ls /tmp/g/w", asRoot)).toBe("");
  });
}
