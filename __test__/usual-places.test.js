"use strict";
// What programs expect of a machine by default.
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { temporaryDirectory } = require("./fixture/directory");
const { muslRoot } = require("./fixture/roots");
const { boot, output } = require("./fixture/vm");

const fixture = { rootfs: undefined };
beforeAll(() => {
  fixture.rootfs = muslRoot(fs.mkdtempSync(path.join(os.tmpdir(), "agent-vm-root-")));
  fs.chmodSync(fixture.rootfs, 0o755);
});
afterAll(() => fs.rmSync(fixture.rootfs, { recursive: true }));

const places = "echo x > /var/lock/a && echo x > /run/lock/b && ls /run/lock && mkdir /run/own && echo x > /run/own/c";

test("programs can make lock files", async () => {
  const vm = await boot();
  expect(await output(vm, `readlink -f /var/lock; ${places}; flock /var/lock/x echo locked`)).toBe(
    "/run/lock\na\nb\nlocked\n",
  );
  expect(await output(vm, "flock -n /var/lock/y sh -c 'flock -n /run/lock/y true || echo busy'")).toBe("busy\n");
  const next = await boot();
  expect(await next.readdir("/run/lock")).toEqual([]);
});

test("with a rootfs too", async () => {
  const vm = await boot({ rootfs: fixture.rootfs });
  expect(await output(vm, "echo x > /run/lock/b && ls /run/lock")).toBe("b\n");
});

test.each([
  ["a link", (run) => fs.symlinkSync("var/run", run)],
  ["a file", (run) => fs.writeFileSync(run, "")],
])("with a rootfs whose /run is %s too", async (_, make) => {
  const rootfs = muslRoot(temporaryDirectory());
  fs.chmodSync(rootfs, 0o755);
  fs.rmSync(path.join(rootfs, "run"), { recursive: true, force: true });
  fs.mkdirSync(path.join(rootfs, "var/run"), { recursive: true });
  make(path.join(rootfs, "run"));
  const vm = await boot({ rootfs });
  expect(await output(vm, "echo x > /run/lock/b && ls /run/lock")).toBe("b\n");
  expect(fs.readdirSync(path.join(rootfs, "var/run"))).toEqual([]);
});

test("a /run that is shown is not changed", async () => {
  const hostPath = temporaryDirectory();
  const vm = await boot({ mounts: [{ path: "/run", hostPath }] });
  expect(await vm.readdir("/run")).toEqual([]);
  const writable = await boot({ mounts: [{ path: "/run", hostPath, readOnly: false }] });
  expect(await writable.exists("/run/lock")).toBe(false);
  expect(fs.readdirSync(hostPath)).toEqual([]);
});

const commit = "git init -q repository && cd repository && git commit -q --allow-empty -m x";
const author = "git log -1 --format='%an <%ae> %cn <%ce>'";

test("git commits without configuration, as the VM's user", async () => {
  const vm = await boot();
  expect(await output(vm, `${commit} && ${author}`)).toBe("user <user@agent-vm> user <user@agent-vm>\n");
  const named = await boot({ hostname: "builder.example" });
  expect(await output(named, `${commit} && ${author}`)).toBe(
    "user <user@builder.example> user <user@builder.example>\n",
  );
});

test("the user's own git configuration takes precedence, and so does the environment", async () => {
  const vm = await boot();
  await output(vm, "git config --global user.name Ada && git config --global user.email ada@example.com");
  expect(await output(vm, `${commit} && ${author}`)).toBe("Ada <ada@example.com> Ada <ada@example.com>\n");
  await output(vm, "cd repository && git config user.email local@example.com && git commit -q --allow-empty -m y");
  expect(await output(vm, `cd repository && ${author}`)).toBe("Ada <local@example.com> Ada <local@example.com>\n");
  const env = { GIT_AUTHOR_NAME: "Env", GIT_AUTHOR_EMAIL: "env@example.com" };
  expect(await output(vm, `cd repository && git commit -q --allow-empty -m z && ${author}`, { env })).toBe(
    "Env <env@example.com> Ada <local@example.com>\n",
  );
  await output(vm, "git config --global --unset user.name; git config --global --unset user.email");
  const refused = await vm.exec(
    "git init -q strict; cd strict; git -c user.useConfigOnly=true commit --allow-empty -m x",
  );
  expect(refused.stderr).toContain("user.name");
});

test("a rootfs keeps its own mail name, and has the VM's where it has none", async () => {
  const vm = await boot({ rootfs: fixture.rootfs, hostname: "other" });
  expect(await output(vm, "cat /etc/mailname")).toBe("other\n");
  fs.writeFileSync(path.join(fixture.rootfs, "etc/mailname"), "root.example\n");
  const own = await boot({ rootfs: fixture.rootfs });
  expect(await output(own, "cat /etc/mailname")).toBe("root.example\n");
});
