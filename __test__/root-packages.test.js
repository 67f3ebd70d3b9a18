"use strict";
// Package managers that run as root inside.
const { execFileSync } = require("node:child_process");
const dns = require("node:dns");
const fs = require("node:fs");
const path = require("node:path");
const { temporaryDirectory } = require("./fixture/directory");
const { debianRoot, muslRoot } = require("./fixture/roots");
const { boot, output } = require("./fixture/vm");

/** Makes a package whose scripts and files belong to several users. */
function packageOf(directory) {
  const files = {
    "DEBIAN/control":
      "Package: several-owners\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: x\n",
    "DEBIAN/postinst": `#!/bin/sh
set -e
cd "$DPKG_ROOT"
chown 33:33 var/owned
install -o 7 -g 7 -m 640 /dev/null var/installed
chgrp -R 42 var
`,
    "var/owned": "content\n",
    "usr/bin/several": "#!/bin/sh\n",
  };
  for (const [name, content] of Object.entries(files)) {
    const file = path.join(directory, name);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, content, { mode: name.includes("bin") || name.includes("postinst") ? 0o755 : 0o644 });
  }
}

test("dpkg installs as root what belongs to several users, and fails as user", async () => {
  const vm = await boot({ ids: "single", user: "user" });
  const host = temporaryDirectory();
  packageOf(host);
  await vm.uploadDirectory(host, "/tmp/package");
  const make =
    "cd /tmp && dpkg-deb --build package several.deb && mkdir -p r/var/lib/dpkg && touch r/var/lib/dpkg/status";
  await output(vm, make);
  const install = "dpkg --root=/tmp/r --force-script-chrootless --force-not-root -i /tmp/several.deb";
  expect((await vm.exec(install)).exitCode).not.toBe(0);
  await output(vm, install, { user: "root" });
  const installed = "dpkg --root=/tmp/r --audit; cd /tmp/r/var; cat owned; stat -c '%a %u' installed";
  expect(await output(vm, installed, { user: "root" })).toBe("content\n640 0\n");
});

test("sudo runs a command as root for root, and tells user how to get one", async () => {
  for (const options of [{}, { rootfs: withLocalPrograms() }]) {
    const vm = await boot({ ...options, ids: "single", user: "user" });
    const asRoot = { user: "root" };
    expect(await output(vm, "sudo -n id -u; sudo -u root -E A=1 sh -c 'echo $A'; sudo -- printf %s -n", asRoot)).toBe(
      "0\n1\n-n",
    );
    expect(await output(vm, "echo 'pwd' | sudo -i", asRoot)).toBe("/root\n");
    const other = await vm.exec("sudo -u postgres true", asRoot);
    expect([other.exitCode, other.stderr]).toEqual([1, expect.stringContaining("no user postgres")]);
    const refused = await vm.exec("sudo true");
    expect([refused.exitCode, refused.stderr]).toEqual([1, expect.stringContaining('{ user: "root" }')]);
  }
});

function withLocalPrograms() {
  const rootfs = muslRoot(temporaryDirectory());
  fs.mkdirSync(path.join(rootfs, "usr/local/bin"), { recursive: true });
  return rootfs;
}

test("files for root are added where the root file system has their directories, and take no file's place", async () => {
  const rootfs = withLocalPrograms();
  for (const directory of ["etc/apt/apt.conf.d", "etc/dpkg/dpkg.cfg.d", "usr/sbin", "elsewhere"]) {
    fs.mkdirSync(path.join(rootfs, directory), { recursive: true });
  }
  fs.writeFileSync(path.join(rootfs, "usr/sbin/policy-rc.d"), "own\n", { mode: 0o755 });
  const look = "cat /etc/apt/apt.conf.d/* /etc/dpkg/dpkg.cfg.d/* /usr/sbin/policy-rc.d; echo $DEBIAN_FRONTEND";
  expect(await output(await boot({ rootfs, user: "root" }), look)).toBe(
    'APT::Sandbox::User "root";\nforce-unsafe-io\nown\nnoninteractive\n',
  );
  // Without a root, nothing is added.
  const without = await boot({ rootfs, user: "user" });
  expect(await output(without, "ls /etc/apt/apt.conf.d /usr/local/bin; echo $DEBIAN_FRONTEND")).toBe(
    "/etc/apt/apt.conf.d:\n\n/usr/local/bin:\n\n",
  );
  // Through a link, nothing is added either.
  fs.rmSync(path.join(rootfs, "etc/apt/apt.conf.d"), { recursive: true });
  fs.symlinkSync("/elsewhere", path.join(rootfs, "etc/apt/apt.conf.d"));
  expect(await output(await boot({ rootfs, user: "root" }), "ls /elsewhere; echo $DEBIAN_FRONTEND")).toBe("\n");
});

test("root has the home and the shell that its root file system names", async () => {
  const rootfs = muslRoot(temporaryDirectory());
  fs.writeFileSync(path.join(rootfs, "etc/passwd"), "root:x:0:0::/var/root:/bin/ash\n");
  fs.mkdirSync(path.join(rootfs, "var/root"), { recursive: true });
  const vm = await boot({ rootfs, user: "root" });
  expect(await output(vm, "pwd; echo $HOME $SHELL $USER; touch here; ls")).toBe(
    "/var/root\n/var/root /bin/ash root\nhere\n",
  );
  fs.writeFileSync(path.join(rootfs, "etc/passwd"), "root:x:0:0::/root:/usr/sbin/nologin\n");
  const usual = await boot({ rootfs, user: "root" });
  expect(await output(usual, "pwd; echo $HOME $SHELL; touch here; stat -c '%a %u' /root")).toBe(
    "/root\n/root /bin/sh\n700 0\n",
  );
});

// debootstrap needs root. Its result is kept for the next run, which the tests of `rootfs` share.
if (process.getuid() === 0) {
  test("apt-get installs packages that make users and own files into a Debian root", async () => {
    const rootfs = debianRoot();
    const source = fs.readFileSync(path.join(rootfs, "etc/apt/sources.list"), "utf8");
    const { hostname, port } = new URL(/https?:\S+/.exec(source)[0]);
    const settings = execFileSync("apt-config", ["dump"], { encoding: "utf8" });
    const proxied = settings.split("\n").filter((line) => /^Acquire::https?::(Proxy|CAInfo|Verify)/.test(line));
    const addresses = (await dns.promises.lookup(hostname, { all: true })).map(({ address }) => address);
    const allow = [port === "" ? hostname : `${hostname}:${port}`, ...addresses];
    const network = proxied.length > 0 ? "host" : { allow };
    const vm = await boot({ rootfs, network, user: "root", ids: "single" });
    await vm.writeFile("/etc/apt/apt.conf.d/95host", proxied.join("\n"));
    await output(vm, "apt-get update");
    await output(vm, "sudo apt-get install -y --no-install-recommends jq cron");
    expect(await output(vm, "dpkg --audit; echo '[1]' | jq -c .; getent group crontab | cut -d: -f1")).toBe(
      "[1]\ncrontab\n",
    );
    await output(
      vm,
      "useradd --create-home agent && passwd -d agent && dpkg-reconfigure cron && apt-get purge -y cron",
    );
    expect(await output(vm, "id -nu agent; ls -d /home/agent")).toBe("agent\n/home/agent\n");
  }, 600_000);
}
