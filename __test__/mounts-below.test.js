"use strict";
// Host mounts below a directory that a VM shows, and files that the server itself may not read.

const { execFileSync } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");
const { temporaryDirectory } = require("./fixture/directory");

const addon = JSON.stringify(path.join(__dirname, ".."));
const isRoot = process.getuid() === 0;

/** Runs a server's script, as the tests' user, where `mount` has mounted things in a separate mount namespace. */
function serve(mount, script) {
  const shell = ["--mount", "sh", "-c", `set -e; ${mount}; exec "$@"`, "sh"];
  const server = [process.execPath, "-e", `const { AgentVm } = require(${addon}); (async () => { ${script} })()`];
  // An ordinary user mounts as root of a user namespace, and its server has its own id back in a second user namespace.
  const back = ["unshare", `--map-user=${process.getuid()}`, `--map-group=${process.getgid()}`];
  const words = isRoot ? [...shell, ...server] : ["--user", "--map-root-user", ...shell, ...back, ...server];
  return execFileSync("unshare", words, { encoding: "utf8" });
}

test("a read-only mount includes what the host has mounted below it, read-only too", () => {
  const hostPath = temporaryDirectory();
  fs.mkdirSync(path.join(hostPath, "a/b"), { recursive: true });
  const printed = serve(
    `mount -t tmpfs none ${hostPath}/a; mkdir ${hostPath}/a/b; mount -t tmpfs none ${hostPath}/a/b; chmod 777 ${hostPath}/a/b;` +
      `echo below > ${hostPath}/a/b/file`,
    `const vm = await AgentVm.create({ mounts: [
      { path: "/closed", hostPath: "${hostPath}" },
      { path: "/open", hostPath: "${hostPath}", readOnly: false },
    ] });
    console.log(JSON.stringify(await vm.exec(
      "cat /closed/a/b/file; for f in /closed/new /closed/a/new /closed/a/b/new; do echo x > $f; done; echo > /open/a/b/new"
    )));
    await vm.dispose();`,
  );
  const { exitCode, stdout, stderr } = JSON.parse(printed);
  expect(stdout).toBe("below\n");
  expect(stderr.match(/Read-only file system/g)).toHaveLength(3);
  expect(exitCode).toBe(0);
});

test("what the host mounts below later does not show, and nothing mounted inside shows on the host", () => {
  const hostPath = temporaryDirectory();
  fs.mkdirSync(path.join(hostPath, "later"));
  const printed = serve(
    // As on most hosts, where systemd sets it: a mount made in one namespace would appear in all that share it.
    "mount --make-rshared /",
    `const { execFileSync } = require("node:child_process");
    const { readFileSync } = require("node:fs");
    const before = readFileSync("/proc/self/mountinfo", "utf8");
    const vm = await AgentVm.create({ mounts: [{ path: "/data", hostPath: "${hostPath}" }], home: "${hostPath}" });
    console.log(before === readFileSync("/proc/self/mountinfo", "utf8"));
    if (process.getuid() === 0) execFileSync("mount", ["-t", "tmpfs", "none", "${hostPath}/later"]);
    console.log((await vm.exec("grep -c later /proc/mounts")).stdout.trim());
    await vm.dispose();`,
  );
  expect(printed).toBe("true\n0\n");
});

// root may read everything.
if (!isRoot) {
  test("a host path that the server may not read rejects create and is named", () => {
    const { AgentVm } = require("..");
    const closed = temporaryDirectory();
    fs.mkdirSync(path.join(closed, "inner"));
    fs.chmodSync(path.join(closed, "inner"), 0);
    const refused = async (options, hostPath) => {
      await expect(AgentVm.create(options)).rejects.toMatchObject({ code: "EACCES", path: hostPath });
    };
    const inner = path.join(closed, "inner");
    return Promise.all([
      refused({ home: inner }, inner),
      refused({ rootfs: inner }, inner),
      refused({ mounts: [{ path: "/data", hostPath: inner }] }, inner),
      refused({ mounts: [{ path: "/data", hostPath: `${inner}/x` }] }, `${inner}/x`),
      refused({ mounts: [{ path: "/data", hostPath: "/etc/shadow" }] }, "/etc/shadow"),
      refused({ home: "/usr" }, "/usr"),
    ]);
  });
}
