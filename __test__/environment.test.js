"use strict";
const { boot, output } = require("./fixture/vm");

const names = (printed) =>
  printed
    .trim()
    .split("\n")
    .map((line) => line.split("=")[0])
    .sort();

test("nothing of the host's environment is passed in", async () => {
  process.env.AGENT_VM_TEST_SECRET = "from the host";
  try {
    const vm = await boot();
    // Without a shell, which would add PWD.
    const { stdout } = await vm.execFile("env");
    const known = ["HOME", "LANG", "LOGNAME", "PATH", "PIP_BREAK_SYSTEM_PACKAGES", "SHELL", "USER"];
    const retries = [
      "CARGO_NET_RETRY",
      "PIP_RETRIES",
      "UV_HTTP_RETRIES",
      "YARN_HTTP_RETRY",
      "npm_config_fetch_retries",
    ];
    expect(names(stdout)).toEqual([...known, ...retries, "npm_config_prefix"].sort());
    expect(await output(vm, "cat /proc/[0-9]*/environ 2>/dev/null; true")).not.toContain("AGENT_VM_TEST_SECRET");
  } finally {
    delete process.env.AGENT_VM_TEST_SECRET;
  }
});

test("programs installed for the user are on the PATH, and the locale is UTF-8", async () => {
  const vm = await boot();
  expect(await output(vm, "echo $HOME $USER $LANG $PIP_BREAK_SYSTEM_PACKAGES $npm_config_prefix")).toBe(
    "/home/user user C.UTF-8 1 /home/user/.local\n",
  );
  await output(
    vm,
    "mkdir -p ~/.local/bin && printf '#!/bin/sh\\necho mine' > ~/.local/bin/mine && chmod +x ~/.local/bin/mine",
  );
  expect(await output(vm, "mine")).toBe("mine\n");
});

test("node inside is the server's own", async () => {
  const vm = await boot();
  expect(await output(vm, "node --version")).toBe(`${process.version}\n`);
  expect((await vm.execFile("node", ["-p", "1 + 1"])).stdout).toBe("2\n");
});

test("the VM's env reaches every command, and a call's env is added to it", async () => {
  const vm = await boot({ env: { A: "of the VM", B: "of the VM" } });
  expect(await output(vm, 'echo "$A, $B, $C"')).toBe("of the VM, of the VM, \n");
  expect(await output(vm, 'echo "$A, $B, $C"', { env: { B: "of the call", C: "too" } })).toBe(
    "of the VM, of the call, too\n",
  );
  expect(await output(vm, 'echo "$A, $B, $C"')).toBe("of the VM, of the VM, \n");
});

test("values may be empty, hold several lines, equals signs, quotes and any letters", async () => {
  const vm = await boot();
  const value = "a=b\n'\"$HOME` zwölf 🦀";
  expect(await output(vm, 'printf %s "$V"', { env: { V: value } })).toBe(value);
  expect(await output(vm, 'echo "${V-unset}${V:-empty}"', { env: { V: "" } })).toBe("empty\n");
});

test("the PATH of the call's env finds the program", async () => {
  const vm = await boot();
  await output(vm, "mkdir bin && printf '#!/bin/sh\\necho found' > bin/only-here && chmod +x bin/only-here");
  const env = { PATH: "/home/user/bin:/usr/bin:/bin" };
  expect((await vm.execFile("only-here", [], { env })).stdout).toBe("found\n");
  await expect(vm.execFile("only-here")).rejects.toMatchObject({ code: "ENOENT" });
});
