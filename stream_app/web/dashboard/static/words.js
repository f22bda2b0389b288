// Numbers, times and names as the reader's locale writes them.

const number = new Intl.NumberFormat();
const short = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
const one = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const share = new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: 1 });
const points = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0, signDisplay: "exceptZero" });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const minute = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
const both = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
// buckets of a day begin at midnight UTC
const utcDay = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", timeZone: "UTC" });

const DAY = 86_400;
const UNITS = [[DAY, "day"], [3600, "hour"], [60, "minute"], [1, "second"], [0.001, "millisecond"]];

export const NOTHING = "–";

export const count = (n) => (n == null ? NOTHING : n < 100_000 ? number.format(n) : short.format(n));
export const rate = (n) => one.format(n);
export const percent = (x) => (x == null ? NOTHING : share.format(x));

/** A measure: net sentiment in points from -100 to +100, or a share. */
export const measured = (x, measure) =>
  x == null ? NOTHING : measure === "net" ? points.format(x * 100) : share.format(x);

/** The change of a measure, in points of a hundred. */
export const changed = (x) => (x == null ? NOTHING : points.format(x * 100));

/** A waiting time, with one digit after the point where it has few before it. */
export function duration(seconds) {
  if (seconds == null) return NOTHING;
  if (seconds === 0) return number.format(0); // of an axis: in whatever unit
  const [size, unit] = UNITS.find(([least]) => seconds >= least) ?? UNITS.at(-1);
  const digits = seconds / size < 10 && unit !== "millisecond" ? 1 : 0;
  const format = { style: "unit", unit, unitDisplay: "short", maximumFractionDigits: digits };
  return new Intl.NumberFormat(undefined, format).format(seconds / size);
}

/** When a label's record was made: the time of day, with the date where it is not today. */
export function when(seconds) {
  const then = new Date(seconds * 1000);
  return then.toDateString() === new Date().toDateString() ? clock.format(then) : both.format(then);
}

/** The start of a bucket. */
export function bucket(seconds, step) {
  const then = new Date(seconds * 1000);
  if (step >= DAY) return utcDay.format(then);
  return step > 900 ? both.format(then) : minute.format(then);
}

/** A tick of an axis: the day at midnight, else the time of day. */
export function tick(seconds, step) {
  const then = new Date(seconds * 1000);
  if (step >= DAY) return utcDay.format(then);
  return then.getHours() + then.getMinutes() === 0 ? day.format(then) : minute.format(then);
}

export const RANGES = {
  "15m": "15 minutes", "1h": "1 hour", "6h": "6 hours", "24h": "24 hours", "7d": "7 days", "30d": "30 days",
};

/** What a measure is called. */
export const measureName = (measure) => (measure === "net" ? "Net sentiment" : `Share of ${measure}`);
