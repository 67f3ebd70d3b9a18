"use strict";
// How the search for a text or an expression in output treats what it is given, whatever a program prints.

const { boot } = require("./fixture/vm");
const { rejection, until } = require("./fixture/promises");
const { ExpressionSearch } = require("../lib/expression-search");
const { beginSearch, endSearch, searchLater } = require("../lib/search-turns");
const { TextSearch } = require("../lib/text-search");

const turn = () => new Promise(setImmediate);

/** What a search finds in the bytes of one stream, which come in pieces of `size` bytes. */
function found(search, bytes, size) {
  for (let at = 0; at < bytes.byteLength; at += size) {
    const match = search.add("stdout", bytes.subarray(at, at + size), at) ?? search.find();
    if (match) return match;
  }
  return search.end("stdout");
}

test("the worst text for 32 MiB of output holds up neither its own search nor the server's timers", async () => {
  const vm = await boot();
  const { pid } = await vm.spawn("sh", ["-c", "read x; head -c 32M /dev/zero | tr '\\0' a"]);
  let served = 0;
  const timer = setInterval(() => served++, 1);
  const side = "a".repeat(8000);
  const waiting = rejection(vm.waitForOutput(pid, `${side}b${side}`));
  await vm.writeProcessStdin(pid, "\n");
  // With a search that compares each byte with all of the text, this takes minutes.
  expect((await waiting).code).toBe("OUTPUT_ENDED");
  clearInterval(timer);
  expect(served).toBeGreaterThan(16);
});

test("a text is found where decoding all of the output finds it, however it is divided", () => {
  const parts = [
    "61",
    "62",
    "e282ac",
    "f09f9880",
    "efbfbd",
    "ff",
    "e282",
    "f09f98",
    "eda080",
    "c3",
    "80",
    "e0",
    "f490",
  ];
  const texts = ["ab", "€", "😀a", "\ufffd", "\ufffda", "\ufffd\ufffdb", "aab", "b\ufffd", "a€a"];
  const decoded = (bytes) => new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
  let state = 1;
  const random = (below) => (state = (state * 48271) % 0x7fffffff) % below;
  let matches = 0;
  for (let round = 0; round < 150; round++) {
    const chosen = Array.from({ length: 12 }, () => parts[random(parts.length)]);
    const bytes = Buffer.from(chosen.join(""), "hex");
    const all = decoded(bytes);
    for (const text of texts) {
      const index = all.indexOf(text);
      const end = (length) => {
        let last = 0;
        for (let at = 1; at <= bytes.byteLength; at++) {
          if (decoded(bytes.subarray(0, at)).length <= length) last = at;
        }
        return last;
      };
      const expected = index < 0 ? undefined : { seq: end(index), nextSeq: end(index + text.length), text };
      if (expected) matches++;
      for (const size of [1, 2, 100]) {
        const match = found(new TextSearch(text), bytes, size);
        const place = match && { seq: match.seq, nextSeq: match.nextSeq, text: match.text };
        expect([chosen, text, size, place]).toEqual([chosen, text, size, expected]);
      }
    }
  }
  expect(matches).toBeGreaterThan(100);
});

test("half of a character is not found", () => {
  for (const half of ["\ud83d", "\ude00"]) expect(found(new TextSearch(half), Buffer.from("😀"), 1)).toBeUndefined();
});

test("a match of an expression is found if it has at most 64 KiB, whatever precedes it", () => {
  for (const before of ["x", "é", "€", "😀"]) {
    for (let length = 65_529; length <= 65_536; length++) {
      const bytes = Buffer.from(`${before.repeat(50_000)}X${"a".repeat(length - 2)}Y`);
      const end = bytes.byteLength - 1;
      const search = new ExpressionSearch(/Xa*Y/);
      expect(found(search, bytes.subarray(0, end), 60_000)).toBeUndefined();
      expect(search.add("stdout", bytes.subarray(end), end) ?? search.find()).toMatchObject({
        seq: end + 1 - length,
        nextSeq: end + 1,
      });
    }
  }
});

