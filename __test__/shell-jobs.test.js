"use strict";
const { until } = require("./fixture/promises");
const { shellsOf } = require("./fixture/shells");
const { bootForFile } = require("./fixture/vm");

let vm;
let shell;
beforeEach(async () => {
  vm = await bootForFile();
  shell = await shellsOf(vm).open();
  await shell.shows("$ ");
});

const find = async (command) => (await vm.allProcesses()).find((process) => process.command === command);
/**
 * Resolves to the process when it is in the foreground: a shell first starts a command and then gives it the terminal.
 */
const inFront = (command) =>
  until(async () => {
    const process = await find(command);
    const front = process && (await vm.exec(`ps -o tpgid= -p ${process.pid}`)).stdout.trim();
    return front === String(process?.pgid) && process;
  });
const status = async (command) => (await find(command))?.status;

test("Ctrl-C ends the foreground command and not the shell", async () => {
  await shell.write("sleep 1000\n");
  await inFront("sleep");
  await shell.write("\x03");
  await until(async () => !(await find("sleep")));
  await shell.write("echo status $?\n");
  await shell.shows("status 130");
  expect(vm.activeCount).toBe(1);
});

test("Ctrl-\\ and Ctrl-D do what they do in a terminal", async () => {
  await shell.write("sleep 1000\n");
  await inFront("sleep");
  await shell.write("\x1c");
  await until(async () => !(await find("sleep")));
  await shell.write("echo status $?\n");
  await shell.shows("status 131");
  await shell.write("\x04");
  expect(await shell.wait()).toBe(0);
});

test("Ctrl-Z stops a command, bg continues it in the background, fg brings it to the foreground", async () => {
  await shell.write("sleep 1000\n");
  await inFront("sleep");
  expect(await status("sleep")).toBe("running");
  await shell.write("\x1a");
  await until(async () => (await status("sleep")) === "stopped");
  await shell.shows(/\[1\]\+ +Stopped +sleep 1000/);

  await shell.write("bg\n");
  await until(async () => (await status("sleep")) === "running");
  await shell.write("echo the shell is $((40 + 2)); jobs\n");
  await shell.shows("the shell is 42");
  await shell.shows(/\[1\]\+ +Running +sleep 1000 &/);

  await shell.write("fg\n");
  await inFront("sleep");
  await shell.write("\x03");
  await until(async () => !(await find("sleep")));
  await shell.write("echo status $?\n");
  await shell.shows("status 130");
});

test("a job in the background that reads the terminal is stopped", async () => {
  await shell.write("cat &\n");
  await until(async () => (await status("cat")) === "stopped");
  await shell.write("fg\n");
  await inFront("cat");
  await until(async () => (await status("cat")) === "running");
  await shell.write("to the cat\n");
  await shell.shows(/to the cat\r\n.*to the cat\r\n/);
});

test("a pipeline is one job: Ctrl-Z stops and Ctrl-C ends all of it", async () => {
  await shell.write("yes | tee /dev/null | grep -v y\n");
  await inFront("grep");
  await shell.write("\x1a");
  await until(async () => {
    const all = await Promise.all(["yes", "tee", "grep"].map(status));
    return all.every((each) => each === "stopped");
  });
  await shell.write("fg\n");
  await until(async () => (await status("yes")) === "running");
  await shell.write("\x03");
  await until(async () => !(await find("yes")) && !(await find("tee")) && !(await find("grep")));
});
