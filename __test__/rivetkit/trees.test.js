"use strict";
// uploadDirectory and downloadDirectory of agent-vm/client: between a directory of the client's machine and an actor's VM.

const { execFileSync } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");

const { directoryForFile } = require("../fixture/directory");
const { startServer } = require("../fixture/rivetkit/servers");

const sh = (cwd, script) =>
  execFileSync("bash", ["-c", script], { cwd, env: { ...process.env, LC_ALL: "C.UTF-8" }, encoding: "latin1" });
/** Everything below a directory: types, modes, times, sizes, names, targets and contents. */
const LOOK = `find . -mindepth 1 ! -type f -printf '%y %m %T@ %P %l\\0' | LC_ALL=C sort -z
find . -type f -printf '%y %m %T@ %s %P\\0' | LC_ALL=C sort -z; find . -type f -execdir sha1sum {} + | LC_ALL=C sort`;
const look = (directory) => sh(directory, LOOK).split("\0");

const TREE = `mkdir -p empty/er 'a b' && printf 1 > one && printf 2 > 'a b/two' && : > nothing
printf x > "$(printf 'new\\nline=1')" && printf x > "$(printf 'no\\xffutf8')" && printf x > ünïcode && printf x > -n
ln -s one link && ln -s /etc/passwd absolute && ln -s nowhere broken && ln -s "$(printf '\\xff')" odd
printf ro > ro && chmod 400 ro && printf x > x && chmod 751 x && mkdir sticky && chmod 1777 sticky
truncate -s 64M holes && printf end >> holes && seq 300000 > large && seq 9000 > medium
( for i in $(seq 30); do mkdir "$(printf 'd%.0s' $(seq 60))$i" && cd "$(printf 'd%.0s' $(seq 60))$i" && printf $i > f; done )
touch -d '2001-02-03 04:05:06.123456789' one 'a b/two' && touch -h -d '1999-01-01 00:00:00.987654321' link
touch -d '2002-02-02 02:02:02.222222222' 'a b' empty/er sticky`;

let here;
beforeEach(() => {
  here = directoryForFile();
});

