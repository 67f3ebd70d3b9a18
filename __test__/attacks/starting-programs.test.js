"use strict";
// A process that becomes a program of another user is a copy of init, or shares init's memory, until it executes the program.
// In a VM with a root, programs of each user try all the while to read, follow and trace it, also where the host has set
// `fs.suid_dumpable` to 1, at which the kernel lets a user trace a process that has become that user.

const fs = require("node:fs");
const { afterTest } = require("../fixture/cleanup");
const { until } = require("../fixture/promises");
const { hasRange } = require("../fixture/subordinate");
const { boot } = require("../fixture/vm");

const SETTING = "/proc/sys/fs/suid_dumpable";
const STARTS = 60;

const setting = fs.readFileSync(SETTING, "utf8").trim();

/** The values to try. Only the host's root may set them, and not in every container. */
function values() {
  if (process.getuid() !== 0) return [setting];
  try {
    fs.writeFileSync(SETTING, setting);
    return ["0", "1"];
  } catch (error) {
    if (!["EROFS", "EACCES", "EPERM"].includes(error.code)) throw error;
    return [setting];
  }
}

function set(value) {
  if (value === setting) return;
  afterTest(() => fs.writeFileSync(SETTING, setting));
  fs.writeFileSync(SETTING, value);
}

/** Says when it first tries to reach a process that has not executed yet, and prints what it has reached when its input ends. */
const WATCH = `
import ctypes, json, os, select, sys
libc = ctypes.CDLL(None)
STARTING = "agent-vm-start"
reached, has_tried = set(), False

def name(pid):
    try:
        with open(f"/proc/{pid}/comm") as file: return file.read().strip()
    except OSError: return ""

def read(pid, file):
    with open(f"/proc/{pid}/{file}", "rb") as opened: return opened.read(64) != b""

def memory(pid):
    os.close(os.open(f"/proc/{pid}/mem", os.O_RDWR))
    return True

def descriptors(pid):
    return any([os.readlink(f"/proc/{pid}/fd/{number}") for number in os.listdir(f"/proc/{pid}/fd")])

def seized(pid):
    if libc.ptrace(0x4206, pid, 0, 0) != 0: return False
    libc.ptrace(17, pid, 0, 0)
    return True

WAYS = {"memory": memory, "descriptors": descriptors, "tracing": seized}
for file in ("maps", "environ", "auxv", "syscall", "stack", "pagemap"): WAYS[file] = lambda pid, file=file: read(pid, file)
for link in ("cwd", "exe", "root", "ns/user", "ns/mnt"): WAYS[link] = lambda pid, link=link: os.readlink(f"/proc/{pid}/{link}")
print("ready", flush=True)
while not select.select([0], [], [], 0)[0]:
    for pid in [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]:
        if name(pid) != STARTING: continue
        if not has_tried: print("tried", flush=True)
        has_tried = True
        for way, act in WAYS.items():
            try: worked = act(pid)
            except OSError: worked = False
            if worked and name(pid) == STARTING: reached.add(way)
print(json.dumps(sorted(reached)))`;

/** What a program of one user reaches while programs of others start. */
async function reaches(vm, attacker, others) {
  let printed = "";
  const { pid } = await vm.spawn("python3", ["-c", WATCH], {
    user: attacker,
    cwd: "/",
    onStdout: (data) => (printed += Buffer.from(data)),
  });
  await until(() => printed.includes("ready\n"));
  for (let started = 0; started < STARTS || !printed.includes("tried\n"); started += others.length) {
    await Promise.all(others.map((user) => vm.exec("true", { user, cwd: "/" })));
  }
  await vm.closeProcessStdin(pid);
  expect(await vm.waitProcess(pid)).toBe(0);
  return JSON.parse(printed.slice(printed.indexOf("[")));
}

describe.each(values())("with fs.suid_dumpable at %s", (value) => {
  test("with a single id, nothing of a process that becomes a program of the other name is reached before it is one", async () => {
    set(value);
    const vm = await boot({ ids: "single", user: "user" });
    expect(await reaches(vm, "root", ["user"])).toEqual([]);
  });

  if (hasRange()) {
    test("with a range of ids, nothing of a process that becomes a program of another user is reached before it is one", async () => {
      set(value);
      const vm = await boot({ ids: "range", user: "user" });
      const users = ["root", "user", "33:33"];
      for (const attacker of users) {
        const others = users.filter((user) => user !== attacker);
        expect([attacker, await reaches(vm, attacker, others)]).toEqual([attacker, []]);
      }
    });
  }
});
