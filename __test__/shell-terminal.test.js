"use strict";
const { rejection, until } = require("./fixture/promises");
const { shellsOf } = require("./fixture/shells");
const { bootForFile } = require("./fixture/vm");

let vm;
let shells;
beforeAll(async () => {
  vm = await bootForFile();
  shells = shellsOf(vm);
});

/** The output of a command in a separate terminal. */
async function printed(command, options) {
  const shell = await shells.open({ command: "sh", args: ["-c", command], ...options });
  await shell.wait();
  return shell.text().replaceAll("\r\n", "\n");
}

test("a shell has a terminal in the VM's own /dev/pts", async () => {
  const text = await printed("tty; stat -c '%F, mode %a, of %U' $(tty); test -t 0 -a -t 1 -a -t 2 && echo all three");
  expect(text).toMatch(/^\/dev\/pts\/\d+\ncharacter special file, mode 6[02]0, of user\nall three\n$/);
});

test("each has its own", async () => {
  const opened = await Promise.all([1, 2, 3].map(() => shells.open({ command: "sh", args: ["-c", "tty; cat"] })));
  await Promise.all(opened.map((shell) => shell.shows("/dev/pts/")));
  expect(new Set(opened.map((shell) => shell.text())).size).toBe(3);
  await Promise.all(opened.map((shell) => shell.close()));
});

test("it leads its session and its group, is in the foreground, and /dev/tty is its terminal", async () => {
  const text = await printed("ps -o pid=,pgid=,sid=,tpgid= -p $$; echo $$; echo through > /dev/tty");
  const [ids, own, through] = text.trim().split("\n");
  expect(ids.trim().split(/\s+/)).toEqual([own, own, own, own]);
  expect(through).toBe("through");
  // The same pid as in the API.
  expect((await vm.listShells()).map(({ pid }) => String(pid))).toContain(own);
});

test("by default it is an interactive bash with a short prompt, in the user's home, without warnings", async () => {
  const shell = await shells.open();
  await shell.shows("user@agent-vm:~$ ");
  await shell.write("echo $0 $- $PWD; exit\n");
  expect(await shell.wait()).toBe(0);
  expect(shell.text()).toMatch(/\rbash [a-zA-Z]*i[a-zA-Z]* \/home\/user\r\n/);
  expect(shell.text()).not.toMatch(/job control|ioctl|warning|cannot|not found/i);
  const { command, args, cols, rows } = (await vm.listShells()).find(({ shellId }) => shellId === shell.id);
  expect({ command, args, cols, rows }).toEqual({ command: "bash", args: [], cols: 80, rows: 24 });
});

test("its prompt is not used by other shells", async () => {
  const shell = await shells.open();
  await shell.write("sh\n");
  await shell.shows(/[\r\n]\$ $/);
  await shell.write("exit\nexit\n");
  await shell.wait();
});

test("where the VM has no bash, it is sh", async () => {
  const other = await bootForFile();
  await other.exec("mkdir bin && ln -s /bin/sh bin/sh");
  const own = shellsOf(other);
  const shell = await own.open({ env: { PATH: "/home/user/bin" } });
  await shell.shows("$ ");
  await shell.write("echo $0 $SHELL; exit 3\n");
  expect(await shell.wait()).toBe(3);
  expect(shell.text()).toContain("sh /bin/sh\r\n");
  expect(await other.listShells()).toMatchObject([{ command: "sh", args: [], running: false, exitCode: 3 }]);
  expect(other.activeCount).toBe(0);
});

test("its environment is that of a login, in UTF-8", async () => {
  const text = await printed('echo "$TERM $HOME $USER $LOGNAME $SHELL $LANG"; locale charmap');
  expect(text).toMatch(/^xterm-256color \/home\/user user user \/(usr\/)?bin\/bash C\.UTF-8\nUTF-8\n$/);
});

test("the call's env is added to the VM's, and either may set TERM, SHELL and the prompt", async () => {
  const print = 'echo "$TERM $SHELL $A $B"';
  expect(await printed(print, { env: { TERM: "dumb", SHELL: "/bin/sh", A: "a" } })).toBe("dumb /bin/sh a \n");
  const other = await bootForFile({ env: { TERM: "vt100", B: "b" } });
  const own = shellsOf(other);
  const shell = await own.open({ command: "sh", args: ["-c", print], env: { A: "a" } });
  await shell.wait();
  expect(shell.text()).toMatch(/^vt100 \S*bash a b\r\n$/);
  const prompting = await own.open({ env: { PS1: "mine> ", TERM: "dumb" } });
  await prompting.shows("mine> ");
  await prompting.close();
});

test("openShell runs the given program with its arguments in the given directory", async () => {
  const shell = await shells.open({
    command: "python3",
    args: ["-c", "import os,sys; print(os.getcwd(), sys.argv)", "a b", ""],
    cwd: "/tmp",
  });
  expect(await shell.wait()).toBe(0);
  expect(shell.text()).toBe("/tmp ['-c', 'a b', '']\r\n");
  const listed = (await vm.listShells()).find(({ shellId }) => shellId === shell.id);
  expect(listed).toMatchObject({ command: "python3", running: false, exitCode: 0 });
  expect(listed.args.slice(2)).toEqual(["a b", ""]);
});

test("arguments without a program go to the default shell", async () => {
  const shell = await shells.open({ args: ["-c", "echo $0 $BASH_VERSION; exit 4"] });
  expect(await shell.wait()).toBe(4);
  expect(shell.text()).toMatch(/^bash \d/);
});

test("a missing program or directory is ENOENT, a program that may not be run is EACCES, and neither counts as active", async () => {
  const active = vm.activeCount;
  const known = (await vm.listShells()).length;
  expect(await rejection(vm.openShell({ command: "no-such-program" }))).toMatchObject({
    code: "ENOENT",
    path: "no-such-program",
    syscall: "execve",
  });
  expect(await rejection(vm.openShell({ cwd: "/no/such/directory" }))).toMatchObject({
    code: "ENOENT",
    path: "/no/such/directory",
    syscall: "chdir",
  });
  expect(await rejection(vm.openShell({ command: "/etc/passwd" }))).toMatchObject({ code: "EACCES" });
  expect(vm.activeCount).toBe(active);
  expect((await vm.listShells()).length).toBe(known);
  await until(async () => (await vm.allProcesses()).length === 0);
});

test("erasing removes a whole character, even one of several bytes", async () => {
  const shell = await shells.open({ command: "cat" });
  await shell.write("zwölf é🦀\x7f\x7f!\n\x04");
  expect(await shell.wait()).toBe(0);
  expect(shell.text().split("\r\n").at(-2)).toBe("zwölf !");
});
