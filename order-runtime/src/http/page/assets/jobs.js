// Background jobs on dead letters: their progress and results.

import { get, remove } from "./api.js";
import { byId, setText } from "./dom.js";
import { count } from "./format.js";

/** Interval of progress requests, first and maximum, in milliseconds. */
const SOON = 50;
const PERIOD = 500;

/** The id of the shown job. */
let shown = null;

/** Shows a job's progress until it ends, and returns its last view. `words` describes its summary. */
export async function follow(job, words) {
  let view = job;
  let pause = SOON;
  try {
    while (view.state === "running") {
      shown = view.id;
      byId("job-progress").hidden = false;
      setText(byId("job-text"), `${words(view.summary)}, ${count(view.read)} of ${count(view.of)} records read.`);
      await new Promise((resolve) => setTimeout(resolve, pause));
      pause = Math.min(pause * 2, PERIOD);
      view = await get(`/dlq/jobs/${encodeURIComponent(view.id)}`);
    }
    return view;
  } finally {
    if (shown === job.id) {
      shown = null;
      byId("job-progress").hidden = true;
    }
  }
}

/** Like `follow`, but throws with the reason if the job fails or is stopped. */
export async function result(job, words) {
  const { state, error, summary } = await follow(job, words);
  if (state === "failed") throw new Error(error);
  if (state === "stopped") throw new Error("It was stopped.");
  return summary;
}

/** `whenAllowed` runs an action once the operator may act. */
export function startJobs(whenAllowed) {
  byId("job-stop").addEventListener("click", () => whenAllowed(async () => {
    if (shown !== null) await remove(`/dlq/jobs/${encodeURIComponent(shown)}`);
  }));
}