describe("with an actor", () => {
  let server;
  beforeAll(async () => {
    server = await startServer();
  });

  test("a tree of the client's machine goes into an actor's VM and out again with every entry as it was", async () => {
    const [from, to] = ["from", "to"].map((name) => path.join(here, name));
    fs.mkdirSync(from);
    sh(from, TREE);
    const found = await server.evaluate(
      async ({ createClient, endpoint, agent: patient, arg: { from, to, look } }) => {
        await patient.exec("true");
        const agent = createClient(endpoint).vm.getOrCreate(["test"]);
        const progress = [];
        const up = await agent.uploadDirectory(from, "/home/user/t", { onProgress: (each) => progress.push(each) });
        const { stdout } = await agent.exec(look, { cwd: "/home/user/t", encoding: "buffer" });
        const down = await agent.downloadDirectory("/home/user/t", to);
        const { stdout: blocks } = await agent.exec("stat -c %b t/holes");
        return { up, down, last: progress.at(-1), inside: Buffer.from(stdout).toString("latin1"), blocks };
      },
      { from, to, look: LOOK },
    );
    const expected = look(from);
    expect(expected.length).toBeGreaterThan(70);
    expect(found.inside.split("\0")).toEqual(expected);
    expect(look(to)).toEqual(expected);
    expect(Number(found.blocks)).toBeLessThan(1024);
    expect(fs.statSync(path.join(to, "holes")).blocks).toBeLessThan(1024);
    const files = sh(from, "find . -type f -printf x").length;
    expect(found.up).toEqual({ files, directories: 34, links: 4, bytes: expect.any(Number), skipped: 0 });
    expect(found.up.bytes).toBeGreaterThan(64 * 2 ** 20);
    expect(found.last).toEqual(found.up);
    expect(found.down).toEqual({ ...found.up, bytes: expect.any(Number) });
    expect(sh(to, "find . -name '.agent-vm-*'")).toBe("");
  }, 120_000);

  test("trees are merged, exclude is for both directions, and no link at the destination is followed", async () => {
    sh(
      here,
      "mkdir -p from/skip from/d outside to && printf new > from/d/f && printf x > from/skip/x && printf x > a.log",
    );
    sh(
      here,
      "printf x > from/b.log && mkfifo from/fifo && ln -s ../outside to/d && printf old > to/kept && printf o > outside/f",
    );
    const found = await server.evaluate(async ({ createClient, endpoint, agent: patient, failure, arg: here }) => {
      await patient.exec(
        "rm -rf m o && mkdir -p m/d o && printf old > m/d/kept && printf old > m/d/f && ln -s /home/user/o m/skip",
      );
      const agent = createClient(endpoint).vm.getOrCreate(["test"]);
      const up = await agent.uploadDirectory(`${here}/from`, "/home/user/m", { exclude: ["skip/", "*.log"] });
      const { stdout } = await agent.exec("cat m/d/kept m/d/f; ls o; find m | sort");
      const codes = [];
      const code = async (call) => codes.push((await failure(call)).code);
      await code(agent.uploadDirectory(`${here}/from`, "/home/user/m"));
      await code(agent.downloadDirectory("/home/user/m", `${here}/to`, { exclude: ["/skip"] }));
      await code(agent.uploadDirectory(`${here}/none`, "/home/user/none"));
      codes.push(await agent.exists("/home/user/none"));
      await code(agent.downloadDirectory("/home/user/none", `${here}/none`));
      await code(agent.uploadDirectory(`${here}/from`, "/home/user/m", { maxEntries: 1 }));
      await code(agent.downloadDirectory("/home/user/m", `${here}/few`, { maxBytes: 1 }));
      for (const wrong of [
        ["", "/x"],
        [here, "x"],
        [here, "/x", { exclude: "x" }],
        [here, "/x", { unknown: 1 }],
        [here, "/x", {}, 1],
        [1, "/x"],
      ])
        await code(agent.uploadDirectory(...wrong));
      await agent.exec("rm m/skip && mkdir m/skip && printf log > m/skip/c.log && printf log > m/c.log");
      const down = await agent.downloadDirectory("/home/user/m", `${here}/into`, { exclude: ["*.log"] });
      return { up, stdout, codes, down };
    }, here);
    expect(found.up).toEqual({ files: 1, directories: 1, links: 0, bytes: 3, skipped: 1 });
    expect(found.stdout).toBe("oldnewm\nm/d\nm/d/f\nm/d/kept\nm/skip\n");
    const invalid = "INVALID_ARGUMENT";
    expect(found.codes).toEqual([
      ...["ENOTDIR", "ENOTDIR", "ENOENT", false, "ENOENT", "LIMIT_EXCEEDED", "LIMIT_EXCEEDED"],
      ...[invalid, invalid, invalid, invalid, invalid, invalid],
    ]);
    expect(fs.existsSync(path.join(here, "none"))).toBe(false);
    expect(sh(here, "cat outside/f to/kept; ls outside")).toBe("ooldf\n");
    expect(found.down).toMatchObject({ files: 2, directories: 2 });
    expect(sh(here, "cd into && find . | sort")).toBe(".\n./d\n./d/f\n./d/kept\n./skip\n");
  }, 120_000);

  test("an abort ends a copy in either direction, and leaves no incomplete file on the client's machine", async () => {
    sh(here, "mkdir from && for i in 1 2 3; do head -c 20000000 /dev/urandom > from/f$i; done");
    const found = await server.evaluate(async ({ createClient, endpoint, agent: patient, failure, arg: here }) => {
      await patient.exec("mkdir -p big && head -c 60000000 /dev/urandom > big/f");
      const agent = createClient(endpoint).vm.getOrCreate(["test"]);
      const { readdirSync } = await import("node:fs");
      const reason = new Error("enough");
      const aborting = async (copy) => {
        const controller = new AbortController();
        const onProgress = ({ bytes }) => bytes > 0 && controller.abort(reason);
        // The second one waits for its turn.
        const [first, second] = await Promise.all([
          copy({ onProgress, signal: controller.signal }).catch((error) => error),
          failure(copy({ signal: controller.signal })),
        ]);
        return [first.code, first.cause === reason, second.code];
      };
      const up = await aborting((options) => agent.uploadDirectory(`${here}/from`, "/home/user/up", options));
      const down = await aborting((options) => agent.downloadDirectory("/home/user/big", `${here}/down`, options));
      const left = readdirSync(`${here}/down`);
      const early = (await failure(agent.downloadDirectory("/x", "/y", { signal: AbortSignal.abort() }))).code;
      // Their places are free again.
      const totals = await agent.downloadDirectory("/home/user/big", `${here}/again`);
      return { up, down, left, early, totals };
    }, here);
    expect(found.up).toEqual(["ABORTED", true, "ABORTED"]);
    expect(found.down).toEqual(["ABORTED", true, "ABORTED"]);
    expect(found.left).toEqual([]);
    expect(found.early).toBe("ABORTED");
    expect(found.totals).toMatchObject({ files: 1, bytes: 60_000_000 });
  }, 120_000);
});

