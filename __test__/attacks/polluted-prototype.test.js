"use strict";
// A server in which other code wrote to Object.prototype (merging a client's JSON is enough). Each case runs in a
// separate server, because the pollution affects the whole process.

const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");

const { root } = require("../fixture/project");
const { rejection } = require("../fixture/promises");
const { nodeScript } = require("../fixture/server-process");
const { boot, output } = require("../fixture/vm");

/** The name of every member and argument in index.d.ts, so that a new option is tested without a change here. */
function declaredNames() {
  const declarations = fs.readFileSync(path.join(root, "index.d.ts"), "utf8");
  const code = declarations.replace(/\/\*[\s\S]*?\*\//g, "").replace(/\/\/.*/g, "");
  return new Set(Array.from(code.matchAll(/\b([A-Za-z]\w*)\??:/g), ([, name]) => name));
}

/** Names that the language, Node.js and the package's internal objects read. */
const OF_THE_LANGUAGE =
  "get set value writable enumerable configurable then toJSON constructor cause code errno syscall captureRejections " +
  "once passive capture bin dependencies optionalDependencies peerDependencies workspaces allowLinks source called type " +
  "packageDir requires bins commands commandDir aliases release told bodyUsed location agent auth socketPath protocol " +
  "method headers body signal redirect credentials cache referrer referrerPolicy integrity keepalive mode duplex " +
  "objectMode highWaterMark encoding autoAllocateChunkSize strategy start 0 1 length";

/** Values that would remove a protection or change a call, for the names that have such a value. */
const HOSTILE = {
  isolation: ["none", "landlock"],
  network: ["host", { allow: ["*.example.com"] }],
  cwd: ["/etc"],
  env: [{ POLLUTED: "yes" }, [["POLLUTED", "yes"]]],
  stdin: ["polluted"],
  mounts: [[{ path: "/polluted", hostPath: "/etc", readOnly: false }]],
  home: ["/etc"],
  rootfs: ["/"],
  hostname: ["polluted"],
  limits: [{ pids: 2 }],
  software: [[{ commands: ["no-such-program"] }]],
  args: [["polluted"]],
  command: ["cat"],
  timeout: [1],
  recursive: [true],
  maxDepth: [0],
  exclude: [["a"]],
  after: [1],
  method: ["POST"],
  redirect: ["manual", "error"],
  headers: [{ authorization: "polluted" }],
  auth: ["user:password"],
  pids: [2],
  diskBytes: [1_048_576],
  memoryBytes: [4_194_304],
  background: ["[]"],
};
const USUAL = ["polluted", 1, {}, null, true];
/** With these, Node.js's own HTTP client fails in any server. */
const OF_NODES_STREAMS = ["signal", "captureRejections", "get", "set"];
/** Functions, for names that would be called. */
const CALLED = { toJSON: '() => "polluted"', get: '() => "polluted"', set: "() => {}", constructor: "() => {}" };

/** Runs the calls and prints each result, which must be the same with and without pollution. */
const CALLS = `
  const calls = async (fetches = true) => {
    const told = [];
    const vm = await AgentVm.create();
    try {
      const run = ({ exitCode, signal, reason, stdout, stderr, background }) =>
        told.push([exitCode, signal, reason, stdout, stderr, background.length]);
      const look = 'id -u; hostname; cat; pwd; echo "$POLLUTED"; ls -d /polluted 2>/dev/null; ulimit -n; tail -n +3 /proc/net/dev | cut -d: -f1';
      run(await vm.exec(look));
      run(await vm.exec(look, {}));
      run(await vm.exec("sleep 0.05; echo slept", { env: {} }));
      run(await vm.execFile("sh", ["-c", look], {}));
      const { pid } = await vm.spawn("sh", ["-c", look], {});
      await vm.closeProcessStdin(pid);
      told.push(await vm.waitProcess(pid));
      const read = await vm.readProcessOutput(pid, {});
      told.push(String(Buffer.concat(read.chunks.map((chunk) => chunk.data))), read.exited.reason);
      const shell = await vm.openShell({});
      const { command, cols, rows } = (await vm.listShells())[0];
      told.push(command, cols, rows);
      await vm.writeShell(shell.shellId, 'echo "at:$PWD:$TERM:$POLLUTED"; exit 3\\n');
      told.push(await vm.waitShell(shell.shellId));
      told.push(/at:\\S+/.exec(String((await vm.readShell(shell.shellId, {})).data).replace(/\\x1b\\S*/g, ""))?.[0]);
      await vm.mkdir("/home/user/a/b", { recursive: true });
      told.push(await vm.mkdir("/home/user/x/y", {}).catch((error) => error.code));
      told.push(await vm.mkdir("/home/user/a").catch((error) => [error.code, Object.hasOwn(error, "cause")]));
      told.push(await vm.delete("/home/user/a", {}).catch((error) => error.code));
      told.push(await vm.delete("/home/user/a").catch((error) => error.code));
      told.push(await vm.readdirRecursive("/home/user/a", {}));
      told.push((await vm.writeFiles([{ path: "/home/user/f", content: "text" }]))[0].success);
      told.push(String((await vm.readFiles(["/home/user/f"]))[0].content));
      told.push((await vm.exec("exit 5", { cwd: "/no" }).catch((error) => [error.code, error.path])));
      if (fetches) {
        await vm.spawn("python3", ["-u", "-c", served], {});
        const ready = async () => { while (!(await vm.exists("/tmp/ready"))) await new Promise((r) => setTimeout(r, 5)); };
        await ready();
        for (const init of [undefined, {}]) {
          const answer = await vm.fetch(8000, "/path?q", init);
          told.push([answer.status, answer.url, await answer.text()]);
        }
      }
      told.push(vm.isolation, vm.enforcement.pids !== null);
      return JSON.parse(plain(told));
    } finally {
      await vm.dispose();
    }
  };`;

/** Answers each request with its method, its path, and the credentials and body that arrived. */
const SERVED = `
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        text = " ".join([self.command, self.path, str(self.headers.get("authorization")), repr(body)]).encode()
        self.send_response(200); self.send_header("content-length", str(len(text))); self.end_headers(); self.wfile.write(text)
    do_GET = do_POST = answer
    def log_message(self, *args): pass
server = http.server.HTTPServer(("127.0.0.1", 8000), Handler)
open("/tmp/ready", "w").close()
server.serve_forever()
`;

/** A server's script: `polluted(name, value, work)` runs `work` while Object.prototype has that member. */
const script = (body) => `
  const served = ${JSON.stringify(SERVED)};
  const { defineProperty } = Object, { deleteProperty } = Reflect, { stringify } = JSON;
  // The printed text must not depend on the pollution.
  const plain = (value) => {
    if (Array.isArray(value)) { let all = ""; for (let at = 0; at < value.length; at++) all += (at ? "," : "") + plain(value[at]); return "[" + all + "]"; }
    if (value === null || value === undefined) return "null";
    if (typeof value !== "object") return stringify(value);
    const keys = Object.keys(value); let all = "";
    for (let at = 0; at < keys.length; at++) all += (at ? "," : "") + stringify(keys[at]) + ":" + plain(value[keys[at]]);
    return "{" + all + "}";
  };
  const descriptor = (value) => ({ __proto__: null, value, enumerable: true, configurable: true, writable: true });
  async function polluted(name, value, work) {
    const own = Object.getOwnPropertyDescriptor(Object.prototype, name);
    defineProperty(Object.prototype, name, descriptor(value));
    try { return await work(); }
    finally {
      deleteProperty(Object.prototype, name);
      if (own) defineProperty(Object.prototype, name, own);
    }
  }
  ${CALLS}
  ${body}`;

test("every member that index.d.ts declares, polluted, changes no call and takes no wall away", async () => {
  const names = Array.from(new Set([...declaredNames(), ...OF_THE_LANGUAGE.split(" ")]));
  for (const name of Object.keys(HOSTILE)) expect(names).toContain(name);
  const fetched = OF_THE_LANGUAGE.split(" ").filter((name) => !OF_NODES_STREAMS.includes(name));
  const { ended } = nodeScript(
    script(`
      const clean = plain(await calls());
      const withoutFetch = plain(await calls(false));
      console.log(clean);
      const hostile = ${JSON.stringify(HOSTILE)}, called = { __proto__: null, ${Object.entries(CALLED)
        .map(([name, source]) => `${name}: ${source}`)
        .join(", ")} };
      const different = [], fetched = new Set(${JSON.stringify(fetched)});
      let failed;
      const look = async (members, fetches) => {
        let told;
        failed = new Promise((_, reject) => {
          process.removeAllListeners("uncaughtException").once("uncaughtException", reject);
        });
        const nested = members.reduceRight((work, [name, value]) => () => polluted(name, value, work), () =>
          Promise.race([calls(fetches), failed]));
        try {
          told = plain(await nested());
        } catch (error) {
          told = String(error.stack);
        }
        if (told !== (fetches ? clean : withoutFetch)) different.push([plain(members), told]);
      };
      const usual = (name) => ${JSON.stringify(USUAL)}[name.length % ${USUAL.length}];
      const rest = [];
      for (const name of ${JSON.stringify(names)}) {
        const values = Object.hasOwn(hostile, name) ? Array.from(hostile[name]) : [];
        if (called[name]) values.push(called[name]);
        for (const value of values) await look([[name, value]], fetched.has(name));
        if (fetched.has(name)) await look([[name, usual(name)]], true);
        else rest.push([name, usual(name)]);
      }
      while (rest.length > 0) await look(rest.splice(0, 16), false);
      console.log(plain(different));
      process.exit();
    `),
  );
  const { stdout, stderr } = await ended;
  const [clean, different] = stdout.split("\n");
  expect(stderr).toBe("");
  expect(JSON.parse(clean)[0]).toEqual([
    0,
    null,
    "exited",
    expect.stringMatching(/^1000\nagent-vm\n\/home\/user\n\n\d+\n *lo\n$/),
    "",
    0,
  ]);
  expect(JSON.parse(different)).toEqual([]);
}, 300_000);

test("a prototype that was polluted before the package was loaded changes nothing either", async () => {
  const walls = { isolation: "none", network: "host", cwd: "/etc", stdin: "polluted", home: "/etc", software: [{}] };
  const whole = script(`
    const { AgentVm } = require(${JSON.stringify(root)});
    console.log(plain(await calls()));`);
  const pollute = `for (const [name, value] of Object.entries(${JSON.stringify(walls)})) Object.prototype[name] = value;`;
  const run = (before) => nodeScript("", { flags: ["-e", `${before};(async () => { ${whole} })()`, "--"] }).ended;
  const [clean, dirty] = await Promise.all([run(""), run(pollute)]);
  expect(clean).toMatchObject({ code: 0, stderr: "" });
  expect(dirty).toEqual(clean);
});

test.each([
  ["isolation", "none"],
  ["network", "host"],
  ["home", "/etc"],
  ["mounts", [{ path: "/polluted", hostPath: "/etc", readOnly: true }]],
])("a VM made under a polluted %s has all its walls", async (name, value) => {
  const source = script(`
    const look = "hostname; id -u; ls -d /polluted /home/user/passwd 2>/dev/null; tail -n +3 /proc/net/dev | cut -d: -f1";
    const seen = await polluted(${JSON.stringify(name)}, ${JSON.stringify(value)}, async () => {
      const vm = await AgentVm.create();
      const { isolation } = vm, { stdout } = await vm.exec(look);
      await vm.dispose();
      return [isolation, stdout];
    });
    console.log(plain(seen));`);
  const { stdout, stderr } = await nodeScript(source).ended;
  expect(stderr).toBe("");
  expect(JSON.parse(stdout)).toEqual(["namespaces", expect.stringMatching(/^agent-vm\n1000\n *lo\n$/)]);
});

test("create refuses a polluted member in no object of options, whatever the object has itself", async () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "agent-vm-polluted-"));
  try {
    fs.writeFileSync(path.join(directory, "file"), "shown");
    const { ended } = nodeScript(
      script(`
        const seen = await polluted("readOnly", false, () => polluted("pids", 2, () => polluted("isolation", "none", async () => {
          const vm = await AgentVm.create({ mounts: [{ path: "/shown", hostPath: ${JSON.stringify(directory)} }], limits: {}, network: { allow: [] } });
          const { stdout } = await vm.exec("cat /shown/file; touch /shown/new; ls /shown; sleep 0 & sleep 0 & sleep 0 & wait; echo done", {});
          await vm.dispose();
          return stdout;
        })));
        console.log(plain(seen));
      `),
    );
    const { stdout, stderr } = await ended;
    expect(stderr).toBe("");
    expect(JSON.parse(stdout)).toMatch(/^shownfile\ndone\n$/);
    expect(fs.readdirSync(directory)).toEqual(["file"]);
  } finally {
    fs.rmSync(directory, { recursive: true });
  }
});

