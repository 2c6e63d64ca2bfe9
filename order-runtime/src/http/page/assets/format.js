// Formatting of numbers, times and durations.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const minutes = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const moment = new Intl.DateTimeFormat("en-GB", {
  day: "2-digit", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit",
});

/** The text for an unknown number. */
export const NONE = "–";

export function count(number) {
  return number === null || number === undefined ? NONE : whole.format(number);
}

/** A number beside an axis. */
export function brief(number) {
  return number === null || number === undefined ? NONE : compact.format(number);
}

/** A number per second: small ones with a decimal place. */
export function rate(number) {
  return number === null || number === undefined ? NONE : (number < 100 ? tenths : whole).format(number);
}

/** Milliseconds in the unit that fits. */
export function duration(milliseconds) {
  if (milliseconds === null || milliseconds === undefined) return NONE;
  if (milliseconds > 0 && milliseconds < 0.1) return "< 0.1 ms";
  if (milliseconds < 10) return `${tenths.format(milliseconds)} ms`;
  if (milliseconds < 1000) return `${whole.format(milliseconds)} ms`;
  if (milliseconds < 120_000) return `${tenths.format(milliseconds / 1000)} s`;
  if (milliseconds < 7_200_000) return `${tenths.format(milliseconds / 60_000)} min`;
  if (milliseconds < 172_800_000) return `${tenths.format(milliseconds / 3_600_000)} h`;
  return `${tenths.format(milliseconds / 86_400_000)} days`;
}

/** Hour and minute. */
export function minute(date) {
  return minutes.format(date);
}

/** The time of day. */
export function time(date) {
  return clock.format(date);
}

/** Day and time; the unchanged text if it is not a time. */
export function dateTime(text) {
  if (text === null || text === undefined) return NONE;
  const date = new Date(text);
  return Number.isNaN(date.getTime()) ? String(text) : moment.format(date);
}

/** How far in the future a time is. */
export function until(text) {
  const left = new Date(text).getTime() - Date.now();
  return left <= 500 ? "now" : `in ${duration(left)}`;
}

/** How long ago a time was. */
export function ago(text) {
  return duration(Math.max(0, Date.now() - new Date(text).getTime()));
}

/** `1 key`, `2 keys`. */
export function plural(number, one, several = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : several}`;
}

/** An identifier such as `too_large`, in words. */
export function words(name) {
  return String(name ?? "").replaceAll("_", " ");
}
