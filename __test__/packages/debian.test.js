"use strict";
// Packages that people and agents install: apt configures all of them in a VM of root, and each then works.

const { AgentVm } = require("../..");
const { aptDestinations, aptSettings } = require("../fixture/apt");
const { debianRoot, debianRootOfOneOwner } = require("../fixture/roots");

/** Packages, a command that uses each, and what it prints. The command runs as root, or as the user that is named. */
const PACKAGES = [
  ["jq", "jq -n '1 + 1'", /^2$/],
  ["ripgrep", "echo needle | rg needle", /^needle$/],
  [
    "git",
    "git init -q r && git -C r -c user.name=A -c user.email=a@b commit -q --allow-empty -m one && git -C r log --format=%s",
    /^one$/,
  ],
  ["sudo", "sudo -n id -un", /^root$/],
  ["openssh-server", "mkdir -p /run/sshd && /usr/sbin/sshd -T | grep -i '^port '", /^port 22$/],
  [
    "nginx",
    "nginx -t 2>&1 && nginx && curl -s http://127.0.0.1/ | grep -o 'Welcome to nginx!' | head -n 1; nginx -s stop",
    /Welcome to nginx!/,
  ],
  ["curl", "curl --version", /^curl 7/],
  [
    "redis-server",
    "redis-server --port 6390 --save '' >/dev/null & sleep 1; redis-cli -p 6390 ping; redis-cli -p 6390 shutdown",
    /^PONG/,
  ],
  ["man-db", "man --version", /^man 2/],
  [
    "dbus",
    "dbus-run-session -- dbus-send --session --print-reply --dest=org.freedesktop.DBus / org.freedesktop.DBus.GetId",
    /string "[0-9a-f]{32}"/,
  ],
  ["cron", "echo '* * * * * true' | crontab - && crontab -l", /^\* \* \* \* \* true$/],
  ["python3-pip", "pip3 --version", /^pip 2/],
  [
    "build-essential",
    "printf '#include <iostream>\\nint main() { std::cout << 6 * 7; }' > a.cc && g++ a.cc && ./a.out",
    /^42$/,
  ],
  [
    "default-jdk-headless",
    "echo 'class A { public static void main(String[] a) { System.out.println(6 * 7); } }' > A.java && java A.java",
    /^42$/,
  ],
  ["chromium", "chromium --headless --no-sandbox --disable-gpu --dump-dom 'data:text/html,<p>42' 2>/dev/null", /<p>42/],
  [
    "ffmpeg",
    "ffmpeg -loglevel error -f lavfi -i testsrc=duration=1:size=32x32 -y a.mp4 && ffprobe -v error -show_entries format=duration -of csv=p=0 a.mp4",
    /^1\.0/,
  ],
  ["sqlite3", "sqlite3 :memory: 'select 6 * 7'", /^42$/],
  ["docker.io", "docker --version", /^Docker version/],
  ["r-base-core", "Rscript -e 'cat(median(c(1, 42, 99)))'", /^42$/],
  ["nodejs", "node -p '6 * 7'", /^42$/],
  ["golang-go", "printf 'package main\\nfunc main() { println(6 * 7) }' > a.go && go run a.go 2>&1", /^42$/],
  ["ruby", "ruby -e 'puts 6 * 7'", /^42$/],
  ["php-cli", "php -r 'echo 6 * 7;'", /^42$/],
  ["imagemagick", "convert -size 2x2 xc:red txt:- | tail -n 1", /red$/],
  ["tmux", "tmux new-session -d 'sleep 100' && tmux list-sessions && tmux kill-server", /^0: 1 windows/],
  ["vim-tiny", "vi --version", /^VIM/],
  ["procps", "ps -o comm= -p 1", /\S/],
  ["rsync", "mkdir -p from && echo 42 > from/a && rsync -a from/ to && cat to/a", /^42$/],
  ["unzip", "unzip -v", /^UnZip 6/],
];

/** How PostgreSQL runs with each kind of ids. Its server refuses to run as root. */
const POSTGRES = {
  // There is no other user than `user`, who makes a cluster of their own.
  single: {
    user: "user",
    command: `
      bin=$(echo /usr/lib/postgresql/*/bin)
      $bin/initdb -D ~/cluster -A trust -U user >/dev/null &&
        $bin/pg_ctl -D ~/cluster -o '-k /tmp' -l ~/log -w start >/dev/null &&
        psql -h /tmp -At -c 'select 6 * 7' postgres
      $bin/pg_ctl -D ~/cluster -m fast stop >/dev/null`,
  },
  // The package has made the user and a cluster. Users that were added later are known inside alone.
  range: {
    user: "root",
    command: `
      version=$(ls /usr/lib/postgresql)
      pg_ctlcluster $version main start && su postgres -c "psql -At -c 'select 6 * 7'"
      pg_ctlcluster $version main stop`,
  },
};

let vm;

/** What a command prints, if it succeeds. */
async function printed(command, options) {
  const { stdout, stderr, exitCode } = await vm.exec(command, { timeout: 30 * 60_000, ...options });
  if (exitCode !== 0) throw new Error(`${command}: ${exitCode}\n${stdout.slice(-4000)}\n${stderr.slice(-4000)}`);
  return stdout.trim();
}

describe.each([
  ["single", debianRootOfOneOwner],
  ["range", debianRoot],
])("with ids: %s", (ids, root) => {
  beforeAll(async () => {
    vm = await AgentVm.create({
      rootfs: root(),
      user: "root",
      ids,
      network: { allow: await aptDestinations() },
      limits: { diskBytes: 6 * 1024 ** 3, pids: 4096 },
    });
    // With a range of ids, file calls act as `user`.
    await vm.exec("cat > /etc/apt/apt.conf.d/90host", { stdin: aptSettings() });
    await printed("apt-get update");
    const names = [...PACKAGES.map(([name]) => name), "postgresql"].join(" ");
    await printed(`apt-get install -y ${names}`, { maxOutputBytes: 64 * 1024 ** 2 });
  });
  afterAll(() => vm?.dispose());

  test("dpkg finds nothing that is not configured", async () => {
    expect(await printed("dpkg --audit")).toBe("");
  });

  test.each(PACKAGES)("%s", async (_, command, expected) => {
    expect(await printed(command)).toMatch(expected);
  });

  test("postgresql", async () => {
    const { user, command } = POSTGRES[ids];
    expect(await printed(command, { user })).toBe("42");
  });
});
