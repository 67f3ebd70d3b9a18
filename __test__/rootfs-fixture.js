"use strict";
// Roots of other distributions, made of what the machine has.

const { execFileSync } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");

const run = (command, ...args) => execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });

/** Fills a folder with a root on musl: BusyBox's commands, musl's loader, and a program that needs it. */
function muslRoot(root) {
  for (const name of ["bin", "lib", "etc", "usr/share"]) fs.mkdirSync(path.join(root, name), { recursive: true });
  fs.copyFileSync("/usr/bin/busybox", path.join(root, "bin/busybox"));
  for (const name of run("/usr/bin/busybox", "--list").trim().split("\n")) {
    if (name !== "busybox") fs.symlinkSync("busybox", path.join(root, "bin", name));
  }
  const loader = fs.readdirSync("/lib").find((name) => name.startsWith("ld-musl-"));
  fs.copyFileSync(path.join("/lib", loader), path.join(root, "lib", loader));
  const source = path.join(root, "hello.c");
  fs.writeFileSync(source, '#include <stdio.h>\nint main(void) { puts("hello from musl"); return 0; }\n');
  run("/usr/bin/musl-gcc", "-o", path.join(root, "bin/hello"), source);
  fs.rmSync(source);
  fs.writeFileSync(path.join(root, "etc/passwd"), "root:x:0:0::/root:/bin/sh\nguest:x:1000:1000::/:/bin/sh\n");
  fs.writeFileSync(path.join(root, "etc/release"), "of musl\n");
  return root;
}

/** A root by debootstrap, of the release and from the place that the machine's own packages come from. It is kept. */
function debianRoot() {
  const root = path.join(os.tmpdir(), `agent-vm-debian-root-${process.getuid()}`);
  // Made elsewhere and then renamed: one that was cut short is not taken for a root.
  if (fs.existsSync(root)) return root;
  const format = "$(REPO_URI) $(CODENAME) $(COMPONENT) $(ORIGIN)";
  const targets = run("apt-get", "indextargets", "--format", format, "Identifier: Packages").trim().split("\n");
  const target = targets
    .map((line) => line.split(" "))
    .find(([, , part, origin]) => part === "main" && origin === "Debian");
  if (target === undefined) throw new Error(`apt knows no Debian release: ${targets.join("; ")}`);
  const made = fs.mkdtempSync(`${root}-`);
  run("/usr/sbin/debootstrap", "--variant=minbase", target[1], made, target[0]);
  fs.chmodSync(made, 0o755);
  fs.renameSync(made, root);
  return root;
}

module.exports = { muslRoot, debianRoot };
