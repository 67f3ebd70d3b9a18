"use strict";
const { execFileSync } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");
const { temporaryDirectory } = require("./fixture/directory");
const { muslRoot } = require("./fixture/roots");

// A kernel can stack two overlays but not three, so a root that is on two overlays gets no layer.
test("where the kernel cannot lay an overlay over it, it is read-only and works otherwise", () => {
  const script = `
    const { AgentVm } = require(${JSON.stringify(path.join(__dirname, ".."))});
    (async () => {
      const vm = await AgentVm.create({ rootfs: process.env.top });
      const run = "hello; cat /etc/release; id -un; echo x > /tmp/x; echo x > x; ls -d /home/user; " +
        "for f in /x /etc/release /etc/new /bin/new /usr/share/new; do echo x > $f; done";
      console.log(JSON.stringify(await vm.exec(run)));
      const own = await AgentVm.create({ rootfs: process.env.top, directories: ["/workspace"] });
      console.log(JSON.stringify(await own.exec("echo x > /workspace/file && ls /workspace; echo > /run/lock/x && ls /run/lock")));
      await own.dispose();
      const error = await AgentVm.create({ rootfs: process.env.top, directories: ["/srv/data"] }).catch((error) => error);
      console.log(JSON.stringify({ code: error.code, path: error.path }));
      const codes = [];
      for (const [name, readOnly] of [["bin", true], ["bin", false], ["closed", true]]) {
        const mounts = [{ path: "/data", hostPath: process.env.top + "/" + name, readOnly }];
        const made = await AgentVm.create({ mounts }).catch((error) => error);
        codes.push(made.code ?? "made");
        await made.dispose?.();
      }
      console.log(JSON.stringify(codes));
      await vm.dispose();
    })();`;
  const [rootfs, work] = [muslRoot(temporaryDirectory()), temporaryDirectory()];
  fs.chmodSync(rootfs, 0o755);
  fs.mkdirSync(path.join(rootfs, "closed"), { mode: 0o700 });
  fs.mkdirSync(path.join(rootfs, "srv"));
  for (const name of ["one", "two", "empty"]) fs.mkdirSync(path.join(work, name));
  const mount = `
    set -e; cd ${work}
    mount -t overlay -o lowerdir=${rootfs}:empty overlay one
    mount -t overlay -o lowerdir=one:empty overlay two
    top=${work}/two exec "$@"`;
  // An ordinary user mounts as root of a user namespace, and its server has its own id back in a second user namespace.
  const [uid, gid] = [process.getuid(), process.getgid()];
  const [namespaces, back] = [
    ["--user", "--map-root-user"],
    ["unshare", `--map-user=${uid}`, `--map-group=${gid}`],
  ];
  const asRoot = ["--mount", "sh", "-c", mount, "sh"];
  const server = [process.execPath, "-e", script];
  const words = uid === 0 ? [...asRoot, ...server] : [...namespaces, ...asRoot, ...back, ...server];
  const printed = execFileSync("unshare", words, { encoding: "utf8" });
  const [ran, own, refusedDirectory, codes] = printed
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(ran.stdout).toBe("hello from musl\nof musl\nuser\n/home/user\n");
  expect(ran.stderr.match(/Read-only file system/g)).toHaveLength(5);
  // A private directory of the VM must be at the top of the root, or in a place where it can be created; otherwise
  // create says so.
  expect(own).toMatchObject({ exitCode: 0, stdout: "file\nx\n" });
  expect(refusedDirectory).toEqual({ code: expect.stringMatching(/^(EROFS|EACCES)$/), path: "/srv/data" });
  // Nor can the owner be mapped, which a root server needs for files that only the owner may read or write.
  const refused = uid === 0 ? "ISOLATION_UNAVAILABLE" : "made";
  expect(codes).toEqual(["made", refused, refused]);
});
