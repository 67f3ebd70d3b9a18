// Lists the packages of debian-packages.txt that this machine lacks, judged by the files that the tests use.
import { closeSync, existsSync, openSync, readSync } from "node:fs";

const PT_INTERP = 3;
/** The size of an ELF64 header, and more program headers than any program has. */
const HEADER_BYTES = 64;
const MOST_HEADERS = 512;

/**
 * What a line may require of its file in addition to its existence: how to check it, and what to say if it is not so.
 */
const NEEDS = { static: [isStatic, "is no static program"] };

/**
 * The missing packages of a list, as `{ name, why }`. A line of the list has a package, a file and, optionally, a
 * requirement for the file.
 */
export function missingPackages(list) {
  return list
    .split("\n")
    .filter((line) => line && !line.startsWith("#"))
    .map((line) => line.trim().split(/\s+/))
    .flatMap(([name, file, ...needs]) => {
      if (!existsSync(file)) return [{ name, why: `${file} is not there` }];
      const failed = needs.find((need) => !needOf(need)[0](file));
      return failed === undefined ? [] : [{ name, why: `${file} ${needOf(failed)[1]}` }];
    });
}

function needOf(need) {
  if (!Object.hasOwn(NEEDS, need)) throw new Error(`There is no check for "${need}"`);
  return NEEDS[need];
}

/** Whether a file is an ELF64 program without a dynamic loader, so that it runs where no libraries are. */
function isStatic(file) {
  const fd = openSync(file, "r");
  try {
    const header = readAt(fd, HEADER_BYTES, 0);
    const isElf64 = header.length === HEADER_BYTES && header.toString("latin1", 0, 5) === "\x7fELF\x02";
    if (!isElf64) return false;
    const [size, count] = [header.readUInt16LE(54), header.readUInt16LE(56)];
    if (size < 4 || count === 0 || count > MOST_HEADERS) return false;
    const table = readAt(fd, size * count, Number(header.readBigUInt64LE(32)));
    if (table.length !== size * count) return false;
    return !Array.from({ length: count }, (_, index) => table.readUInt32LE(index * size)).includes(PT_INTERP);
  } finally {
    closeSync(fd);
  }
}

function readAt(fd, length, position) {
  const buffer = Buffer.alloc(length);
  return buffer.subarray(0, readSync(fd, buffer, 0, length, position));
}
