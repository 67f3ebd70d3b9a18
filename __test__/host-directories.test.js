"use strict";
// Who may show host directories, and the error where that is refused.
const fs = require("node:fs");
const path = require("node:path");
const { temporaryDirectory } = require("./fixture/directory");
const { nodeScript } = require("./fixture/server-process");
const { boot, output } = require("./fixture/vm");
const { AgentVm } = require("..");

const asRoot = process.getuid() === 0;

/**
 * The JSON that a server behind `prefix` prints: a boot without directories, some boots with one, and doctor's check.
 */
async function found(prefix, directory) {
  const { stdout, stderr } = await nodeScript(
    `
    const outcome = async (options) => {
      try {
        const vm = await AgentVm.create(options);
        const { stdout } = await vm.exec("id -un; node --print 40+2");
        await vm.dispose();
        return stdout;
      } catch (error) {
        return { ...error, message: error.message };
      }
    };
    const directory = ${JSON.stringify(directory)};
    const plain = await outcome();
    const home = await outcome({ home: directory });
    const mount = await outcome({ mounts: [{ path: "/mnt/shown", hostPath: directory }] });
    const rootfs = await outcome({ rootfs: directory });
    const { level, checks } = await AgentVm.doctor();
    const check = checks.find(({ name }) => name === "host directories");
    const landlock = checks.find(({ name }) => name === "landlock");
    console.log(JSON.stringify({ plain, home, mount, rootfs, level, check, landlock }));`,
    { prefix },
  ).ended;
  if (stdout === "") throw new Error(stderr);
  return JSON.parse(stdout);
}

/** A directory with a shell, so that it can also be a `rootfs`. */
function withShell() {
  const directory = temporaryDirectory();
  fs.mkdirSync(path.join(directory, "bin"));
  fs.copyFileSync("/bin/sh", path.join(directory, "bin/sh"));
  return directory;
}

const refused = (directory, ...words) => ({
  code: "ISOLATION_UNAVAILABLE",
  message: expect.stringMatching(new RegExp([`^${directory} cannot be shown`, ...words].join(".*"))),
});

test("doctor says that directories can be shown where they can", async () => {
  expect(await output(await boot({ home: temporaryDirectory() }), "pwd")).toBe("/home/user\n");
  const { checks } = await AgentVm.doctor();
  expect(checks.find(({ name }) => name === "host directories")).toEqual({
    name: "host directories",
    ok: true,
    detail: expect.stringMatching(asRoot ? /owner/ : /own user/),
  });
});

if (asRoot) {
  const without = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"];

  test("root without CAP_SYS_ADMIN boots VMs, and gets an error that names what showing directories takes", async () => {
    const directory = withShell();
    const { plain, home, mount, rootfs, level, check } = await found(without, directory);
    expect({ plain, level }).toEqual({ plain: "user\n42\n", level: "namespaces" });
    const words = ["root without CAP_SYS_ADMIN", "ordinary user", "--cap-add SYS_ADMIN"];
    for (const error of [home, mount, rootfs]) expect(error).toMatchObject(refused(directory, ...words));
    expect(check).toEqual({
      name: "host directories",
      ok: false,
      detail: expect.stringMatching(/`home`.*refused.*without CAP_SYS_ADMIN/),
      remedy: expect.stringMatching(/ordinary user.*--cap-add SYS_ADMIN/),
    });
  });

  test("root without CAP_SYS_ADMIN shows its own Node.js where other users may search its directories", async () => {
    const place = temporaryDirectory();
    fs.chmodSync(place, 0o755);
    const node = path.join(place, "node");
    fs.copyFileSync(process.execPath, node);
    // Replaces the Node.js that runs the tests.
    const elsewhere = (directory) => found(["sh", "-c", `shift; exec ${without.join(" ")} "$0" "$@"`, node], directory);
    expect((await elsewhere(place)).plain).toBe("user\n42\n");
    fs.chmodSync(place, 0o700);
    expect((await elsewhere(place)).plain).toMatchObject(refused(node, "CAP_SYS_ADMIN"));
  });

  test("root of a container's user namespace boots VMs, and gets an error that advises an ordinary user for showing directories", async () => {
    const directory = withShell();
    fs.chmodSync(directory, 0o755);
    const script = path.join(__dirname, "fixture/user-namespace.py");
    const { plain, home, mount, rootfs, check } = await found(["/usr/bin/python3", script], directory);
    expect(plain).toBe("user\n42\n");
    for (const error of [home, mount, rootfs]) {
      expect(error).toMatchObject(refused(directory, "root of a user namespace", "ordinary user"));
    }
    expect(check).toMatchObject({ ok: false, remedy: expect.stringContaining("ordinary user") });
  });

  test("root without the right to give VMs ids gets an error that names what is missing", async () => {
    const { plain, level, check, landlock } = await found(
      ["setpriv", "--bounding-set=-all", "--inh-caps=-all"],
      temporaryDirectory(),
    );
    expect(plain).toMatchObject({
      code: "ISOLATION_UNAVAILABLE",
      message: expect.stringMatching(/refused the VM's ids.*CAP_SETUID and CAP_SETGID.*ordinary user/),
    });
    expect({ level, check }).toMatchObject({
      level: "none",
      check: { ok: false, detail: expect.stringContaining("namespaces") },
    });
    expect(landlock).toMatchObject({ ok: false, remedy: expect.stringMatching(/CAP_CHOWN.*ordinary user/) });
  });
}
