"use strict";
const { pythonJson } = require("../fixture/guest-programs");
const { boot, output } = require("../fixture/vm");

const landlock = { isolation: "landlock" };

test("it runs as nobody where the server is root, as the server's user elsewhere, and without any right", async () => {
  const [vm, other] = await Promise.all([boot(landlock), boot(landlock)]);
  const [one, two] = await Promise.all([output(vm, "id -u"), output(other, "id -u")]);
  const own = process.getuid() !== 0;
  expect([one === two, one === `${process.getuid()}\n`]).toEqual([own, own]);
  expect(
    await pythonJson(
      vm,
      {},
      `
header = (ctypes.c_uint32 * 2)(0x20080522, 0)
data = (ctypes.c_uint32 * 6)()
libc.capget(header, data)
print(json.dumps({
    "capabilities": list(data),
    "no_new_privs": libc.prctl(39, 0, 0, 0, 0),
    "filter": libc.prctl(21, 0, 0, 0, 0),
    "groups": [group for group in os.getgroups() if group != os.getgid()] if os.getuid() != ${process.getuid()} else [],
    "setuid": attempt(lambda: os.setuid(0)),
    "setgid": attempt(lambda: os.setgid(0)),
}))`,
    ),
  ).toEqual({
    capabilities: [0, 0, 0, 0, 0, 0],
    no_new_privs: 1,
    filter: 2,
    groups: [],
    setuid: "EPERM",
    setgid: "EPERM",
  });
});

test("set-uid programs run as the user, and none can be made", async () => {
  const vm = await boot(landlock);
  expect((await vm.exec("su -c id root </dev/null")).stdout).not.toContain("uid=0");
  expect((await vm.exec("sudo -n id")).stdout).not.toContain("uid=0");
  await output(vm, "cp /bin/true mine");
  for (const mode of ["u+s", "g+s", "4755", "2755"]) expect((await vm.exec(`chmod ${mode} mine`)).exitCode).toBe(1);
  expect(await output(vm, "stat -c %a mine")).toBe("755\n");
  // Directories may be set-group-id, as git and other programs make them.
  expect(await output(vm, "mkdir -m 2775 ours; git init -q --shared=group r; stat -c %a ours r/.git")).toBe(
    "2775\n2775\n",
  );
});

test("node, npm, python, bash, git, gcc, make and a shell on a terminal work", async () => {
  const vm = await boot(landlock);
  expect(await output(vm, "node -p process.version")).toBe(`${process.version}\n`);
  expect(await output(vm, "npm --version")).toMatch(/^\d+\./);
  expect(
    await output(vm, `python3 -m venv --without-pip env && env/bin/python -c 'import sys; print(sys.prefix)'`),
  ).toMatch(/\/home\/env\n$/);
  expect(
    (await vm.execFile("bash", ["-c", "cat <(echo substituted) <<< here; cat <<< here > /dev/stdout"])).stdout,
  ).toBe("substituted\nhere\n");
  const git =
    "git init -q r && cd r && git -c user.name=n -c user.email=e commit -q --allow-empty -m first && git log --format=%s";
  expect(await output(vm, git)).toBe("first\n");
  const source = '#include <stdio.h>\nint main(void) { puts("compiled"); return 0; }\n';
  expect(
    await output(vm, "cat > a.c && printf 'a: a.c\\n\\tgcc a.c -o a\\n' > Makefile && make -s && ./a", {
      stdin: source,
    }),
  ).toBe("compiled\n");
  expect(
    await output(vm, `printf '#!/bin/sh\\necho script' > s && chmod +x s && ./s; mktemp | grep -c "^$TMPDIR/"`),
  ).toBe("script\n1\n");
  const { shellId } = await vm.openShell({ cols: 91, rows: 33 });
  let seen = "";
  vm.on("shellData", ({ data }) => (seen += Buffer.from(data)));
  await vm.writeShell(shellId, "stty size; stty -echo; echo to-the-terminal > /dev/tty; exit 3\n");
  expect(await vm.waitShell(shellId)).toBe(3);
  expect(seen).toContain("33 91");
  expect(seen).toContain("to-the-terminal\r\n");
});

test("a program cannot type into its own terminal (TIOCSTI)", async () => {
  const vm = await boot(landlock);
  let seen = "";
  vm.on("shellData", ({ data }) => (seen += Buffer.from(data)));
  const script = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSTI, b'x')";
  const { shellId } = await vm.openShell({ command: "python3", args: ["-c", script] });
  expect(await vm.waitShell(shellId)).toBe(1);
  expect(seen).toContain("Operation not permitted");
});

test("a shell's screen shows a full-screen program and follows a resize", async () => {
  const vm = await boot(landlock);
  const shell = await vm.openShell({ command: "vim", args: ["-u", "NONE", "-N"], screen: true });
  const drawn = await vm.waitForScreen(shell.shellId, "VIM - Vi IMproved");
  expect(drawn).toMatchObject({ rows: 24, alternateScreen: true, exact: true });
  await shell.resize(100, 10);
  await vm.waitForScreen(shell.shellId, /^(~\n){7,}/m);
  expect(await vm.readScreen(shell.shellId)).toMatchObject({ rows: 10, cols: 100 });
  await shell.close();
});
