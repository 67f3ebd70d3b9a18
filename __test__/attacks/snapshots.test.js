"use strict";
// What a program plants for the VM that will take the place of its own: names that the kernel's overlays understand.

const fs = require("node:fs");
const path = require("node:path");
const { AgentVm } = require("../..");
const { temporaryDirectory } = require("../fixture/directory");
const { until } = require("../fixture/promises");
const { muslRoot } = require("../fixture/roots");
const { boot, disposeAfter, output } = require("../fixture/vm");

/** Sets every attribute of overlays on a file and on a directory of each private directory. */
const PLANT = `
import os
targets = [b"/etc/hidden", b"/root/secret", b"../../../secret", b"secret", b"/secret", b"y", b"x", b""]
planted = 0
names = ["redirect", "metacopy", "opaque", "origin", "impure", "whiteout", "upper", "nlink", "xattr", "protattr", "uuid"]
for top in ["/home/user", "/tmp", "/var/tmp"]:
    for name in names:
        for number, value in enumerate(targets):
            directory, file = f"{top}/d-{name}-{number}", f"{top}/f-{name}-{number}"
            os.mkdir(directory)
            open(f"{directory}/inside", "w").write("own\\n")
            open(file, "w").write("own\\n")
            for each in [directory, file]:
                for kind in ["user", "trusted"]:
                    try:
                        os.setxattr(each, f"{kind}.overlay.{name}", value)
                        planted += 1
                    except OSError:
                        pass
print(planted)`;

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
  // All of them: nothing is below yet, so no overlay has these names for itself.
  expect(await output(vm, `python3 -c '${PLANT}'`)).toBe(`${3 * 11 * 8 * 2}\n`);
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
  await output(
    vm,
    "rm /etc/passwd; mv /etc/release /etc/moved; mknod /etc/hidden c 0 0 || true; mkdir /tmp/d; mknod /tmp/d/x c 0 0 || true",
  );
  const from = await vm.snapshot();
  const one = disposeAfter(await AgentVm.create({ from }));
  expect(
    await output(one, "cat /etc/moved; ls /etc/passwd /etc/release /etc/hidden /tmp/d/x 2>/dev/null || true"),
  ).toBe("of musl\n");
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

test("what is open while a running VM is kept changes nothing of the snapshot", async () => {
  const { checks } = await AgentVm.doctor();
  const freezes = checks.find(({ name }) => name === "cgroup").ok;
  const vm = await boot();
  const { pid } = await vm.spawn("python3", [
    "-c",
    `
import mmap, os, socket
file = open("mapped", "w+b"); file.truncate(8); view = mmap.mmap(file.fileno(), 8)
appended = open("appended", "a"); directory = os.open(".", os.O_RDONLY)
# A descriptor that is on its way, and so in no process.
near, far = socket.socketpair(); socket.send_fds(near, [b"x"], [os.open("sent", os.O_CREAT | os.O_WRONLY)])
number = 0
while True:
    number += 1
    view[:] = b"%08d" % number
    appended.write("x"); appended.flush()
    if number % 1000 == 0:
        _, fds, _, _ = socket.recv_fds(far, 1, 1); os.write(fds[0], b"x"); socket.send_fds(near, [b"x"], fds); os.close(fds[0])
        os.close(os.open(f"made-{number}", os.O_CREAT | os.O_WRONLY, dir_fd=directory))
`,
  ]);
  await until(async () => (await vm.readdir("/home/user")).includes("made-1000"));
  /** Whether VMs that begin with the snapshot see the same for ever, while the program goes on. */
  const compare = async (from) => {
    const look = "cat mapped; wc -c appended sent; ls";
    const one = disposeAfter(await AgentVm.create({ from }));
    const before = await output(one, look);
    const writes = String(await vm.readFile("/home/user/mapped"));
    await until(async () => String(await vm.readFile("/home/user/mapped")) !== writes);
    const other = disposeAfter(await AgentVm.create({ from }));
    const after = [await output(one, look), await output(other, look)];
    await AgentVm.snapshots.remove(from);
    return after.every((found) => found === before) ? "the same" : [before, ...after];
  };
  const found = await vm.snapshot().then(compare, ({ code }) => code);
  expect(found).toEqual(freezes ? "the same" : "ISOLATION_UNAVAILABLE");
  await vm.killProcess(pid);
});
