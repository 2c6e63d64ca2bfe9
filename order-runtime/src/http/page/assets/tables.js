// Partitions: stopped ones first, then those with the largest lag.

import { Fold, Rows, byId, element, setText, textRow } from "./dom.js";
import { ago, count, plural } from "./format.js";

const STATES = {
  running: ["ok", "Running"],
  paused: ["warn", "Paused"],
  stopped: ["bad", "Stopped"],
  store_away: ["bad", "Store unavailable"],
  full: ["warn", "Full"],
  stuck: ["bad", "Stuck"],
};

/** Number of partitions that are shown at first. */
const FEW = 10;

/** Shows a state as a sign and a word, so that colour alone carries no meaning. */
export function showState(cell, level, word) {
  const state = cell.firstElementChild ?? cell.appendChild(element("span", { class: "state" }));
  if (state.dataset.level !== level) state.dataset.level = level;
  setText(state, word);
}

function showLag(cell, { lag, share }) {
  if (cell.firstChild === null) {
    cell.append(element("span", { class: "value" }), element("span", { class: "track", "aria-hidden": "true" }, element("span")));
  }
  setText(cell.firstElementChild, count(lag));
  cell.querySelector(".track > span").style.width = `${share * 100}%`;
}

const text = (of) => (cell, item) => setText(cell, of(item));

const partitions = new Rows(byId("partition-rows"), () => textRow(byId("partition-rows"), [
  { name: true, kind: "place", fill: text(({ topic, partition }) => `${topic}/${partition}`) },
  { fill: (cell, { state }) => showState(cell, ...(STATES[state] ?? ["warn", state])) },
  { kind: "number lag", fill: showLag },
  { kind: "number wide", fill: text(({ position }) => count(position)) },
  {
    kind: "number",
    fill: text(({ waitingKeys, waitingEvents }) =>
      waitingKeys === 0 ? "0" : `${count(waitingEvents)} of ${plural(waitingKeys, "key")}`),
  },
  { kind: "why", fill: text(waitsFor) },
]));

/** The cause that a partition waits for, and its duration. */
function waitsFor({ state, reason, since, lag, waitingKeys }) {
  if (state !== "running") return `${reason ?? "an operator"}, for ${ago(since)}`;
  if (lag > 0) return "its next batch";
  return waitingKeys > 0 ? "the next attempt of a key" : "new records";
}

/** Sorts by state, worst first, then by lag. */
function bySorrow(one, other) {
  const rank = ({ state }) => ["bad", "warn", "ok"].indexOf(STATES[state]?.[0] ?? "warn");
  return rank(one) - rank(other) || (other.lag ?? 0) - (one.lag ?? 0)
    || one.topic.localeCompare(other.topic) || one.partition - other.partition;
}

const fold = new Fold(byId("partitions-all"), FEW, (open, number) => open ? `Show the first ${FEW}` : `Show all ${count(number)} partitions`,
  () => showPartitions(shown));
let shown = [];

export function showPartitions(list) {
  shown = list;
  const most = Math.max(1, ...list.map(({ lag }) => lag ?? 0));
  partitions.update(fold.of(list.toSorted(bySorrow)).map((partition) => ({ ...partition, share: (partition.lag ?? 0) / most })),
    ({ topic, partition }) => `${topic}/${partition}`);
  byId("partitions-empty").hidden = list.length > 0;
  byId("partition-rows").closest(".scroll").hidden = list.length === 0;
}