test("options may be instances of classes, with members that their classes inherit and compute", async () => {
  const vm = await boot();
  class Defaults {
    cwd = "/tmp";
    get env() {
      return { NAME: `of ${this.cwd}` };
    }
  }
  class Options extends Defaults {
    get stdin() {
      return "given";
    }
    run() {}
  }
  expect(await output(vm, 'pwd; echo "$NAME"; cat', new Options())).toBe("/tmp\nof /tmp\ngiven");
  const bare = Object.create(Object.create(null, { cwd: { value: "/usr", enumerable: true } }));
  expect(await output(vm, "pwd", bare)).toBe("/usr\n");
});

test("each option is read once: one that changes is checked and used as the same value", async () => {
  const vm = await boot();
  const reads = {};
  const options = new Proxy(
    { cwd: "/tmp", env: { A: "b" }, timeout: 0 },
    {
      get(target, key) {
        reads[key] = (reads[key] ?? 0) + 1;
        return reads[key] === 1 ? target[key] : { not: "an option" };
      },
    },
  );
  expect(await output(vm, 'pwd; echo "$A"', options)).toBe("/tmp\nb\n");
  expect(reads).toEqual({ cwd: 1, env: 1, timeout: 1 });
  let turns = 0;
  const mounts = [
    {
      path: "/shown",
      readOnly: true,
      get hostPath() {
        return turns++ === 0 ? path.join(root, "lib") : "/";
      },
    },
  ];
  expect(await output(await boot({ mounts }), "ls /shown/error.js")).toBe("/shown/error.js\n");
  expect(turns).toBe(1);
  expect(await rejection(boot({ mounts: new Proxy([], { get: () => 1e9 }) }))).toMatchObject({
    code: "INVALID_ARGUMENT",
  });
});
