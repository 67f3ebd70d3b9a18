"use strict";
const { boot, output } = require("./fixture/vm");

function fields(status) {
  return Object.fromEntries(status.split("\n").map((line) => line.split(":\t")));
}

const nothing = "0000000000000000";
const none = { CapInh: nothing, CapPrm: nothing, CapEff: nothing, CapBnd: nothing, CapAmb: nothing };

test("a command has no capability, can gain none, and runs under a filter", async () => {
  const vm = await boot();
  expect(fields(await output(vm, "cat /proc/self/status"))).toMatchObject({ ...none, Seccomp: "2", NoNewPrivs: "1" });
});

test("init has no capability, can gain none, and runs under a filter", async () => {
  const vm = await boot();
  expect(fields(await output(vm, "cat /proc/1/status"))).toMatchObject({ ...none, Seccomp: "2", NoNewPrivs: "1" });
});

test("a spawned process has no capability", async () => {
  const vm = await boot();
  let printed = "";
  const { pid } = await vm.spawn("cat", ["/proc/self/status"], { onStdout: (data) => (printed += data) });
  await vm.waitProcess(pid);
  expect(fields(printed)).toMatchObject({ ...none, Seccomp: "2", NoNewPrivs: "1" });
});

test("set-uid programs run as the user", async () => {
  const vm = await boot();
  const found = await output(vm, "find /usr/bin -perm -4000 -type f");
  // If the host has su, it must not work; as root, su asks for no password.
  expect((await vm.exec("su -c id root </dev/null")).stdout).not.toContain("uid=0");
  expect((await vm.exec("sudo -n id")).stdout).not.toContain("uid=0");
  expect(found).toEqual(expect.any(String));
});

test("no other id can be taken", async () => {
  const vm = await boot();
  const code = (await vm.exec(`python3 -c "import os; os.setuid(0)"`)).stderr;
  expect(code).toMatch(/Error/);
  expect((await vm.exec("chown 0 /tmp")).exitCode).not.toBe(0);
});