test("whatever an actor sends stays below the directory, without links and set-id bits, and within the bounds", async () => {
  const server = await startServer({ script: "hostile-archives.mjs" });
  sh(here, "mkdir -p outside t && printf safe > outside/f && ln -s ../outside t/there && chmod 700 outside");
  for (const name of ["file", "big"]) fs.symlinkSync("../outside/f", path.join(here, "t", name));
  const keys = [
    ...["names above", "names above, far in", "a directory above", "through its own link"],
    ...["through a link that is there", "large, through its own link", "over a link that is there", "a hard link"],
    ...["a hard link below", "from the root", "set-id bits", "devices", "too many", "too large", "no archive", "cut"],
    "no bytes",
  ];
  const found = await server.evaluate(
    async ({ createClient, endpoint, arg: { here, keys } }) => {
      const agent = createClient(endpoint).vm.getOrCreate(["hostile"]);
      const seen = {};
      for (const key of keys) {
        const copy = agent.downloadDirectory(`/${key}`, `${here}/t`, { maxEntries: 20, maxBytes: 2 ** 20 });
        const [outcome] = await Promise.allSettled([copy]);
        seen[key] =
          outcome.status === "fulfilled" ? outcome.value.files : (outcome.reason.code ?? String(outcome.reason));
      }
      return seen;
    },
    { here, keys },
  );
  expect(found).toEqual({
    "names above": "INVALID_ARGUMENT",
    "names above, far in": "INVALID_ARGUMENT",
    "a directory above": "INVALID_ARGUMENT",
    "through its own link": "ENOTDIR",
    "through a link that is there": "ENOTDIR",
    "large, through its own link": "ENOTDIR",
    "over a link that is there": 2,
    "a hard link": "INVALID_ARGUMENT",
    "a hard link below": "INVALID_ARGUMENT",
    "from the root": 1,
    "set-id bits": 1,
    devices: 0,
    "too many": "LIMIT_EXCEEDED",
    "too large": "LIMIT_EXCEEDED",
    "no archive": "INVALID_ARGUMENT",
    cut: "INVALID_ARGUMENT",
    "no bytes": "INVALID_ARGUMENT",
  });
  expect(
    sh(here, "cat outside/f; ls outside; stat -c %a outside t/set t/d; cat t/etc/passwd; ls t | grep odd || true"),
  ).toBe("safef\n700\n777\n777\nbelow");
  expect(sh(here, "find t -name '.agent-vm-*'; find . -newer t/there -path './outside*'; stat -c %F t/big")).toBe(
    "regular file\n",
  );
}, 120_000);
