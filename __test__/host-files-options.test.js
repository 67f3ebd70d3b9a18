"use strict";
// The option `host`: valid values, and what it shows and hides.

const fs = require("node:fs");
const path = require("node:path");
const { AgentVm } = require("..");
const { temporaryDirectory } = require("./fixture/directory");
const { rejection } = require("./fixture/promises");
const { boot, output } = require("./fixture/vm");

test.each([
  [{ host: "gitconfig" }, 'host must be an object, not "gitconfig"'],
  [{ host: { var: [] } }, 'host has no member "var"; there are etc, hide'],
  [{ host: { etc: "gitconfig" } }, 'host.etc must be an array of paths, not "gitconfig"'],
  [{ host: { etc: [1] } }, "host.etc[0] must be a string, not 1"],
  [{ host: { etc: ["../root"] } }, 'host.etc[0] must be a path without "." and ".."'],
  [{ host: { etc: ["/usr/x"] } }, 'host.etc[0] must be a file or directory below /etc, like "gitconfig", not "/usr/x"'],
  [{ host: { etc: [""] } }, "host.etc[0]"],
  [{ host: { etc: Array(65).fill("x") } }, "host.etc must be at most 64 paths, not 65"],
  [{ host: { etc: ["shadow"] } }, "host.etc must not name /etc/shadow"],
  [{ host: { etc: ["hosts"] } }, "host.etc must not name /etc/hosts"],
  [{ host: { hide: ["php"] } }, "host.hide[0] must be an absolute path"],
  [{ host: { hide: ["/etc"] } }, "host.hide[0] must be a path below /etc, /var/lib, /var/cache, /opt"],
  [{ host: { hide: ["/usr/bin"] } }, "host.hide[0] must be a path below /etc"],
  [{ host: { etc: [] }, rootfs: "/" }, "host must not be given with rootfs"],
  [{ host: { etc: [] }, isolation: "none" }, 'host needs isolation "namespaces"'],
])("%j is refused", async (options, message) => {
  const error = await rejection(AgentVm.create(options));
  expect(error).toMatchObject({ code: "INVALID_ARGUMENT", message: expect.stringContaining(message) });
});

test("a hidden file does not exist in the VM, even in a directory that is otherwise shown whole", async () => {
  const [usual, other] = await Promise.all([
    boot(),
    boot({ host: { hide: ["/etc/services", "/var/lib/dpkg/info/bash.list"] } }),
  ]);
  const command = "ls -d /etc/services /etc/protocols /var/lib/dpkg/info/bash.list /var/lib/dpkg/info/dash.list; true";
  expect(await output(usual, command)).toMatch(/services[^]*bash\.list/);
  expect((await output(other, command)).split("\n").sort()).toEqual(
    ["", "/etc/protocols", "/var/lib/dpkg/info/dash.list"].sort(),
  );
});

test("a mount finds its place below /etc and /var/lib, on a file and in a directory that is not there", async () => {
  const hostPath = temporaryDirectory();
  fs.writeFileSync(path.join(hostPath, "file"), "own\n");
  const places = ["/etc/own/deep", "/etc/vim/own", "/var/lib/own"];
  const files = ["/etc/services", "/etc/hosts", "/etc/own.conf"];
  const vm = await boot({
    mounts: [
      ...places.map((place) => ({ path: place, hostPath })),
      ...files.map((place) => ({ path: place, hostPath: path.join(hostPath, "file") })),
    ],
  });
  for (const place of [...places.map((place) => `${place}/file`), ...files]) {
    expect({ place, content: await output(vm, `cat ${place}`) }).toEqual({ place, content: "own\n" });
  }
  expect(await output(vm, "test -s /etc/vim/vimrc && echo there")).toBe("there\n");
});

test("VMs with other names and mounts show the same", async () => {
  const hostPath = temporaryDirectory();
  const vms = await Promise.all(
    Array.from({ length: 8 }, (_, index) =>
      boot({ hostname: `vm-${index}`, mounts: index % 2 ? [{ path: `/etc/own-${index}`, hostPath }] : [] }),
    ),
  );
  const shown = await Promise.all(vms.map((vm) => output(vm, "ls /etc | grep -v ^own- | md5sum; cat /etc/hostname")));
  const [sum] = shown[0].split("\n");
  expect(shown).toEqual(vms.map((_, index) => `${sum}\nvm-${index}\n`));
});
