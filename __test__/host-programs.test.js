"use strict";
// Common programs find their settings and data in a VM: their output is the same as on the host for a user who owns
// nothing there.

const fs = require("node:fs");
const { AgentVm } = require("..");
const { expectSame, inside } = require("./fixture/same-program");

const python = (code) => `python3 -c '${code}'`;

const PROGRAMS = [
  ["getent: services", "getent services http ssh domain"],
  ["getent: protocols", "getent protocols icmp tcp udp sctp"],
  ["getent: RPC programs", "getent rpc portmapper"],
  ["perl: getservbyname", `perl -e 'print join " ", getservbyname("https", "tcp")'`],
  ["perl: its configuration", "perl -MConfig -e 'print @INC, $Config{sitelib}, eval { require Net::Config; 1 }'"],
  [
    "python3: getservbyname",
    python('import socket; print(socket.getservbyname("imaps"), socket.getprotobyname("icmp"))'),
  ],
  ["python3: authorities", python("import ssl; print(len(ssl.create_default_context().get_ca_certs()))")],
  ["python3: types of files", python('import mimetypes as m; print(m.guess_type("a.odt"), len(m.types_map))')],
  ["openssl: authorities", "openssl storeutl -noout -certs /etc/ssl/certs | tail -n 1"],
  [
    "openssl: its configuration",
    "openssl version -d && openssl req -new -newkey rsa:2048 -nodes -keyout k -subj /CN=a -out r && wc -l < r",
  ],
  [
    "curl: authorities",
    "curl -sv https://127.0.0.1:1/ 2>&1 | sed -n 's/.*CApath/CApath/p'; curl --version | head -n 1",
  ],
  ["wget: its configuration", "wget --version | grep -A 2 Wgetrc"],
  ["man: where pages are", "man -w ls; manpath -q"],
  ["aspell: a dictionary", "echo speling | aspell -a -l en; aspell dicts"],
  [
    "php: an extension",
    "php -m && php -r 'echo (new DOMDocument())->saveXML(), php_ini_loaded_file(), php_ini_scanned_files();'",
  ],
  [
    "vim: its settings",
    "vim -es -c 'redir! > scripts' -c scriptnames -c 'set runtimepath?' -c 'redir END' -c q; cat scripts",
  ],
  ["fontconfig", "fc-match monospace && fc-list | sort"],
  ["alternatives", "readlink -f /usr/bin/awk /usr/bin/pager /usr/bin/editor; update-alternatives --query awk"],
  ["dpkg: packages", "dpkg -l && dpkg --print-architecture"],
  ["dpkg: files", "dpkg -L bash && dpkg -S /usr/bin/env"],
  ["date: the time zone", "date -d @0 '+%Z %z' && TZ=America/New_York date -d @0"],
  ["ldconfig", "ldconfig -p"],
  ["file", "file /usr/bin/env /etc/services"],
  ["tput", "TERM=xterm tput cols && TERM=linux tput setaf 1 && infocmp xterm | tail -n +2"],
  ["locale", "locale -a && locale"],
  ["run-parts and skeletons", "ls -A /etc/skel && run-parts --list /etc/update-motd.d"],
];

let vm;

beforeAll(async () => {
  vm = await AgentVm.create();
});

afterAll(() => vm.dispose());

test.each(PROGRAMS)("%s", (_, command) => expectSame(vm, command));

test("git's and npm's system configuration show where they are asked for", async () => {
  // The files that the host has; possibly none.
  const etc = ["gitconfig", "npmrc"].filter((name) => fs.existsSync(`/etc/${name}`));
  const asked = await AgentVm.create({ host: { etc } });
  for (const name of etc) {
    expect((await inside(asked, `cat /etc/${name}`)).stdout).toBe(fs.readFileSync(`/etc/${name}`, "utf8"));
    expect((await inside(vm, `cat /etc/${name}`)).exitCode).toBe(1);
  }
  await asked.dispose();
});
