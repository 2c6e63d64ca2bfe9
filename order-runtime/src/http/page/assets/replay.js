// Replays: what would go back, asked before it goes, and how far it is.

import { get, post } from "./api.js";
import { confirm, say } from "./dialogs.js";
import { element } from "./dom.js";
import { count, plural, words } from "./format.js";
import { follow, result } from "./jobs.js";

const REASONS = {
  loop_guard: "replayed too often already",
  settled_since: "settled since",
  had_before: "handled before, without an event id",
  superseded: "failed again since",
  replayed: "replayed before",
  parked: "parked or not, unlike what is asked for",
  purged: "purged",
  too_large: "larger than their topic takes",
  refused: "refused by their topic; a compacted topic takes none without a key",
};

const word = (reason) => REASONS[reason] ?? words(reason);

function histogram({ counts, leftOut }) {
  const line = (text, number) => element("tr", {},
    element("th", { scope: "row" }, text), element("td", { class: "number" }, count(number)));
  const replayed = counts.map(({ reason, event, errorCode, letters }) =>
    line([event, reason, errorCode].filter((part) => part !== "").join(" · "), letters));
  const left = Object.entries(leftOut).map(([reason, letters]) => line(`Left out: ${word(reason)}`, letters));
  return element("table", {}, element("caption", { class: "hidden" }, "What would be replayed"),
    element("tbody", {}, ...replayed, ...left));
}

/** Shows what a replay of `selection` would send, and sends it where that is wanted. */
export async function askReplay(selection, then) {
  const planned = await plan(selection);
  if (planned === null) return;
  if (planned.replayed === 0) {
    const why = Object.entries(planned.leftOut).map(([reason, letters]) => `${count(letters)} ${word(reason)}`);
    say(`Nothing would be replayed${why.length > 0 ? `: ${why.join(", ")}` : ""}.`, "bad");
    return;
  }
  const max = element("input", { type: "number", min: "1", value: String(planned.replayed), required: true });
  const rate = element("input", { type: "number", min: "1", placeholder: "no limit" });
  const several = planned.replayed > 1;
  await confirm({
    title: `Replay ${plural(planned.replayed, "dead letter")}?`,
    text: "Each goes back to its topic under its key. Its event counts once, however often it is sent.",
    yes: "Replay",
    fields: [
      histogram(planned),
      ...several ? [element("label", {}, "At most", max), element("label", {}, "Per second", rate)] : [],
    ],
    act: async () => {
      const body = { ...selection, max: max.valueAsNumber };
      if (rate.value !== "") body.rate = rate.valueAsNumber;
      followReplay(await post("/dlq/replay", body), then);
    },
  });
}

/** What a replay would send; null where that is not known, which the operator is told. */
async function plan(selection) {
  const counting = await post("/dlq/replay", { ...selection, dryRun: true });
  try {
    return await result(counting, ({ replayed }) => `Counting: ${plural(replayed, "dead letter")} so far`);
  } catch (error) {
    say(`How many dead letters would be replayed is not known: ${error.message}`, "bad");
    return null;
  }
}

/** Shows how far a replay is, until it ends. */
async function followReplay(job, then) {
  try {
    tell(await follow(job, ({ replayed }) => `Replaying: ${count(replayed)} sent`));
    await then();
  } catch (error) {
    say(`How far the replay is cannot be told: ${error.message}`, "bad");
  }
}

function tell({ state, summary, error }) {
  const sent = `${plural(summary.replayed, "dead letter")} replayed`;
  if (state === "failed") say(`The replay has failed after ${sent}: ${error}`, "bad");
  else if (state === "stopped") say(`The replay is stopped: ${sent}. Ask again to go on from there.`);
  else say(`${sent}.`);
}

/** Shows a replay that somebody has begun before this page was opened. */
export async function followRunning(then) {
  const jobs = await get("/dlq/jobs").catch(() => []);
  const running = jobs.find(({ state, action, dryRun }) => state === "running" && action === "replay" && !dryRun);
  if (running !== undefined) await followReplay(running, then);
}
