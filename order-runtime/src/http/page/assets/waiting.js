// The waiting keys with reason and next attempt, and their release.

import { get, post } from "./api.js";
import { confirm, say } from "./dialogs.js";
import { Fold, Rows, byId, element, setLabel, setText, short, textRow, throttled } from "./dom.js";
import { count, dateTime, plural, until } from "./format.js";
import { showState } from "./tables.js";

/** Maximum number of waiting events that the list reads. */
const LIMIT = 500;
/** Number of keys that are shown at first. */
const FEW = 10;
/** Minimum time between two requests, in milliseconds. */
const PAUSE = 3000;

const STATES = {
  retry: ["warn", "Retry"],
  running: ["ok", "Running"],
  held: ["bad", "Held"],
  orphaned: ["warn", "Orphaned"],
};

/** Why an orphaned key is not retried, by the service's cause. */
const ORPHANED = {
  not_configured: "KAFKA_TOPIC of this instance does not name its topic; an instance that reads the topic continues with it.",
  other_cluster: "It came from another cluster than the one at KAFKA_BROKER_URL.",
  topic_deleted: "Its topic no longer exists; it becomes a dead letter.",
  broker_ended: "Its embedded broker has ended; it becomes a dead letter.",
};

const keyText = ({ key }) => key ?? "(no key)";
const selectionOf = ({ key, topic, partition }) => ({ key, topic, partition });

let keys = [];
let expected = 0;
let allowed = null;

const rows = new Rows(byId("waiting-rows"), () => {
  let item = null;
  const retry = element("button", { type: "button", class: "small", click: () => release(item, "retry") }, "Retry now");
  const condemn = element("button", { type: "button", class: "small", click: () => release(item, "dead-letter") }, "Dead-letter");
  const row = textRow(byId("waiting-rows"), [
    { name: true, kind: "key", fill: (cell, key) => setText(cell, short(keyText(key))) },
    { kind: "why", fill: showCause },
    { kind: "until", fill: (cell, { due, state, orphaned }) => setText(cell, orphaned === null ? nextAttempt(due, state) : "not here") },
    { kind: "number", fill: (cell, { attempts }) => setText(cell, count(attempts)) },
    { kind: "number", fill: (cell, { events }) => setText(cell, count(events)) },
    { kind: "wide place", fill: (cell, { topic, partition, offset }) => setText(cell, `${topic}/${partition}@${offset}`) },
    {
      kind: "actions",
      fill: (cell, key) => {
        if (cell.firstChild === null) cell.append(retry, condemn);
        setLabel(retry, `Retry ${keyText(key)} now`);
        setLabel(condemn, key.orphaned === null
          ? `Dead-letter the first event of ${keyText(key)}`
          : `Dead-letter all waiting events of the topic ${key.topic}`);
        // An event without a key cannot be selected, and an orphaned one has no partition owner that could retry it.
        retry.hidden = key.key === null || key.orphaned !== null;
        condemn.hidden = key.key === null && key.orphaned === null;
      },
    },
  ]);
  return {
    node: row.node,
    show(key) {
      item = key;
      row.show(key);
    },
  };
});

function showCause(cell, { state, errorCode, errorMessage, since, orphaned }) {
  if (cell.firstChild === null) cell.append(element("div"), element("div", { class: "message" }));
  const [head, message] = cell.children;
  showState(head, ...(STATES[orphaned === null ? state : "orphaned"] ?? ["warn", state]));
  const code = head.children[1] ?? head.appendChild(element("code"));
  code.hidden = errorCode === "";
  setText(code, errorCode);
  setText(message, orphaned === null ? errorMessage : `${ORPHANED[orphaned] ?? orphaned} ${errorMessage}`);
  cell.title = `since ${dateTime(since)}`;
}

function nextAttempt(due, state) {
  if (state === "held") return "when it is released";
  return due === null ? "under way" : until(due);
}

const NOTHING = "No key waits. A key comes here if its event is retried later, or is held until an operator releases it.";

