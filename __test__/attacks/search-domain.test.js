"use strict";
// A host whose resolver has a search domain with a wildcard in it: a listed name must not lead there.

const { resolving } = require("../fixture/resolver");

const RECORDS = { "*.corp.example": "127.0.0.1", "real.listed.test": "127.0.0.1", "*.real.test": "127.0.0.1" };
const HOSTS = "127.0.0.1 localhost\n127.0.0.1 in-hosts.listed.test db\n";

/** The result of curl in a VM for each host, and the names that the host's DNS server was asked for meanwhile. */
async function answers(hosts, options) {
  const { stdout, stderr } = await resolving(
    `
    http.createServer((request, response) => response.end("here")).listen(8000, "127.0.0.1");
    const vm = await AgentVm.create({ network: { allow: ["*.listed.test", "*.real.test", "localhost", "db", "intranet", "127.0.0.1"] } });
    const answers = {};
    for (const host of ${JSON.stringify(hosts)}) {
      answers[host] = (await vm.exec("curl -sS --max-time 20 http://" + host + ":8000/")).stdout;
    }
    console.log(JSON.stringify({ answers, asked }));
    process.exit();`,
    RECORDS,
    { hosts: HOSTS, options },
  );
  if (stdout === "") throw new Error(stderr);
  return JSON.parse(stdout);
}

test.each(["", "options ndots:5\n"])(
  "a search domain does not widen what is listed (%j)",
  async (options) => {
    const { answers: got, asked } = await answers(["api.listed.test", "api.listed.test."], options);
    expect(got["api.listed.test"]).toContain("the name api.listed.test was not resolved");
    expect(got["api.listed.test."]).toContain("the name api.listed.test was not resolved");
    expect([...new Set(asked)]).toEqual(["api.listed.test"]);
  },
  120_000,
);

test.each(["", "options ndots:5\n"])(
  "names of DNS and of /etc/hosts are found, and short ones in the search domain (%j)",
  async (options) => {
    const hosts = [
      "real.listed.test",
      "a.b.real.test",
      "in-hosts.listed.test",
      "IN-HOSTS.listed.test.",
      "db",
      "localhost",
      "intranet",
    ];
    const { answers: got, asked } = await answers(hosts, options);
    expect(got).toEqual(Object.fromEntries(hosts.map((host) => [host, "here"])));
    expect([...new Set(asked)].sort()).toEqual(["a.b.real.test", "intranet.corp.example", "real.listed.test"]);
  },
  120_000,
);
