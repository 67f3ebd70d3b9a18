"use strict";
// A root must contain the shell that runs commands.
const fs = require("node:fs");
const path = require("node:path");
const { AgentVm } = require("..");
const { temporaryDirectory } = require("./fixture/directory");
const { rejection } = require("./fixture/promises");
const { muslRoot } = require("./fixture/roots");
const { boot, output } = require("./fixture/vm");

/** A root whose /bin/sh was made by `change`. */
function root(change) {
  const made = muslRoot(temporaryDirectory());
  fs.chmodSync(made, 0o755);
  fs.rmSync(path.join(made, "bin/sh"));
  change((name) => path.join(made, name));
  return made;
}

test.each([
  ["it is missing", () => {}, "which is missing"],
  ["the whole directory is empty", (at) => fs.rmSync(at("bin"), { recursive: true }), "which is missing"],
  [
    "/bin is a file",
    (at) => (fs.rmSync(at("bin"), { recursive: true }), fs.writeFileSync(at("bin"), "")),
    "which is missing",
  ],
  ["it is a link to nothing", (at) => fs.symlinkSync("nothing", at("bin/sh")), "a link that leads nowhere within it"],
  [
    "it is a link to a program of the host",
    (at) => fs.symlinkSync("/usr/bin/env", at("bin/sh")),
    "a link that leads nowhere within it",
  ],
  [
    "it is a link that climbs out to the host's shell",
    (at) => fs.symlinkSync(`${"../".repeat(20)}usr/bin/dash`, at("bin/sh")),
    "a link that leads nowhere within it",
  ],
  ["it is a link to itself", (at) => fs.symlinkSync("sh", at("bin/sh")), "a link that leads nowhere within it"],
  [
    "/bin is a link to itself",
    (at) => (fs.rmSync(at("bin"), { recursive: true }), fs.symlinkSync("bin", at("bin"))),
    "leads nowhere|lead nowhere",
  ],
  ["it is a directory", (at) => fs.mkdirSync(at("bin/sh")), "which is not a regular file"],
  ["nobody may execute it", (at) => fs.writeFileSync(at("bin/sh"), "", { mode: 0o644 }), "which nobody may execute"],
])("create refuses a rootfs with the reason where %s", async (_, change, reason) => {
  const rootfs = root(change);
  const error = await rejection(AgentVm.create({ rootfs }));
  expect(error.code).toBe("INVALID_ARGUMENT");
  expect(error.message).toContain(`${rootfs} has no usable /bin/sh`);
  expect(error.message).toMatch(new RegExp(reason));
});

test.each([
  ["a relative link", (at) => fs.symlinkSync("busybox", at("bin/sh"))],
  ["an absolute link, which is the root's own path", (at) => fs.symlinkSync("/bin/busybox", at("bin/sh"))],
  [
    "a link by way of another, and of ..",
    (at) => (fs.symlinkSync("../bin/ash2", at("bin/sh")), fs.symlinkSync("/bin/../../../bin/busybox", at("bin/ash2"))),
  ],
  [
    "a program in /usr/bin, where /bin leads",
    (at) => {
      fs.renameSync(at("bin"), at("usr/bin"));
      fs.symlinkSync("usr/bin", at("bin"));
      fs.symlinkSync("busybox", at("usr/bin/sh"));
    },
  ],
])("%s will do", async (_, change) => {
  const vm = await boot({ rootfs: root(change) });
  expect(await output(vm, "cat /etc/release")).toBe("of musl\n");
});
