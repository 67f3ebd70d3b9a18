"use strict";
// Commands that cannot work in a VM print what the machine is and what to do instead.
const fs = require("node:fs");
const path = require("node:path");
const { AgentVm } = require("..");
const { temporaryDirectory } = require("./fixture/directory");
const { rejection } = require("./fixture/promises");
const { muslRoot } = require("./fixture/roots");
const { boot, output } = require("./fixture/vm");

const instead = [
  ["apt-get update", "install system packages"],
  ["apt-get -y -o Dpkg::Options::=--force-confold install jq", "pip"],
  ["apt install jq", "~/.local/bin"],
  ["dnf install jq", "~/.local/bin"],
  ["yum install jq", "~/.local/bin"],
  ["apk add jq", "~/.local/bin"],
  ["pacman -Sy jq", "~/.local/bin"],
  ["zypper in jq", "~/.local/bin"],
  ["snap install jq", "~/.local/bin"],
  ["sudo ls", "without sudo"],
  ["sudo -n true", "root"],
  ["su -c ls", "without su"],
  ["doas ls", "without doas"],
  ["docker run --rm alpine --version", "container"],
  ["docker-compose up", "container"],
  ["podman ps", "container"],
  ["systemctl start redis", "in the background"],
  ["service redis start", "in the background"],
];
const onHost = (name) =>
  "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    .split(":")
    .some((directory) => fs.existsSync(`${directory}/${name}`));

test.each(["namespaces", "landlock"])(
  "at the level %s each says so in one line, on standard error",
  async (isolation) => {
    const vm = await boot({ isolation });
    // On the host's own root, each needs a file on the disk, so only the usual ones exist.
    const usual = ["apt", "apt-get", "sudo", "su", "docker", "systemctl", "service"];
    const tried = instead.filter(([command]) => isolation === "namespaces" || usual.includes(command.split(" ")[0]));
    for (const [command, advice] of tried) {
      const [name] = command.split(" ");
      const { exitCode, stdout, stderr } = await vm.exec(command);
      expect([command, exitCode, stdout]).toEqual([command, onHost(name) ? 1 : 127, ""]);
      expect(stderr).toMatch(/^[^\n]+\n$/);
      for (const word of [`${name}: `, "agent-vm machine", advice]) expect(stderr).toContain(word);
      expect(stderr.length).toBeLessThan(300);
    }
  },
);

test("without a shell, in a terminal and after another directory they say the same", async () => {
  const vm = await boot();
  expect((await vm.execFile("sudo", ["ls"])).stderr).toMatch(/^sudo: .*agent-vm machine/);
  expect((await vm.exec("cd /opt/node/explain && ./sudo ls")).stderr).toMatch(/^sudo: .*agent-vm machine/);
  expect((await vm.exec("sh /opt/node/explain/sudo")).stderr).toMatch(/^sudo: .*agent-vm machine/);
  expect((await vm.exec("env -i /opt/node/explain/docker ps")).stderr).toMatch(/^docker: .*agent-vm machine/);
  let screen = "";
  vm.on("shellData", ({ data }) => (screen += Buffer.from(data)));
  const { shellId } = await vm.openShell();
  await vm.writeShell(shellId, "systemctl status; exit\n");
  await vm.waitShell(shellId);
  expect(screen).toContain("without systemd");
});

test("what the host's programs can do they still do", async () => {
  const vm = await boot();
  const commands = ["apt-get --version", "apt list --help", "systemctl --version"].filter((command) =>
    onHost(command.split(" ")[0]),
  );
  const ran = await Promise.all(commands.map((command) => vm.exec(command)));
  expect(ran.map(({ exitCode }) => exitCode)).toEqual(commands.map(() => 0));
  const [first] = ran;
  expect(first.stdout).toMatch(/^apt \d/);
});

test("the user's own command, one of software, or one of a mount wins", async () => {
  const vm = await boot();
  await output(
    vm,
    "mkdir -p ~/.local/bin; printf '#!/bin/sh\necho mine $*' > ~/.local/bin/sudo; chmod +x ~/.local/bin/sudo",
  );
  expect(await output(vm, "sudo ls")).toBe("mine ls\n");

  const packages = path.join(temporaryDirectory(), "node_modules");
  const packageDir = path.join(packages, "tools");
  fs.mkdirSync(packageDir, { recursive: true });
  const manifest = { name: "tools", version: "1.0.0", bin: { docker: "./docker.js" } };
  fs.writeFileSync(path.join(packageDir, "package.json"), JSON.stringify(manifest));
  fs.writeFileSync(
    path.join(packageDir, "docker.js"),
    "#!/usr/bin/env node\nconsole.log('of software', ...process.argv.slice(2));\n",
    {
      mode: 0o755,
    },
  );
  fs.chmodSync(path.dirname(packages), 0o755);
  const withSoftware = await boot({ software: [{ name: "an agent", type: "agent", packageDir, requires: ["tools"] }] });
  expect(await output(withSoftware, "docker ps")).toBe("of software ps\n");

  const tools = temporaryDirectory();
  fs.chmodSync(tools, 0o755);
  for (const name of ["sudo", "apt-get"]) {
    fs.writeFileSync(path.join(tools, name), "#!/bin/sh\necho of a mount $*\n", { mode: 0o755 });
  }
  const withMount = await boot({ mounts: [{ path: "/usr/local/bin", hostPath: tools }] });
  expect(await output(withMount, "sudo ls; apt-get update")).toBe("of a mount ls\nof a mount update\n");
  expect((await withMount.exec("systemctl-is-missing; service x start")).stderr).toMatch(/service/);
});

test("a command that only explains is no program that software requires", async () => {
  const name = ["doas", "pacman", "zypper", "dnf"].find((one) => !onHost(one));
  const software = [{ commands: [{ name, permissionTier: "full" }], commandDir: "/nowhere", name: "a set" }];
  expect(await rejection(AgentVm.create({ software }))).toMatchObject({ code: "ENOENT", path: name });
});

test("a rootfs has its own programs and no others", async () => {
  const rootfs = muslRoot(temporaryDirectory());
  fs.chmodSync(rootfs, 0o755);
  fs.rmSync(path.join(rootfs, "bin/su"), { force: true });
  fs.writeFileSync(path.join(rootfs, "bin/apt-get"), "#!/bin/sh\necho of the root $*\n", { mode: 0o755 });
  const vm = await boot({ rootfs });
  expect(await output(vm, "apt-get update; echo $PATH; ls /opt 2>/dev/null || true")).toBe(
    "of the root update\n/home/user/.local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n",
  );
  expect(await vm.exec("sudo ls")).toMatchObject({ exitCode: 127, stderr: expect.stringContaining("not found") });
});

test("nothing else can be shown in their place", async () => {
  const hostPath = temporaryDirectory();
  for (const place of ["/opt/node", "/opt/node/explain", "/opt/node/explain/sudo"]) {
    await expect(AgentVm.create({ mounts: [{ path: place, hostPath }] })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
  }
  const vm = await boot();
  for (const place of ["/opt/node/explain/sudo", "/opt/node/explain/.explain", "/opt/node/explain/new"]) {
    await expect(vm.writeFile(place, "x")).rejects.toMatchObject({ code: expect.stringMatching(/^(EROFS|EACCES)$/) });
  }
});
