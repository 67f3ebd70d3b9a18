"use strict";
// The output of a command for a call of an actor: the actor keeps and counts it, and its text is the same as the VM's.

const { root } = require("../fixture/project");
const { CALLS, dist, evaluate } = require("../fixture/rivetkit/evaluate");

const PRINTED = `${CALLS}
    const { isDeepStrictEqual } = await import("node:util");
    const { counted } = await import("${dist}/counted.mjs");
    const { Claim } = await import("${dist}/budget.mjs");
    const claim = new Claim(new Share());
    const nobody = { signal: undefined, live: undefined };`;

test("output that the actor keeps, whole or truncated anywhere, as text or bytes, equals exec's", async () => {
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
        for (const form of [{}, { keepOutput: "tail" }, { keepOutput: "ends" }, { keepOutput: "ends", encoding: "buffer" }]) {
          const options = { stdin, ...form, ...(maxOutputBytes === undefined ? {} : { maxOutputBytes }) };
          const own = await vm.exec("tee /dev/stderr", options);
          const other = await counted(claim, nobody, options, (each) => vm.exec("tee /dev/stderr", each));
          compared++;
          own.usage = other.usage;
          if (!isDeepStrictEqual(own, other)) differences.push([stdin.toString("hex"), options, own, other]);
        }
      }
    }
    // Many small chunks, with large ones among them.
    const command = "for i in $(seq 300); do echo $i; done; seq 1 20000; for i in $(seq 300); do printf é; done";
    const whole = [await vm.exec(command), await counted(claim, nobody, undefined, (each) => vm.exec(command, each))];
    for (const keepOutput of ["head", "tail", "ends"]) {
      for (const maxOutputBytes of [5001, 20_000, 100_000]) {
        const options = { keepOutput, maxOutputBytes };
        const own = await vm.exec(command, options);
        const before = claim.bytes;
        const other = await counted(claim, nobody, options, (each) => vm.exec(command, each));
        own.usage = other.usage;
        if (!isDeepStrictEqual(own, other)) differences.push([options]);
        // A tail keeps whole chunks until the end.
        const most = maxOutputBytes + 64 * 1024;
        if (claim.bytes - before > most) differences.push([options, claim.bytes - before]);
      }
    }
    const refused = [];
    for (const maxOutputBytes of [-1, 0.5, "5", NaN, 2 ** 40]) {
      refused.push(await code(() => counted(claim, nobody, { maxOutputBytes }, (each) => vm.exec("true", each))));
    }
    for (const options of [{ keepOutput: "middle" }, { encoding: 5 }]) {
      refused.push(await code(() => counted(claim, nobody, options, (each) => vm.exec("true", each))));
    }
    await vm.dispose();
    print({ differences, compared, same: whole[0].stdout === whole[1].stdout, length: whole[1].stdout.length, refused });`);
  expect(seen).toEqual({
    differences: [],
    compared: 5 * 15 * 4,
    same: true,
    length: 1092 + 108_894 + 300,
    refused: Array(7).fill("INVALID_ARGUMENT"),
  });
});

test("a command that prints until it is killed uses only the memory that was granted to it", async () => {
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
