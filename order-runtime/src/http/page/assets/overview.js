// The numbers at the top, the health badge, and pausing.

import { post } from "./api.js";
import { announce, confirm, say } from "./dialogs.js";
import { byId, element, setText } from "./dom.js";
import { count, duration, plural, rate } from "./format.js";

const LEVELS = {
  ok: "Live and ready",
  paused: "Paused by an operator",
  warn: "Not ready",
  bad: "Not live",
  unknown: "Not connected",
};

let level = "unknown";

/** Shows everything above the tables. */
export function showOverview(state) {
  showHealth(state);
  const { stats, point } = state;
  setText(byId("tile-rate"), rate(point?.ok));
  setText(byId("tile-consumed"), `${rate(point?.consumed)} taken per second`);
  setText(byId("tile-p99"), duration(point?.p99));
  setText(byId("tile-p50"), `p50 ${duration(point?.p50)}`);
  setText(byId("tile-lag"), count(stats.lag));
  setText(byId("tile-partitions"), `records, ${plural(state.partitions.length, "partition")}`);
  setText(byId("tile-waiting"), count(stats.waiting));
  const keys = [...state.partitions, ...state.orphans].reduce((sum, partition) => sum + partition.waitingKeys, 0);
  setText(byId("tile-keys"), `events of ${plural(keys, "key")}`);
  setText(byId("tile-dead"), count(stats.deadLettered));
  setText(byId("tile-retried"), count(stats.retried));
  setText(byId("tile-skipped"), `${count(stats.skipped)} skipped`);
  showCount("waiting-count", keys, "waiting");
  showCount("letters-count", stats.deadLettered, "since the start");
  setText(byId("consumption"), state.paused ? "Resume consumption" : "Pause consumption");
  byId("consumption").classList.toggle("primary", state.paused);
}

/** Shows that the connection is lost, so that the last known health is not shown as current. */
export function showDisconnected() {
  setLevel("unknown");
}

function showCount(id, number, meaning) {
  const node = byId(id);
  node.hidden = number === 0;
  if (number > 0 && node.firstChild?.textContent !== count(number)) {
    node.replaceChildren(count(number), element("span", { class: "hidden" }, ` ${meaning}`));
  }
}

function showHealth({ notLive, notReady, warnings, paused }) {
  const reasons = [...notLive, ...notReady, ...warnings];
  if (notLive.length > 0) setLevel("bad");
  else if (paused && notReady.length === 1) setLevel("paused");
  else setLevel(notReady.length > 0 ? "warn" : "ok");
  const list = byId("reasons");
  const shown = [...list.children].map((item) => item.textContent);
  if (shown.length !== reasons.length || shown.some((text, index) => text !== reasons[index])) {
    list.replaceChildren(...reasons.map((reason) => element("li", {}, reason)));
    list.hidden = reasons.length === 0;
    list.dataset.level = notLive.length > 0 ? "bad" : "warn";
  }
}

function setLevel(now) {
  if (now === level) return;
  const first = level === "unknown";
  level = now;
  byId("health").dataset.level = now;
  setText(byId("health-text"), LEVELS[now]);
  // A healthy initial state is not announced, only changes are.
  if (!first || now !== "ok") announce(LEVELS[now]);
}

/** Starts the button that pauses and resumes. `allowed` runs an action once the operator may act. */
export function startConsumption(state, allowed) {
  byId("consumption").addEventListener("click", () => allowed(async () => {
    if (state().paused) {
      await post("/consumer/resume");
      say("Consumption is resumed.");
      return;
    }
    await confirm({
      title: "Pause consumption?",
      text: "This instance stops taking records until it is resumed or restarted. No setting changes. While paused, it is not ready, and lag grows.",
      yes: "Pause",
      act: async () => {
        await post("/consumer/pause");
        say("Consumption is paused.");
      },
    });
  }));
}
