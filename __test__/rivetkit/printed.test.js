"use strict";
// The output of a command for a call of an actor: the actor keeps and counts it, and its text is the same as the VM's.

const { root } = require("../fixture/project");
const { CALLS, dist, evaluate } = require("../fixture/rivetkit/evaluate");

const PRINTED = `${CALLS}
    const { counted } = await import("${dist}/counted.mjs");
    const { Claim } = await import("${dist}/budget.mjs");
    const claim = new Claim(new Share());
    const nobody = { signal: undefined, live: undefined };`;

test("the text of what is printed, whole or cut anywhere, is the one that exec gives", async () => {
  const seen = await evaluate(`${PRINTED}
    const { AgentVm } = require("${root}");
    const vm = await AgentVm.create();
    const inputs = [
      Buffer.from("aé€🦀b"),
      Buffer.from("\\ufeffmark"),
      Buffer.from([0x61, 0xf0, 0x9f, 0xff, 0xc0, 0x80, 0xe2, 0x82]),
      Buffer.from([0xf0, 0x9f, 0xa6, 0xe2, 0x82, 0xed, 0xa0, 0x80, 0xf4, 0x90, 0x80, 0x80]),
      Buffer.alloc(0),
    ];
    const differences = [];
    let compared = 0;
    for (const stdin of inputs) {
      for (const maxOutputBytes of [...Array.from({ length: 14 }, (_, index) => index), undefined]) {
        const options = { stdin, ...(maxOutputBytes === undefined ? {} : { maxOutputBytes }) };
        const own = await vm.exec("tee /dev/stderr", options);
        const other = await counted(claim, nobody, options, (each) => vm.exec("tee /dev/stderr", each));
        for (const key of ["stdout", "stderr", "stdoutTruncated", "stderrTruncated", "exitCode"]) {
          compared++;
          if (own[key] !== other[key]) differences.push([stdin.toString("hex"), maxOutputBytes, key, own[key], other[key]]);
        }
      }
    }
    // Many small chunks, with large ones among them.
    const command = "for i in $(seq 300); do echo $i; done; seq 1 20000; for i in $(seq 300); do printf é; done";
    const whole = [await vm.exec(command), await counted(claim, nobody, undefined, (each) => vm.exec(command, each))];
    const refused = [];
    for (const maxOutputBytes of [-1, 0.5, "5", NaN, 2 ** 40]) {
      refused.push(await code(() => counted(claim, nobody, { maxOutputBytes }, (each) => vm.exec("true", each))));
    }
    await vm.dispose();
    print({ differences, compared, same: whole[0].stdout === whole[1].stdout, length: whole[1].stdout.length, refused });`);
  expect(seen).toEqual({
    differences: [],
    compared: 5 * 15 * 5,
    same: true,
    length: 1092 + 108_894 + 300,
    refused: Array(5).fill("INVALID_ARGUMENT"),
  });
});

test("a command that goes on printing until it is killed costs no more than what there was room for", async () => {
  const seen = await evaluate(
    `${PRINTED}
    // Like exec output on a busy machine where the kill comes late.
    let asked;
    let aborted = 0;
    const exec = async (options) => {
      asked = options.maxOutputBytes;
      for (let count = 0; count < 60_000; count++) {
        options.onStdout(new Uint8Array(32 * 1024));
        if (options.signal.aborted) aborted++;
        if (count % 100 === 0) await new Promise(setImmediate);
      }
      throw new Error("killed");
    };
    const before = process.resourceUsage().maxRSS;
    const outcome = await code(() => counted(claim, nobody, { maxOutputBytes: 500_000_000 }, exec));
    const grown = (process.resourceUsage().maxRSS - before) * 1024;
    print({ outcome, asked, aborted: aborted > 50_000, grown: grown / SERVER_BYTES });`,
    { flags: ["--max-old-space-size=200"] },
  );
  expect(seen).toMatchObject({ outcome: "LIMIT_EXCEEDED", asked: 0, aborted: true });
  // Three quarters of the budget are in use, and memory that has not been garbage collected yet.
  expect(seen.grown).toBeLessThan(3);
});
