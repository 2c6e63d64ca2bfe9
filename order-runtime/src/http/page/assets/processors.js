// Processors: their counters, rates and durations.

import { Rows, byId, element, setText, textRow } from "./dom.js";
import { count, duration, plural, rate } from "./format.js";

/** Time span of the small chart and of the duration, and time span of the rate, in seconds. */
const MINUTE = 60;
const MOMENT = 10;
const [WIDTH, HEIGHT] = [120, 24];
const SVG = "http://www.w3.org/2000/svg";

/** The counters of all processors for each second, latest last. */
let seconds = [];

/** Adds a second. `anew` drops the earlier seconds, because they may be from another process. */
export function trackProcessors(at, counters, anew) {
  if (anew) seconds = [];
  seconds.push({ at, counters: counters.map(({ ok, deadLettered, skipped, attempts, milliseconds }) => ({ settled: ok + deadLettered + skipped, attempts, milliseconds })) });
  if (seconds.length > MINUTE + 1) seconds.shift();
}

/** A processor's recent rate and mean duration, null while unknown, and its curve. */
function recent(index) {
  const of = (second) => second.counters[index];
  const last = seconds.at(-1);
  const since = seconds.at(-1 - MOMENT) ?? seconds[0];
  if (last === since || of(since) === undefined) return { perSecond: null, mean: null, curve: [] };
  const attempts = of(last).attempts - of(seconds[0]).attempts;
  const curve = seconds.slice(1).map((second, place) =>
    Math.max(0, of(second).settled - of(seconds[place]).settled) / Math.max(0.001, second.at - seconds[place].at));
  return {
    perSecond: Math.max(0, of(last).settled - of(since).settled) / Math.max(0.001, last.at - since.at),
    mean: attempts > 0 ? (of(last).milliseconds - of(seconds[0]).milliseconds) / attempts : null,
    curve,
  };
}

/** A curve without axes; the numbers are beside it. */
function showCurve(cell, { curve }) {
  let line = cell.querySelector("polyline");
  if (line === null) {
    const drawing = document.createElementNS(SVG, "svg");
    line = document.createElementNS(SVG, "polyline");
    const attributes = { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT, "aria-hidden": "true" };
    for (const [name, value] of Object.entries(attributes)) drawing.setAttribute(name, value);
    drawing.append(line);
    cell.append(drawing);
  }
  const most = Math.max(1, ...curve);
  const from = MINUTE - curve.length;
  const points = curve.map((value, place) =>
    `${((from + place) * WIDTH / (MINUTE - 1)).toFixed(1)},${(HEIGHT - 1 - value / most * (HEIGHT - 2)).toFixed(1)}`);
  line.setAttribute("points", points.join(" "));
}

const text = (of) => (cell, item) => setText(cell, of(item));

const rows = new Rows(byId("processor-rows"), () => textRow(byId("processor-rows"), [
  {
    name: true,
    fill: (cell, { event, version, processor, at }) => {
      if (cell.firstChild !== null) return;
      cell.append(event, element("small", { title: `${processor}, ${at}` }, ` v${version}`));
    },
  },
  { kind: "number", fill: text(({ ok }) => count(ok)) },
  { kind: "number", fill: text(({ perSecond }) => rate(perSecond)) },
  { kind: "number", fill: text(({ mean }) => duration(mean)) },
  { fill: showCurve },
  { kind: "number", fill: text(({ retried }) => count(retried)) },
  { kind: "number", fill: text(({ deadLettered }) => count(deadLettered)) },
  {
    kind: "wide",
    fill: text(({ retry }) => retry.retries === 0
      ? "no retry"
      : `${plural(retry.retries, "retry", "retries")}, ${retry.backoff} to ${retry.backoffMax}, then ${retry.onExhausted.replaceAll("_", " ")}`),
  },
  { kind: "why", fill: text(({ summary, processor }) => summary === "" ? processor : summary) },
]));

/** `declared` and `counters` have the same order. */
export function showProcessors(declared, counters) {
  rows.update(declared.map((processor, index) => ({ ...processor, ...counters[index], ...recent(index) })),
    ({ event, version }) => `${event} ${version}`);
  byId("processors-empty").hidden = declared.length > 0;
  byId("processor-rows").closest(".scroll").hidden = declared.length === 0;
}