test("single bytes of two streams in turn keep 4,096 pieces of each", () => {
  const matchOf = (pieces) => {
    const search = new ExpressionSearch(/<x*>/);
    const printed = `${"y".repeat(20_000)}<${"x".repeat(pieces - 2)}>`;
    for (let at = 0; at < printed.length; at++) {
      const match =
        search.add("stdout", Buffer.from(printed[at]), 2 * at) ?? search.add("stderr", Buffer.from("-"), 2 * at + 1);
      if (match) return match;
    }
    return search.find();
  };
  expect(matchOf(4096)).toMatchObject({ seq: 40_000, nextSeq: 40_000 + 2 * 4095 + 1 });
  expect(matchOf(8193)).toBeUndefined();
});

test("a text in single bytes of two streams in turn is found with its place", () => {
  const text = "x".repeat(16_384);
  const search = new TextSearch(text);
  let match;
  for (let at = 0; !match; at++) {
    match = search.add("stderr", Buffer.from("-"), 2 * at) ?? search.add("stdout", Buffer.from("x"), 2 * at + 1);
  }
  expect(match).toMatchObject({ stream: "stdout", seq: 1, nextSeq: 2 * text.length });
});

test("each byte is decoded once for an expression, and once more when it is dropped", () => {
  const decode = jest.spyOn(TextDecoder.prototype, "decode");
  try {
    const search = new ExpressionSearch(/never/);
    let seq = 0;
    const add = (size) => {
      expect(search.add("stdout", Buffer.alloc(size, "a"), seq) ?? search.find()).toBeUndefined();
      seq += size;
    };
    for (let round = 0; round < 10; round++) add(60_000);
    for (let round = 0; round < 1000; round++) add(3);
    const bytes = decode.mock.calls.reduce((sum, [data]) => sum + data.byteLength, 0);
    expect(bytes).toBeGreaterThanOrEqual(seq);
    expect(bytes).toBeLessThanOrEqual(2 * seq);
  } finally {
    decode.mockRestore();
  }
});

test("all waits together search a bounded number of bytes in a turn of the event loop, each in its turn", async () => {
  const order = [];
  const searchers = Array.from({ length: 100 }, (_, number) => ({
    left: 3,
    begin() {},
    search() {
      order.push(number);
      if (--this.left > 0) searchLater(this);
      return 65_536;
    },
  }));
  for (const searcher of searchers) searchLater(searcher);
  let turns = 0;
  while (order.length < 300) {
    const before = order.length;
    await turn();
    turns++;
    expect(order.length - before).toBeLessThanOrEqual(8);
  }
  expect(turns).toBeGreaterThanOrEqual(300 / 8);
  const numbers = [...searchers.keys()];
  expect(order).toEqual([...numbers, ...numbers, ...numbers]);
});

test("sixteen waits at a time read what is kept, and the next begin when those have searched it", async () => {
  const begun = [];
  const searchers = Array.from({ length: 40 }, (_, number) => ({ begin: () => begun.push(number), search: () => 0 }));
  expect(searchers.map(beginSearch).filter(Boolean)).toHaveLength(16);
  expect(begun).toHaveLength(16);
  endSearch(searchers[20]);
  for (const searcher of searchers.slice(0, 5)) endSearch(searcher);
  await turn();
  expect(begun.slice(16)).toEqual([16, 17, 18, 19, 21]);
  for (const searcher of searchers) endSearch(searcher);
  await turn();
  expect(begun).toHaveLength(21);
});

test("more waits than may read what is kept at the same time all find it", async () => {
  const vm = await boot();
  const { pid } = await vm.spawn("sh", ["-c", "head -c 500000 /dev/zero | tr '\\0' x; echo first; cat"]);
  await until(async () => (await vm.readProcessOutput(pid)).nextSeq === 500_006);
  const waits = Array.from({ length: 60 }, () => vm.waitForOutput(pid, "first"));
  const later = Array.from({ length: 60 }, () => vm.waitForOutput(pid, /later/));
  await vm.writeProcessStdin(pid, "later");
  for (const match of await Promise.all(waits)) expect(match).toMatchObject({ seq: 500_000, nextSeq: 500_005 });
  for (const match of await Promise.all(later)) expect(match).toMatchObject({ seq: 500_006, nextSeq: 500_011 });
});
