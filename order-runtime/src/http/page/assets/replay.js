// Replays: the preview, the confirmation and the progress.

import { get, post } from "./api.js";
import { confirm, say } from "./dialogs.js";
import { element } from "./dom.js";
import { count, plural, words } from "./format.js";
import { follow, result } from "./jobs.js";

const REASONS = {
  loop_guard: "replayed too often",
  settled_since: "handled or skipped since",
  had_before: "no event id, and already read by this service",
  superseded: "failed again since",
  replayed: "replayed before",
  parked: "in the other parking state",
  purged: "purged",
  too_large: "larger than their topic's limit",
  refused: "refused by their topic; a compacted topic takes no record without a key",
};

const word = (reason) => REASONS[reason] ?? words(reason);

function histogram({ counts, leftOut }) {
  const line = (text, number) => element("tr", {},
    element("th", { scope: "row" }, text), element("td", { class: "number" }, count(number)));
  const replayed = counts.map(({ reason, event, errorCode, letters }) =>
    line([event, reason, errorCode].filter((part) => part !== "").join(" · "), letters));
  const left = Object.entries(leftOut).map(([reason, letters]) => line(`Left out: ${word(reason)}`, letters));
  return element("table", {}, element("caption", { class: "hidden" }, "Preview of the replay"),
    element("tbody", {}, ...replayed, ...left));
}

/** Shows a preview of a replay of `selection`, and starts it after a confirmation. */
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

/** Counts what a replay would send; null if that fails, after the operator was notified. */
async function plan(selection) {
  const counting = await post("/dlq/replay", { ...selection, dryRun: true });
  try {
    return await result(counting, ({ replayed }) => `Counting: ${plural(replayed, "dead letter")} so far`);
  } catch (error) {
    say(`The dead letters to replay could not be counted: ${error.message}`, "bad");
    return null;
  }
}

/** Shows the progress of a replay until it ends. */
async function followReplay(job, then) {
  try {
    tell(await follow(job, ({ replayed }) => `Replaying: ${count(replayed)} sent`));
    await then();
  } catch (error) {
    say(`The progress of the replay is unknown: ${error.message}`, "bad");
  }
}

function tell({ state, summary, error }) {
  const sent = `${plural(summary.replayed, "dead letter")} replayed`;
  if (state === "failed") say(`The replay failed after ${sent}: ${error}`, "bad");
  else if (state === "stopped") say(`The replay was stopped: ${sent}. Start it again to continue from there.`);
  else say(`${sent}.`);
}

/** Shows a replay that was started before this page was opened. */
export async function followRunning(then) {
  const jobs = await get("/dlq/jobs").catch(() => []);
  const running = jobs.find(({ state, action, dryRun }) => state === "running" && action === "replay" && !dryRun);
  if (running !== undefined) await followReplay(running, then);
}
