"use strict";
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { boot, output } = require("./fixture/vm");

const missing = async (vm, file) => {
  const { exitCode, stderr } = await vm.execFile("ls", ["-d", file]);
  expect({ file, exitCode, stderr }).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("No such file") });
};

test("secrets, homes, the server's directory and temporary files of the host are not there", async () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "agent-vm-host-"));
  fs.writeFileSync(path.join(directory, "secret"), "of the host", { mode: 0o644 });
  try {
    const vm = await boot();
    const places = [
      ...["/etc/shadow", "/etc/gshadow", "/etc/sudoers", "/etc/ssh", "/etc/machine-id", "/etc/hosts.allow"],
      ...[
        "/root",
        "/boot",
        "/sys/class/net",
        "/sys/kernel/debug",
        "/mnt",
        "/srv",
        "/media",
        "/var/log",
        "/var/lib/systemd",
        "/var/spool",
        "/run/user",
      ],
      ...["/var/run/docker.sock", "/run/docker.sock"],
      ...[directory, path.join(directory, "secret"), process.cwd(), __dirname],
    ];
    await Promise.all(places.map((place) => missing(vm, place)));
    expect(await output(vm, "ls -A /home; ls -A /tmp /run /var/tmp /dev/shm | grep -v :")).toMatch(
      /^user\n\s*lock\n\s*$/,
    );
  } finally {
    fs.rmSync(directory, { recursive: true });
  }
});

test("the root holds nothing but what a VM has", async () => {
  const vm = await boot();
  const known = [
    "bin",
    "dev",
    "etc",
    "home",
    "lib",
    "lib32",
    "lib64",
    "libo32",
    "libx32",
    "opt",
    "proc",
    "run",
    "sbin",
    "sys",
  ];
  const found = (await output(vm, "ls -A /")).trim().split("\n");
  expect(found.filter((name) => ![...known, "tmp", "usr", "var", "libexec"].includes(name))).toEqual([]);
  // The server's own node, and nothing else from the host's /opt.
  expect(await output(vm, "ls -A /opt")).toBe("node\n");
});

test("passwd, group and hosts describe only the VM", async () => {
  const vm = await boot();
  const users = (await output(vm, "cut -d: -f1 /etc/passwd")).trim().split("\n");
  expect(users).toEqual(["root", "user", "nobody"]);
  const hosts = (await output(vm, "cat /etc/hosts")).trim().split(/\s+/);
  expect(new Set(hosts)).toEqual(
    new Set(["127.0.0.1", "::1", "localhost", "agent-vm", "ip6-localhost", "ip6-loopback"]),
  );
  expect(await output(vm, "cat /etc/resolv.conf")).toBe("");
});

test.each([
  "/usr/bin/x",
  "/etc/x",
  "/x",
  "/bin/x",
  "/opt/node/x",
  "/dev/x",
  "/home/x",
  "/proc/x",
  "/var/x",
  "/etc/passwd",
])("%s cannot be written", async (file) => {
  const vm = await boot();
  const { exitCode } = await vm.exec(`echo x > ${file}`);
  expect(exitCode).not.toBe(0);
});

test("files that a VM writes are seen by no other VM, and go with it", async () => {
  const [one, other] = await Promise.all([boot(), boot()]);
  await output(one, "for d in /tmp /run /var/tmp /dev/shm /home/user; do echo x > $d/of-one; done");
  expect(
    (await other.exec("ls /tmp/of-one /run/of-one /var/tmp/of-one /dev/shm/of-one /home/user/of-one")).stdout,
  ).toBe("");
  expect(fs.existsSync("/tmp/of-one") || fs.existsSync("/run/of-one") || fs.existsSync("/dev/shm/of-one")).toBe(false);
  await one.dispose();
  expect(await output(await boot(), "find / -name of-one -not -path '/proc/*' 2>/dev/null; true")).toBe("");
});

test("no link, no .. and no descriptor leads out", async () => {
  const vm = await boot();
  expect((await vm.exec("ls /../../../../root; ls /proc/self/root/root; ls /proc/self/cwd/../../root")).stdout).toBe(
    "",
  );
  expect(
    await output(vm, "ls -l /proc/self/fd | awk '{print $NF}' | grep -v -e pipe: -e /dev/null -e /proc/ ; true"),
  ).toBe("0\n");
});
