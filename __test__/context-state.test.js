"use strict";
// What a context keeps between commands, and what each command has of its own.
const { context } = require("./fixture/contexts");
const { until } = require("./fixture/promises");
const { boot, bootForFile } = require("./fixture/vm");

let vm;
beforeAll(async () => {
  vm = await bootForFile();
});

/** Standard output of each of these commands, run one after the other in one context. */
async function outputs(run, ...commands) {
  const printed = [];
  for (const command of commands) printed.push((await run(command)).stdout);
  return printed;
}

test("a context keeps its working directory, variables, functions, aliases and options", async () => {
  const run = await context(vm);
  expect(
    await outputs(
      run,
      "cd /tmp; mkdir -p deep; cd deep",
      "pwd",
      "plain='5 6'; export EXPORTED=x; set -- a 'b c'; declare -A map=([k]=v)",
      'echo "$plain"; sh -c "echo \\$EXPORTED"; echo "$#,$2,${map[k]}"',
      "greet() { echo hello $1; }; alias shout='echo LOUD'",
      "greet you; shout",
      "set -o noglob; shopt -s nullglob",
      "echo *; shopt -q nullglob && echo set",
    ),
  ).toEqual(["", "/tmp/deep\n", "", "5 6\nx\n2,b c,v\n", "", "hello you\nLOUD\n", "", "*\nset\n"]);
});

test("$? is the status of the command before, and each command has its own exit code", async () => {
  const run = await context(vm);
  for (const code of [0, 1, 7, 255]) {
    expect(await run(`(exit ${code})`)).toMatchObject({ exitCode: code, reason: "exited", signal: null });
    expect(await run("echo $?")).toMatchObject({ exitCode: 0, stdout: `${code}\n` });
  }
  await run("false");
  expect((await run("if [ $? = 1 ]; then echo one; fi")).stdout).toBe("one\n");
});

test("stdout and stderr are separate and byte-exact, also in a shell that traces", async () => {
  const run = await context(vm);
  const chunks = [];
  const options = { onStdout: (data) => chunks.push(data) };
  await run("printf '\\001\\377\\000\\n'; head -c 300000 /dev/zero; echo err >&2", options);
  const bytes = Buffer.concat(chunks);
  expect(bytes.length).toBe(300_004);
  expect([...bytes.subarray(0, 4)]).toEqual([1, 255, 0, 10]);
  expect(await run("echo out; echo err >&2")).toMatchObject({ stdout: "out\n", stderr: "err\n", background: [] });
  await run("set -x");
  const traced = await run("true");
  expect(traced).toMatchObject({ stdout: "", stderr: expect.stringMatching(/\+ true\n$/) });
  expect(traced.stderr).not.toContain("export");
  await run("set +x; trap 'echo debug' DEBUG");
  expect((await run("true")).stdout).toMatch(/^(debug\n)+$/);
});

test("standard input is at its end, for every command and not only for the first", async () => {
  const run = await context(vm);
  expect(await run("cat; read line || echo none")).toMatchObject({ stdout: "none\n", exitCode: 0 });
  expect(await run("python3 -c 'print(repr(open(0).read()))'")).toMatchObject({ stdout: "''\n" });
  expect((await run("echo next")).stdout).toBe("next\n");
});

test("here-documents, long commands and commands of many lines arrive as they are", async () => {
  const run = await context(vm);
  const text = "a 'b' \"c\" $d \\ `e`\n\ttab\n";
  expect((await run(`cat <<'END'\n${text}END\n`)).stdout).toBe(text);
  expect((await run("x=1; cat <<END\n$x\nEND")).stdout).toBe("1\n");
  const long = "x".repeat(100_000);
  expect((await run(`echo ${long}`)).stdout).toBe(`${long}\n`);
  expect((await run("echo ü€😀 # comment\n\necho two")).stdout).toBe("ü€😀\ntwo\n");
  expect(await run("")).toMatchObject({ exitCode: 0, stdout: "", stderr: "" });
});

test("an unclosed quote and a syntax error are errors of that command alone", async () => {
  const run = await context(vm);
  await run("kept=yes");
  for (const command of ["echo 'unclosed", 'echo "$(', "if then", "for", "}", "cat <<<"]) {
    const failed = await run(command);
    expect(failed).toMatchObject({ stdout: "", contextRestarted: false });
    expect(failed.exitCode).not.toBe(0);
    expect(failed.stderr).toContain("bash: ");
    expect((await run("echo $kept")).stdout).toBe("yes\n");
  }
});

test("errors of the shell itself end a command and not the context, as at a terminal", async () => {
  const run = await context(vm);
  await run("kept=yes; readonly fixed=1");
  for (const command of ["set -u; echo $nothing", "set +u; echo ${nothing:?no}", "exec no-such-program", "fixed=2"]) {
    expect(await run(`${command}; echo on`)).toMatchObject({ contextRestarted: false });
  }
  expect(await run("return 4")).toMatchObject({ exitCode: 4, contextRestarted: false });
  expect(await run("echo $? $kept")).toMatchObject({ stdout: "4 yes\n", contextRestarted: false });
});

test("set -e ends the shell where it would end a script, and not where it would not", async () => {
  const run = await context(vm);
  await run("set -e");
  expect(await run("false || true; ! true")).toMatchObject({ exitCode: 1, contextRestarted: false });
  expect(await run("echo on; false; echo never")).toMatchObject({
    exitCode: 1,
    stdout: "on\n",
    contextRestarted: true,
  });
});

