"use strict";
// What a program plants for the VM that will take the place of its own: names that the kernel's overlays understand.

const fs = require("node:fs");
const path = require("node:path");
const { AgentVm } = require("../..");
const { temporaryDirectory } = require("../fixture/directory");
const { muslRoot } = require("../fixture/roots");
const { boot, disposeAfter, output } = require("../fixture/vm");

/** Sets every attribute of overlays on a file and on a directory of each private directory. */
const PLANT = `
import os
targets = [b"/etc/hidden", b"/root/secret", b"../../../secret", b"secret", b"/secret", b"y", b"x", b""]
names = ["redirect", "metacopy", "opaque", "origin", "impure", "whiteout", "upper", "nlink", "xattr", "protattr", "uuid"]
for top in ["/home/user", "/tmp", "/var/tmp"]:
    for name in names:
        for number, value in enumerate(targets):
            directory, file = f"{top}/d-{name}-{number}", f"{top}/f-{name}-{number}"
            os.mkdir(directory)
            open(f"{directory}/inside", "w").write("own\\n")
            open(file, "w").write("own\\n")
            for each in [directory, file]:
                try:
                    os.setxattr(each, f"user.overlay.{name}", value)
                except OSError:
                    pass
print("planted")`;

/** What can be read afterwards that is not the program's own. */
const LOOK = `
import os
for top in ["/home/user", "/tmp", "/var/tmp"]:
    for directory, directories, files in os.walk(top):
        for name in files:
            try:
                content = open(os.path.join(directory, name)).read()
            except OSError:
                continue
            if content not in ["own\\n", ""]:
                print(directory, name, content[:100])
print("looked")`;

test("attributes of overlays lead to no file of another layer", async () => {
  const vm = await boot();
  expect(await output(vm, `python3 -c '${PLANT}'`)).toBe("planted\n");
  const first = await vm.snapshot();
  await output(
    vm,
    "mkdir -p secret; echo not-yours > secret/inside; echo not-yours > /tmp/secret; rm -rf secret/inside",
  );
  const second = await vm.snapshot();
  for (const from of [first, second]) {
    const one = disposeAfter(await AgentVm.create({ from }));
    await output(one, "rm -f /tmp/secret");
    expect(await output(one, `python3 -c '${LOOK}'`)).toBe("looked\n");
    const outside = await one.exec("ls /root/secret /secret /etc/hidden 2>/dev/null; cat /etc/shadow 2>/dev/null");
    expect(outside.stdout).toBe("");
  }
  for (const one of [first, second]) await AgentVm.snapshots.remove(one);
});

test("whiteouts that root inside makes hide files of its own VM alone", async () => {
  const rootfs = muslRoot(temporaryDirectory());
  const vm = await boot({ rootfs, user: "root", ids: "single" });
  await vm.exec("mknod /etc/passwd.new c 0 0; rm /etc/passwd; mknod /etc/passwd c 0 0; mv /etc/release /etc/moved");
  const from = await vm.snapshot();
  const one = disposeAfter(await AgentVm.create({ from }));
  await one.exec("ls /etc");
  const other = await boot({ rootfs, user: "root", ids: "single" });
  expect(await output(other, "cat /etc/release; ls /etc/passwd")).toBe("of musl\n/etc/passwd\n");
  expect(fs.readFileSync(path.join(rootfs, "etc/release"), "utf8")).toBe("of musl\n");
  await AgentVm.snapshots.remove(from);
});

test("a file that was open before the snapshot changes nothing of it", async () => {
  const vm = await boot();
  await output(vm, "echo kept > f; echo kept > g");
  const { background } = await vm.exec(
    `python3 -c '
import os, time
files = [open(name, "r+") for name in ["f", "g"]]
directory = os.open(".", os.O_RDONLY)
while True:
    for file in files:
        file.seek(0); file.write("lost\\n"); file.flush()
    os.close(os.open("h", os.O_CREAT | os.O_WRONLY, dir_fd=directory))
    time.sleep(0.01)' > /dev/null 2>&1 &`,
  );
  await vm.killProcess(background[0].pid);
  await vm.exec("while pgrep python3 > /dev/null; do sleep 0.01; done; echo kept > f; rm -f h");
  const from = await vm.snapshot();
  await output(vm, "exec 3>>f; echo more >&3; echo more >> f; ln f link; chmod 600 f; rm g");
  const one = disposeAfter(await AgentVm.create({ from }));
  expect(await output(one, "cat f; ls; stat -c %a f")).toBe("kept\nf\ng\n644\n");
  await AgentVm.snapshots.remove(from);
});
