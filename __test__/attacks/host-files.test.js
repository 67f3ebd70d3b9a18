"use strict";
// Files that administrators and others have put beside the files of packages: secrets in changed settings, files of the
// server's own user and groups, links. A VM shows none of them unless the server asks for it.

const { temporaryDirectory } = require("../fixture/directory");
const { nodeScript, readableCopy } = require("../fixture/server-process");

const isRoot = process.getuid() === 0;

// Each server has its own copy of /etc, and checks it again.
jest.setTimeout(120_000);

/** All of these contain PLANTED-SECRET, which no program's file contains, or lead to a file that does. */
const PLANTED = [
  ...["npmrc", "pip.conf", "gitconfig", "profile.d/token.sh", "unowned/file", "wgetrc", "manpath.config"],
  ...["vim/mine", "vim/group", "vim/more", "vim/link", "profile.d/link"],
  ...["fonts/mine", "fonts/group", "fonts/more", "fonts/closed/file", "fonts/way", "fonts/device", "alternatives/way"],
  ...[
    "ssl/certs/mine",
    "ssl/private/key",
    "ssh/x",
    "machine-id",
    "sudoers.d/x",
    "apt/auth.conf.d/x",
    "shadow",
    "shadow-",
  ],
  ...["cloud/x", "docker/x", "credstore/x", "NetworkManager/system-connections/x"],
]
  .map((name) => `/etc/${name}`)
  .concat(
    ["alternatives", "info"].flatMap((name) =>
      ["mine", "group", "more"].map((file) => `/var/lib/dpkg/${name}/${file}`),
    ),
    ["/var/lib/dpkg/alternatives/way", "/var/lib/systemd/x", "/opt/unowned/x"],
  );

/** A script that puts a changed copy over /etc and parts of /var/lib. `$1` is the copy's directory, `$2` the server's user. */
const PLANT = `
  top=$1 user=$2 etc=$1/etc
  cp -dR --preserve=mode,timestamps /etc "$etc" 2>/dev/null || true
  plant() { mkdir -p "\${1%/*}" && rm -rf "$1" && echo PLANTED-SECRET > "$1"; }
  for name in npmrc pip.conf gitconfig profile.d/token.sh unowned/file ssl/private/key ssh/x machine-id sudoers.d/x \\
    apt/auth.conf.d/x shadow shadow- cloud/x docker/x credstore/x NetworkManager/system-connections/x; do
    plant "$etc/$name"; chmod 644 "$etc/$name"
  done
  chmod 755 "$etc" "$etc"/ssl/private "$etc"/sudoers.d "$etc"/unowned
  echo '# PLANTED-SECRET' >> "$etc/wgetrc"
  ln -f "$etc/pip.conf" "$etc/manpath.config"
  mkdir -p "$top/alternatives" "$top/info" "$top/systemd"
  for directory in "$etc/vim" "$etc/fonts" "$top/alternatives" "$top/info"; do
    for name in mine group more; do plant "$directory/$name"; done
    chmod 600 "$directory/mine"; chmod 640 "$directory/group" "$directory/more"
    chown "$user" "$directory/mine" 2>/dev/null || true
    chgrp "$user" "$directory/group" 2>/dev/null || true
    chgrp 1777 "$directory/more" 2>/dev/null || true
    chmod 755 "$directory"
  done
  cp -p "$etc/fonts/mine" "$etc/ssl/certs/mine"
  plant "$etc/fonts/closed/file"; chmod 644 "$etc/fonts/closed/file"; chown -R "$user" "$etc/fonts/closed" 2>/dev/null || true
  chmod 750 "$etc/fonts/closed"
  mkfifo "$etc/fonts/device"
  ln -sf /etc/shadow "$etc/vim/link"; ln -sf /root/secret "$etc/profile.d/link"
  ln -s ../npmrc "$etc/fonts/way"; ln -s ../npmrc "$etc/alternatives/way"; ln -s /etc/npmrc "$top/alternatives/way"
  echo open > "$top/alternatives/open"; echo open > "$top/info/open"; chmod 644 "$top"/*/open
  # More than is copied.
  (cd "$top/info" && seq -f 'x%g.list' 600 | xargs touch)
  # Another user's, who can change it at any time.
  mkdir -p "$etc/fonts/loose/many"; head -c 2000000 /dev/zero > "$etc/fonts/loose/large"; echo small > "$etc/fonts/loose/small"
  (cd "$etc/fonts/loose/many" && seq 600 | xargs touch); chown -R 2000 "$etc/fonts/loose" 2>/dev/null || true
  plant "$top/systemd/x"; chmod 644 "$top/systemd/x"
  for name in alternatives info; do mount --bind "$top/$name" "/var/lib/dpkg/$name"; done
  mount --bind "$top/systemd" /var/lib/systemd
  mount --bind "$etc" /etc
`;

