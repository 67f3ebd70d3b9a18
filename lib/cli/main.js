"use strict";
// Chooses the command to run, and prints the help texts.

const { parse, usage } = require("./options");
const { READER_GONE, complain, print, write } = require("./output");

const HELP = `Usage: agent-vm COMMAND [OPTIONS]

Commands:
  doctor             what this host can isolate, probe by probe, and how to get what is missing
  run -- CMD [ARG…]  one command in a fresh VM; its exit code is this command's
  shell [-- CMD …]   an interactive shell in a fresh VM, on this terminal
  cp SOURCE DEST     a file, or a directory with all that is in it, into a VM or out of it; one of the two is NAME:PATH

Options of run and shell:
  --mount HOST:INSIDE[:rw]   show a host directory (repeatable); read-only unless :rw
  --directory INSIDE         an empty, writable directory of the VM's own, like /workspace (repeatable)
  --home DIR                 a host directory as /home/user
  --rootfs DIR               another distribution's root
  --network none|public|host|LIST
                             public: the internet, without private networks; LIST: destinations, separated by commas, like
                             registry.npmjs.org,*.github.com:443
  --limit NAME=VALUE         memory, cpus, pids, openFiles, disk or terminals (repeatable); sizes may end in K, M or G
  --env NAME=VALUE           add to the environment (repeatable)
  --cwd DIR                  where it starts; default /home/user
  --hostname NAME
  --name NAME                the VM's name for cp
  --isolation LEVEL          namespaces (default), landlock or none
  --timeout SECONDS          of run: kill all of it then
  --json                     of run and doctor: the result as JSON

Options of cp:
  --exclude PATTERN          leave out what matches, like node_modules or "/build/*.o" (repeatable)

As with cp -R, a DEST that is a directory gets SOURCE under its name; SOURCE/. stands for what is in SOURCE.

  --help, --version

Exit codes: the program's; 2 for a wrong call; 125 where agent-vm could not run it or write its output; 141 where nobody
reads the output any more; 129, 130 or 143 where a closed terminal, or a second SIGINT or SIGTERM, ended the VM.
`;

/** @param {string[]} argv */
async function main(argv) {
  const { command, options, operands, words } = parse(argv);
  if (options.version) {
    print(`${require("../../package.json").version}\n`);
    return 0;
  }
  if (options.help || command === undefined) {
    if (options.help) print(HELP);
    else write(2, Buffer.from(HELP));
    return options.help ? 0 : 2;
  }
  switch (command) {
    case "doctor":
      return require("./doctor").doctor(options);
    case "run":
      return require("./run").run(options, words);
    case "shell":
      return require("./shell").shell(options, words);
    case "cp":
      return require("./cp").cp(options, operands, words);
    default:
      throw usage(`there is no command ${JSON.stringify(command)}: there are doctor, run, shell and cp`);
  }
}

/**
 * Prints why a command could not be carried out on standard error, and returns the exit code.
 * @param {Error & { code?: string }} error
 */
function exitCodeOf(error) {
  // The exit code that a shell reports in this case. Nobody could read a message.
  if (error.code === "READER_GONE") return READER_GONE;
  complain(error.message);
  // As in a shell: 2 for wrong usage; 125 (as for `env` and `timeout`) if the command could not run or its output
  // could not be written.
  return error.code === "USAGE" || error.code === "INVALID_ARGUMENT" ? 2 : 125;
}

module.exports = { exitCodeOf, main };
