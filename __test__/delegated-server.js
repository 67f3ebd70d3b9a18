"use strict";
// A server of an ordinary user in a cgroup that is delegated to it, as systemd's `Delegate=yes` does it. Needs root.

const fs = require("node:fs");
const path = require("node:path");
const { ownDirectories } = require("./host-cgroups");
const { until } = require("./fixture");

// Of the users that are no persons', whom `useradd --system` makes, few have a group of the same number.
const USER = 54_321;
const GROUP = 54_322;

/** Makes such a cgroup. Returns the beginning of a command line, and `remove()`, which waits until all in it has ended. */
function delegatedCgroup() {
  const own = ownDirectories().find((directory) => fs.existsSync(path.join(directory, "cgroup.controllers")));
  const delegated = fs.mkdtempSync(path.join(own, "agent-vm-test-"));
  for (const file of ["", "cgroup.procs", "cgroup.subtree_control"]) {
    fs.chownSync(path.join(delegated, file), USER, GROUP);
  }
  const script = `echo $$ >${delegated}/cgroup.procs && exec setpriv --reuid=${USER} --regid=${GROUP} --clear-groups --inh-caps=-all "$@"`;
  const all = (directory) => [
    ...fs
      .readdirSync(directory, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .flatMap(({ name }) => all(path.join(directory, name))),
    directory,
  ];
  return {
    prefix: ["sh", "-c", script, "sh"],
    directory: delegated,
    async remove() {
      await until(() => fs.readFileSync(path.join(delegated, "cgroup.events"), "utf8").includes("populated 0"));
      for (const directory of all(delegated)) fs.rmdirSync(directory);
    },
  };
}

module.exports = { delegatedCgroup };