/** The output of a server that sees the planted files. `as` is a command that changes the server's user. */
async function serve(source, as = [], user = String(process.getuid())) {
  const top = temporaryDirectory();
  const from = readableCopy();
  // An ordinary user mounts as the root of a user namespace, and gets its own id back in a second one below that.
  const back = ["unshare", "--user", `--map-user=${process.getuid()}`, `--map-group=${process.getgid()}`];
  const owner = isRoot ? user : "0";
  const plant = ["sh", "-c", `set -e; (${PLANT}) && shift 2 && exec "$@"`, "sh", top, owner];
  const prefix = ["unshare", ...(isRoot ? [] : ["--user", "--map-root-user"]), "--mount", ...plant];
  const script = nodeScript(source, { prefix: [...prefix, ...(isRoot ? as : back)], from });
  const { stdout, stderr, code } = await script.ended;
  expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
  return JSON.parse(stdout);
}

const READ = `
  const read = async (vm) => (await vm.exec(${JSON.stringify(
    `for f in ${PLANTED.join(" ")}; do timeout 5 grep -qs PLANTED-SECRET $f && echo $f; done;
     timeout 20 grep -rls PLANTED-SECRET /etc /var /opt --devices=skip`,
  )})).stdout.split("\\n").filter(Boolean);
  const size = async (vm, file) => Number((await vm.exec("cat " + file + " | wc -c")).stdout);`;

const LEVELS = ["namespaces", "landlock"];
const ORDINARY = ["setpriv", "--reuid=1500", "--regid=1500", "--groups=1777", "--inh-caps=-all"];
const servers = isRoot
  ? [
      ["root", [], "0"],
      ["an ordinary user", ORDINARY, "1500"],
    ]
  : [["this user", [], ""]];

test.each(servers)(
  "nothing that was planted shows where the server is %s, but what it asks for",
  async (_, as, user) => {
    const found = await serve(
      `${READ}
    const atLevel = async (isolation) => {
      const refusal = async (name) => {
        try { await AgentVm.create({ isolation, host: { etc: [name] } }); } catch (error) { return [error.code, error.path]; }
      };
      const asking = await AgentVm.create({ isolation, host: { etc: ["npmrc", "/etc/unowned", "wgetrc"], hide: ["/etc/vim"] } });
      const usual = await AgentVm.create({ isolation });
      const found = {
        usual: {
          planted: await read(usual),
          settings: await size(usual, "/etc/vim/vimrc") > 100,
          lists: [await size(usual, "/var/lib/dpkg/alternatives/open"), await size(usual, "/var/lib/dpkg/info/open")],
        },
        asking: { planted: [...new Set(await read(asking))].sort(), settings: await size(asking, "/etc/vim/vimrc") > 100 },
        refusals: [],
      };
      for (const name of ["shadow", "ssh/x", "ssl/private/key", "vim/mine", "fonts/closed/file", "missing"]) {
        found.refusals.push(await refusal(name));
      }
      await usual.dispose();
      await asking.dispose();
      return found;
    };
    const found = [];
    for (const level of ${JSON.stringify(LEVELS)}) found.push(await atLevel(level));
    console.log(JSON.stringify(found));`,
      as,
      user,
    );
    const links = ["/etc/alternatives/way", "/etc/fonts/way", "/var/lib/dpkg/alternatives/way"];
    for (const atLevel of found) {
      expect(atLevel).toEqual({
        usual: { planted: [], settings: true, lists: [5, 5] },
        // Links to a requested file show its content as well.
        asking: { planted: [...links, "/etc/npmrc", "/etc/unowned/file", "/etc/wgetrc"].sort(), settings: false },
        refusals: [
          ["INVALID_ARGUMENT", null],
          ["INVALID_ARGUMENT", null],
          ["INVALID_ARGUMENT", null],
          ["EACCES", "/etc/vim/mine"],
          ["EACCES", "/etc/fonts/closed/file"],
          ["ENOENT", "/etc/missing"],
        ],
      });
    }
    expect(found).toHaveLength(LEVELS.length);
  },
);

