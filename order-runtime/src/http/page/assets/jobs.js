// Work on dead letters that the service goes on with after its answer: how far it is, and what came of it.

import { get, remove } from "./api.js";
import { byId, setText } from "./dom.js";
import { count } from "./format.js";

/** How long to wait before the service is asked how far a job is, at first and at most, in milliseconds. */
const SOON = 50;
const PERIOD = 500;

/** The id of the job that is shown. */
let shown = null;

/** Shows how far a job is until it ends, and answers how it has ended. `words` says what it has done. */
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

/** The same where only a job that comes to its end is of use; else it throws, with the reason. */
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
