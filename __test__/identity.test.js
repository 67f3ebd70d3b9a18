"use strict";
const { boot, output } = require("./fixture/vm");

test("commands run as uid 1000, user, with no other group", async () => {
  const vm = await boot();
  expect(await output(vm, "id")).toBe("uid=1000(user) gid=1000(user) groups=1000(user)\n");
  expect(await output(vm, "whoami && id -ru && id -rg")).toBe("user\n1000\n1000\n");
});

test("commands start in /home/user, which is empty and theirs", async () => {
  const vm = await boot();
  expect(await output(vm, "pwd; ls -A; stat -c %u:%g .; touch here && ls")).toBe("/home/user\n1000:1000\nhere\n");
});

test("the host name is agent-vm, or what was asked for", async () => {
  const usual = await boot();
  const named = await boot({ hostname: "box-7.example" });
  expect(await output(usual, "hostname; cat /etc/hostname; uname -n")).toBe("agent-vm\nagent-vm\nagent-vm\n");
  expect(await output(named, "hostname")).toBe("box-7.example\n");
  expect(await output(named, "getent hosts box-7.example")).toMatch(/127\.0\.0\.1|::1/);
});

test("the host name cannot be changed from inside", async () => {
  const vm = await boot();
  expect((await vm.exec("hostname other")).exitCode).not.toBe(0);
  expect(await output(vm, "hostname")).toBe("agent-vm\n");
});