test("what is written into a file later shows in no VM, and a file that is added later neither", async () => {
  const found = await serve(`${READ}
    const fs = require("node:fs");
    const first = await AgentVm.create();
    const before = await size(first, "/etc/vim/vimrc");
    fs.appendFileSync("/etc/vim/vimrc", "PLANTED-SECRET");
    fs.appendFileSync("/etc/vim/added", "PLANTED-SECRET");
    const second = await AgentVm.create();
    const planted = [...await read(first), ...await read(second)];
    const third = await AgentVm.create({ isolation: "landlock" });
    console.log(JSON.stringify({
      planted: [...planted, ...await read(third), (await third.exec("cat /etc/vim/vimrc /etc/vim/added")).stdout],
      same: [await size(first, "/etc/vim/vimrc") === before, await size(second, "/etc/vim/vimrc") === before],
    }));
    for (const vm of [first, second, third]) await vm.dispose();`);
  expect(found).toEqual({ planted: [""], same: [true, true] });
});

if (isRoot) {
  test("a server that gives root up after loading shows nothing that only its own user may read", async () => {
    for (const delay of [10, 25, 40, 60, 80, 110, 150]) {
      const found = await serve(
        `const begun = performance.now();
      while (performance.now() - begun < ${delay}) continue;
      process.setgroups([]);
      process.setgid(1500);
      process.setuid(1500);
      const vm = await AgentVm.create();
      const { stdout } = await vm.exec("cat /var/lib/dpkg/info/mine /etc/fonts/mine; cat /var/lib/dpkg/info/open");
      await vm.dispose();
      console.log(JSON.stringify(stdout));`,
        [],
        "1500",
      );
      expect({ delay, found }).toEqual({ delay, found: "open\n" });
    }
  });

  test("what another user of the host can put something else in place of is copied, and never shown itself", async () => {
    const found = await serve(
      `const { execFileSync } = require("node:child_process");
    const look = async (isolation) => {
      const vm = await AgentVm.create({ isolation });
      const { stdout } = await vm.exec("cd /etc/fonts/loose; for f in large small many/1; do cat $f > /dev/null 2>&1 && echo $f; done; true");
      // The owner replaces each file by a link: that shows nothing else, not even in a VM with its own root.
      execFileSync("sh", ["-c", "cd /etc/fonts/loose && rm -rf large many && ln -s /etc/machine-id large && ln -s /root many"]);
      const other = await AgentVm.create({ isolation, host: { hide: ["/etc/vim"] } });
      const after = await other.exec("cat /etc/fonts/loose/large; ls /etc/fonts/loose/many");
      await vm.dispose();
      await other.dispose();
      return [stdout.split("\\n").filter(Boolean), after.stdout];
    };
    console.log(JSON.stringify([await look("namespaces"), await look("landlock")]));`,
    );
    expect(found[0][0]).not.toContain("large");
    expect(found[0][0]).toContain("small");
    expect(found[1]).toEqual([[], ""]);
    expect(found[0][1]).not.toMatch(/[0-9a-f]{32}/);
  });
}

test("nobody writes to the host's files, nor mounts over them", async () => {
  const found = await serve(`
    const vm = await AgentVm.create();
    const attempts = ["echo x > /etc/vim/vimrc", "touch /etc/new", "rm /etc/services", "chmod 600 /etc/vim/vimrc", "mv /etc/vim /etc/vi",
      "ln -s / /etc/root", "echo x > /etc/hosts", "echo x > /etc/resolv.conf", "touch /var/lib/new", "echo x > /var/lib/dpkg/status",
      "mount -t tmpfs none /etc", "umount /etc", "mount -o remount,rw /etc"];
    const worked = [];
    for (const attempt of attempts) if ((await vm.exec(attempt)).exitCode === 0) worked.push(attempt);
    console.log(JSON.stringify(worked));
    await vm.dispose();`);
  expect(found).toEqual([]);
});
