// Dates in the arguments of file calls. A message has no Dates, so the client sends seconds. It runs in browsers too.

/** The arguments of a call, with seconds since the Unix epoch in the place of the times of files that are Dates. */
export function withSeconds(method: string, args: unknown[]): unknown[] {
  switch (method) {
    case "utimes":
      return args.map(seconds);
    case "writeFile":
      return args.map((each, at) => (at === 2 ? timed(each) : each));
    case "writeFiles":
      return args.map((each, at) => (at === 0 && Array.isArray(each) ? Array.from(each, timed) : each));
    default:
      return args;
  }
}

function timed(options: unknown): unknown {
  if (typeof options !== "object" || options === null || !Object.hasOwn(options, "mtime")) return options;
  const { mtime } = options as { mtime: unknown };
  return isDate(mtime) ? { ...options, mtime: seconds(mtime) } : options;
}

function seconds(time: unknown): unknown {
  return isDate(time) ? time.getTime() / 1000 : time;
}

/** A Date of this realm or another. */
function isDate(value: unknown): value is Date {
  return Object.prototype.toString.call(value) === "[object Date]";
}
