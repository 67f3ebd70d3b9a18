"use strict";
const { boot, output } = require("./fixture/vm");

// Packages that the test makes itself, because a VM has no network by default.

const NPM = [
  {
    path: "/home/user/greeter/package.json",
    content: JSON.stringify({ name: "greeter", version: "1.2.3", bin: { greet: "cli.js" } }),
  },
  { path: "/home/user/greeter/cli.js", content: "#!/usr/bin/env node\nconsole.log('hello', process.argv[2])\n" },
];

const PIP = [
  {
    path: "/home/user/greeter/setup.py",
    content: `from setuptools import setup
setup(name="greeter", version="1.2.3", py_modules=["greeter"], entry_points={"console_scripts": ["greet=greeter:main"]})
`,
  },
  { path: "/home/user/greeter/greeter.py", content: "import sys\ndef main(): print('hello', sys.argv[1])\n" },
];

async function withFiles(files) {
  const vm = await boot();
  for (const { success, error } of await vm.writeFiles(files)) if (!success) throw new Error(error);
  return vm;
}

/** The standard output of a command that must succeed without warnings. */
async function quietly(vm, command) {
  const { exitCode, stdout, stderr } = await vm.exec(command);
  expect({ command, exitCode, stderr }).toEqual({ command, exitCode: 0, stderr: "" });
  return stdout;
}

test("npm installs a directory globally, without root, and its command is found", async () => {
  const vm = await withFiles(NPM);
  await quietly(vm, "npm install -g ./greeter");
  expect(await quietly(vm, "greet you; command -v greet")).toBe("hello you\n/home/user/.local/bin/greet\n");
  expect(await quietly(vm, "npm ls -g --depth=0")).toContain("greeter@1.2.3");
  await quietly(vm, "npm uninstall -g greeter");
  expect((await vm.exec("greet you")).exitCode).toBe(127);
});

test("npm installs a tarball globally, and a directory into a project, where npx finds it", async () => {
  const vm = await withFiles(NPM);
  await output(vm, "npm pack --silent ./greeter");
  await quietly(vm, "npm install -g ./greeter-1.2.3.tgz");
  expect(await quietly(vm, "greet you")).toBe("hello you\n");
  await quietly(vm, "mkdir project && cd project && npm init -y && npm install --no-audit ../greeter-1.2.3.tgz");
  expect(await quietly(vm, "cd project && npx greet npx")).toBe("hello npx\n");
});

test("pip installs a directory for the user, without root, and its command is found", async () => {
  const vm = await withFiles(PIP);
  await quietly(vm, "pip install ./greeter");
  expect(await quietly(vm, "greet you; command -v greet")).toBe("hello you\n/home/user/.local/bin/greet\n");
  expect(await quietly(vm, "python3 -c 'import greeter; print(greeter.__file__)'")).toContain("/home/user/.local/lib/");
  await quietly(vm, "pip uninstall --yes greeter");
  expect((await vm.exec("greet you")).exitCode).toBe(127);
});

test("pip installs into a virtual environment too", async () => {
  const vm = await withFiles(PIP);
  // With the host's pip: Debian has the files to install another one in a separate package.
  await quietly(vm, "python3 -m venv --without-pip --system-site-packages env");
  const installed = await quietly(vm, "env/bin/python -m pip install ./greeter && env/bin/greet you");
  expect(installed).toContain("hello you");
  expect(await vm.exists("/home/user/.local")).toBe(false);
});

test("git keeps its settings, and commits", async () => {
  const vm = await boot();
  await quietly(vm, "git config --global user.name user && git config --global user.email user@localhost");
  await quietly(vm, "git config --global init.defaultBranch main");
  expect(await quietly(vm, "git config --global user.name")).toBe("user\n");
  await quietly(vm, "git init project && cd project && echo text > file && git add file && git commit -m first");
  expect(await quietly(vm, "git -C project log --format='%an <%ae> %s'")).toBe("user <user@localhost> first\n");
});