const fold = new Fold(byId("waiting-all"), FEW, (open, number) => open ? `Show the first ${FEW}` : `Show all ${count(number)} keys`, () => draw());

function draw() {
  const wanted = byId("waiting-filter").elements.text.value.toLowerCase();
  const matches = keys.filter((key) => [keyText(key), key.errorCode, key.errorMessage].some((text) => text.toLowerCase().includes(wanted)));
  rows.update(fold.of(matches), ({ topic, partition, key, offset }) => JSON.stringify([topic, partition, key ?? offset]));
  const any = keys.length > 0;
  byId("waiting-table").hidden = matches.length === 0;
  byId("waiting-filter").hidden = keys.length < 2 && wanted === "";
  byId("waiting-retry-all").hidden = !any;
  const empty = byId("waiting-empty");
  empty.hidden = matches.length > 0 && expected <= keys.length;
  if (!any) setText(empty, NOTHING);
  else if (matches.length === 0) setText(empty, "No waiting key matches.");
  else setText(empty, `The first ${plural(keys.length, "key")} of ${count(expected)}; the command “waiting list” has all.`);
}

const refresh = throttled(PAUSE, read);

async function read() {
  try {
    keys = await get("/waiting", { limit: LIMIT });
    draw();
  } catch (error) {
    keys = [];
    draw();
    byId("waiting-empty").hidden = false;
    setText(byId("waiting-empty"), cannotSee(error, expected));
  }
}

function cannotSee(error, number) {
  const waits = number === 1 ? "1 key waits." : `${count(number)} keys wait.`;
  return error.status === 401 ? `${waits} Sign in to see which, and why.` : `${waits} ${error.message}`;
}

function release(item, how) {
  allowed(async () => {
    const name = keyText(item);
    if (how === "retry") {
      const { released } = await post("/waiting/retry", selectionOf(item));
      say(released > 0 ? `${name} is retried.` : `${name} is no longer waiting, or waits at another instance.`);
      refresh();
      return;
    }
    if (item.orphaned !== null) {
      await giveUp(item.topic);
      return;
    }
    await confirm({
      title: "Dead-letter this event?",
      text: `The first waiting event of ${name} becomes a dead letter. The ${plural(item.events - 1, "later event")} of the key will continue in order.`,
      yes: "Dead-letter", danger: true,
      act: async () => {
        const { released } = await post("/waiting/dead-letter", selectionOf(item));
        say(released > 0 ? `The first event of ${name} becomes a dead letter.` : `${name} is no longer waiting.`);
        refresh();
      },
    });
  });
}

/** Dead-letters all waiting events of a topic that no instance reads. */
function giveUp(topic) {
  return confirm({
    title: `Dead-letter all waiting events of the topic ${topic}?`,
    text: `Every waiting event of the topic ${topic} whose partition has no owner becomes a dead letter, in order.`,
    yes: "Dead-letter all", danger: true,
    act: async () => {
      const { events } = await post("/waiting/dead-letter", { topic });
      say(`${plural(events, "event")} of ${topic} became dead letters.`);
      refresh();
    },
  });
}

/** `whenAllowed` runs an action once the operator may act. */
export function startWaiting(whenAllowed) {
  allowed = whenAllowed;
  byId("waiting-filter").addEventListener("input", draw);
  byId("waiting-filter").addEventListener("submit", (event) => event.preventDefault());
  byId("waiting-retry-all").addEventListener("click", () => allowed(async () => {
    const { released } = await post("/waiting/retry", { all: true });
    say(`${plural(released, "key")} retried.`);
    refresh();
  }));
}

/** Runs after each update: reads the list again if it may have changed, and counts down. */
export function showWaiting(partitions, orphans) {
  expected = [...partitions, ...orphans].reduce((sum, { waitingKeys }) => sum + waitingKeys, 0);
  if (document.hidden) return;
  if (expected > 0 || keys.length > 0) refresh();
  if (keys.length > 0) draw();
}

export const refreshWaiting = refresh;