test("redirections and descriptors that `exec` opens last", async () => {
  const run = await context(vm);
  expect(
    await outputs(
      run,
      "exec 5>/tmp/five",
      "echo kept >&5",
      "exec 5>&-; cat /tmp/five",
      "exec 6>&1 >/tmp/log; echo one",
    ),
  ).toEqual(["", "", "kept\n", ""]);
  expect(await outputs(run, "echo two", "exec >&6 6>&-; cat /tmp/log", "echo back")).toEqual([
    "",
    "one\ntwo\n",
    "back\n",
  ]);
});

test("a virtual environment stays active", async () => {
  const run = await context(vm, { cwd: "/home/user" });
  const made = await run("python3 -m venv --without-pip env && . env/bin/activate");
  expect(made).toMatchObject({ exitCode: 0, stderr: "" });
  expect(await run("python3 -c 'import sys; print(sys.prefix)'; echo $VIRTUAL_ENV")).toMatchObject({
    stdout: "/home/user/env\n/home/user/env\n",
  });
  expect(await outputs(run, "deactivate", "echo [$VIRTUAL_ENV]")).toEqual(["", "[]\n"]);
});

test("background jobs belong to the context, and what they print later is dropped", async () => {
  const run = await context(vm);
  const started = await run(
    "(until [ -e /tmp/go ]; do sleep 0.01; done; echo late; echo late >&2; touch /tmp/printed; sleep 1000) & sleep 1000 & echo now",
  );
  expect(started).toMatchObject({ stdout: "now\n", stderr: "" });
  expect(started.background.map(({ command }) => command)).toEqual(expect.arrayContaining(["bash", "sleep"]));
  expect((await run("jobs -rp | wc -l")).stdout).toBe("2\n");
  await vm.writeFile("/tmp/go", "");
  await until(() => vm.exists("/tmp/printed"));
  expect(await run("echo next; echo more >&2")).toMatchObject({ stdout: "next\n", stderr: "more\n", background: [] });
  expect(await run("kill %1 %2; wait; jobs -r")).toMatchObject({ stdout: "", contextRestarted: false });
});

test("a program in a context has the three standard descriptors and no others", async () => {
  const run = await context(vm);
  const descriptors = "python3 -c 'import os; print(sorted(os.listdir(\"/proc/self/fd\")))'";
  // The fourth is the directory that is read.
  const expected = "['0', '1', '2', '3']\n";
  expect((await run(descriptors)).stdout).toBe(expected);
  await run("sleep 1000 &");
  expect((await run(descriptors)).stdout).toBe(expected);
});

test("cwd and env are where a context begins, and env may override the VM's", async () => {
  const own = await boot({ env: { BOTH: "vm", VM: "vm" } });
  const run = await context(own, { cwd: "/tmp", env: { BOTH: "context", OTHER: 'it\'s "x"\n$y' } });
  expect((await run('pwd; echo "$BOTH $VM $OTHER"')).stdout).toBe('/tmp\ncontext vm it\'s "x"\n$y\n');
});

test("contexts do not share state, and their commands run at the same time", async () => {
  const [one, other] = [await context(vm), await context(vm)];
  await one("x=1; mkfifo /tmp/meet");
  expect((await other("echo [$x]")).stdout).toBe("[]\n");
  // Each waits for the other.
  const [read, written] = await Promise.all([one("cat /tmp/meet"), other("echo met > /tmp/meet")]);
  expect([read.stdout, written.exitCode]).toEqual(["met\n", 0]);
});

test("commands of one context run in the order of the calls", async () => {
  const run = await context(vm);
  const running = Array.from({ length: 50 }, (_, index) => run(`list="$list ${index}"; echo $list`));
  const last = (await Promise.all(running)).at(-1).stdout;
  expect(last.trim().split(" ").map(Number)).toEqual(Array.from({ length: 50 }, (_, index) => index));
});

test("getContext and listContexts report directory, environment and what runs", async () => {
  const own = await boot();
  const [first, second] = [await context(own), await context(own, { shell: "sh" })];
  await first("cd /tmp; export SEEN='a \"b\"\nc' ; HIDDEN=x");
  await second("exec 9>/dev/null");
  const running = first("sleep 1000 & sleep 1000");
  const waiting = first("echo waited");
  const seen = await until(async () => {
    const info = await own.getContext(first.id);
    // A process that is just being executed has its name before its arguments.
    return info.processes.length === 2 && info.processes.every(({ args }) => args[0] === "1000") && info;
  });
  expect(seen).toMatchObject({
    contextId: first.id,
    shell: "bash",
    cwd: "/tmp",
    command: "sleep 1000 & sleep 1000",
    waiting: 1,
    env: { SEEN: 'a "b"\nc', HOME: "/home/user" },
  });
  expect(seen.env).not.toHaveProperty("HIDDEN");
  expect(seen.processes.map(({ command, args }) => [command, args])).toEqual([
    ["sleep", ["1000"]],
    ["sleep", ["1000"]],
  ]);
  expect((await own.allProcesses()).map(({ pid }) => pid)).toContain(seen.pid);
  expect((await own.listContexts()).map(({ contextId, shell }) => [contextId, shell])).toEqual([
    [first.id, "bash"],
    [second.id, "sh"],
  ]);
  await own.killProcess(seen.processes.at(-1).pid);
  expect((await running).exitCode).toBe(137);
  expect((await waiting).stdout).toBe("waited\n");
});

test("an idle context counts as nothing that runs", async () => {
  const own = await boot();
  const run = await context(own);
  await run("sleep 1000 &");
  expect(own.activeCount).toBe(0);
  const running = run("sleep 0.1");
  expect(own.activeCount).toBe(1);
  await running;
  expect(own.activeCount).toBe(0);
});
