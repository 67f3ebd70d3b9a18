"use strict";
// Which command, and what help there is.

const { parse, usage } = require("./options");

const HELP = `Usage: agent-vm COMMAND [OPTIONS]

Commands:
  doctor             what this host can isolate, probe by probe, and how to get what is missing
  run -- CMD [ARG…]  one command in a fresh VM; its exit code is this command's
  shell [-- CMD …]   an interactive shell in a fresh VM, on this terminal

Options of run and shell:
  --mount HOST:INSIDE[:rw]   show a directory of the host's (repeatable); read-only unless :rw
  --home DIR                 a directory of the host's as /home/user
  --rootfs DIR               another distribution's root
  --network none|host|LIST   LIST: destinations, separated by commas, like registry.npmjs.org,*.github.com:443
  --limit NAME=VALUE         memory, cpus, pids, openFiles or disk (repeatable); sizes may end in K, M or G
  --env NAME=VALUE           add to the environment (repeatable)
  --cwd DIR                  where it starts; default /home/user
  --hostname NAME
  --isolation LEVEL          namespaces (default), landlock or none
  --timeout SECONDS          of run: kill all of it then
  --json                     of run and doctor: the result as JSON

  --help, --version
`;

async function main(argv) {
  const { command, options, words } = parse(argv);
  if (options.version) {
    process.stdout.write(`${require("../../package.json").version}\n`);
    return 0;
  }
  if (options.help || command === undefined) {
    (options.help ? process.stdout : process.stderr).write(HELP);
    return options.help ? 0 : 2;
  }
  switch (command) {
    case "doctor":
      return require("./doctor").doctor(options, words);
    case "run":
      return require("./run").run(options, words);
    case "shell":
      return require("./shell").shell(options, words);
    default:
      throw usage(`there is no command ${JSON.stringify(command)}: there are doctor, run and shell`);
  }
}

module.exports = { main };
