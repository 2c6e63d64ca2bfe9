// Dead letters: search, selection, and actions on several letters.

import { get, post } from "./api.js";
import { confirm, say } from "./dialogs.js";
import { byId, element, setText, short } from "./dom.js";
import { count, plural, time, words } from "./format.js";
import { result, startJobs } from "./jobs.js";
import { openLetter } from "./letter.js";
import { letterRows } from "./letter_rows.js";
import { askReplay, followRunning } from "./replay.js";

/** Number of letters that are shown at first, that are added at a time, and that one answer may have. */
const FEW = 20;
const MORE = 200;
const MOST = 1000;
/** Maximum number of groups that are shown as buttons. */
const GROUPS = 8;
/** Maximum length of a name on a button. */
const NAME = 80;

/** The letters that were read, latest first; each with `before`, the cursor of the request that found it. */
let letters = [];
/** Number of matching letters in the part of the topic that was read. */
let matching = 0;
/** The position of older letters: before a cursor, and up to a time; null if there are none. */
let older = null;
/** The last answer if it covered only a part of the topic. */
let part = null;
let shown = [];
let chosen = new Set();
/** Dead letters since the start: now, and when the list was read; null until that is known. */
let counted = null;
let countedAtSearch = null;
let allowed = null;
let searching = 0;

const rows = letterRows({
  isChosen: (id) => chosen.has(id),
  choose: (id, is) => {
    if (is) chosen.add(id);
    else chosen.delete(id);
    showChosen();
  },
  open: ({ id, before }) => allowed(() => openLetter({ id, before }, allowed, reload)),
});

const form = () => byId("letters-filter");
/** The value of a field; typed values are trimmed. */
const value = (name) => {
  const field = form().elements[name];
  return field.tagName === "SELECT" ? field.value : field.value.trim();
};
/** The conditions that the service checks; empty fields are left out. */
const conditions = () => {
  const given = ["event", "reason", "code", "key"].map((name) => [name, value(name)]).filter(([, text]) => text !== "");
  for (const name of ["since", "until"]) {
    const at = new Date(value(name));
    if (!Number.isNaN(at.getTime())) given.push([name, at.toISOString()]);
  }
  if (value("state") === "parked") given.push(["parked", true]);
  return Object.fromEntries(given);
};

/** Reads the latest letters that match the form. */
export async function searchLetters() {
  chosen = new Set();
  await read(null, FEW);
}

/** Adds older letters to the list. */
async function readOlder() {
  const button = byId("letters-older");
  if (older === null) return;
  button.disabled = true;
  const many = letters.length;
  const isRead = await read(older, MORE);
  // If nothing new came, more letters than that have the same millisecond.
  if (isRead && older !== null && letters.length === many) await read(older, MOST);
  button.disabled = false;
}

/** Reads the same list again, after an action on one of its letters. */
async function reload() {
  const many = letters.length;
  await read(null, Math.min(Math.max(many, FEW), MOST));
  while (older !== null && letters.length < many && await read(older, MOST));
}

/** Reads from a position on, `null` for the end of the topic; returns whether the answer was added to the list. */
async function read(from, max) {
  const turn = ++searching;
  byId("letters-table").setAttribute("aria-busy", "true");
  try {
    const all = value("state") === "all" ? true : null;
    const before = from?.before ?? null;
    const given = conditions();
    const answer = await get("/dlq", { ...given, all, max, before, until: from?.until ?? given.until });
    // Ignore the answer to an earlier search.
    if (turn !== searching) return false;
    add(from, before, answer, max);
    if (from === null) offerGroups(answer.counts);
    draw();
    return true;
  } catch (error) {
    if (turn !== searching) return false;
    if (from !== null) {
      say(`Older dead letters were not read: ${error.message}`, "bad");
      return false;
    }
    [letters, matching, older, part] = [[], 0, null, null];
    offerGroups([]);
    draw(cannotSee(error));
    return false;
  } finally {
    // Letters that arrive before the next update are in the list, or will be when it is read again.
    if (from === null) {
      countedAtSearch = null;
      byId("letters-refresh").title = "";
    }
    showNew();
    byId("letters-table").removeAttribute("aria-busy");
  }
}

const keyOf = ({ id, replays }) => `${id} ${replays}`;

/** Adds an answer to the list. Letters with the same millisecond as the last ones may come again. */
function add(from, before, answer, max) {
  const former = from === null ? [] : letters;
  const known = new Set(former.map(keyOf));
  const found = answer.letters.toReversed().map((letter) => ({ ...letter, before }));
  const news = found.filter((letter) => !known.has(keyOf(letter)));
  letters = [...former, ...news];
  matching = former.length + answer.matching - (found.length - news.length);
  part = answer.partial ? answer : null;
  older = null;
  const last = found.at(-1)?.time ?? null;
  if (answer.matching > found.length && last !== null) {
    // If one millisecond has more letters than one answer, the rest of them is skipped.
    const isStuck = news.length === 0 && max === MOST;
    older = { before, until: new Date(new Date(last).getTime() + (isStuck ? 0 : 1)).toISOString() };
  }
  older ??= answer.next ? { before: answer.next, until: null } : null;
}

/** Buttons for the largest groups of letters by reason, event and error code; each starts a search. */
function offerGroups(counts) {
  const largest = counts.toSorted((one, other) => other.letters - one.letters).slice(0, GROUPS);
  byId("letters-groups").replaceChildren(...largest.length < 2 ? [] : largest.map(({ reason, event, errorCode, letters: number }) =>
    element("li", {}, element("button", {
      type: "button", class: "small",
      click: () => {
        choose("reason", reason);
        choose("event", event);
        form().elements.code.value = errorCode;
        allowed(searchLetters);
      },
    }, [event, words(reason), errorCode].filter(Boolean).map((text) => short(text, NAME)).join(" · "),
    element("span", { class: "count" }, count(number))))));
}

/** Selects a value in the search form; a value that the list does not have is added. */
function choose(name, wanted) {
  const list = form().elements[name];
  if (![...list.options].some(({ value }) => value === wanted)) {
    const option = element("option", {}, short(wanted, NAME));
    option.value = wanted;
    list.append(option);
  }
  list.value = wanted;
}

function cannotSee({ status, message }) {
  if (status === 401) return "Sign in to see dead letters.";
  if (status === 404) return "This build has no HTTP routes for dead letters; the command “dlq list” shows them.";
  return message;
}

/** Shows the letters that contain the search text. */
function draw(problem = "") {
  const wanted = value("text").toLowerCase();
  const found = letters.filter((letter) => [letter.eventName, letter.key, letter.eventId, letter.errorCode, letter.errorMessage, letter.id]
    .some((text) => text?.toLowerCase().includes(wanted)));
  rows.update(found, keyOf);
  shown = found.map(({ id }) => id);
  chosen = new Set(shown.filter((id) => chosen.has(id)));
  byId("letters-table").hidden = found.length === 0;
  byId("letters-empty").hidden = found.length > 0;
  setText(byId("letters-empty"), problem !== "" ? problem : nothing());
  byId("letters-older").hidden = older === null;
  byId("letters-replay-all").hidden = matching === 0 || value("state") === "all";
  setText(byId("letters-found"), matching === 0 ? "" : `${count(found.length)} shown of ${count(matching)}`);
  byId("letters-partial").hidden = part === null;
  if (part !== null) setText(byId("letters-partial"), partial());
  showChosen();
}

/** The text of an empty list. */
function nothing() {
  if (letters.length > 0) return "No shown dead letter contains this text. Change the text, or show older ones.";
  if (older !== null) return "No dead letter matches among the records that were read. Show older ones, or clear a filter.";
  const isFiltered = value("state") === "parked" || Object.keys(conditions()).length > 0;
  return isFiltered
    ? "No dead letter matches. Clear a filter, or choose another state."
    : "There are no open dead letters. An event that cannot be handled comes here, with its reason and the possible actions.";
}

const partial = () => older === null
  ? `All ${count(part.of)} older records were read.`
  : `The list is not complete: ${count(part.read)} of ${count(part.of)} records were read for the last answer.`;

function showChosen() {
  byId("letters-selection").hidden = chosen.size === 0;
  byId("letters-park").hidden = value("state") !== "open";
  setText(byId("letters-selected"), `${plural(chosen.size, "dead letter")} selected`);
  const all = byId("letters-all");
  all.checked = chosen.size > 0 && chosen.size === shown.length;
  all.indeterminate = chosen.size > 0 && chosen.size < shown.length;
}

/** Shows the number of dead letters that were written since the list was read. */
export function showLetterCount(number) {
  // The counter restarts with the service.
  if (counted !== null && number < counted) countedAtSearch = null;
  counted = number;
  if (countedAtSearch === null) {
    countedAtSearch = number;
    byId("letters-refresh").title = `Counts new dead letters since ${time(new Date())}`;
  }
  showNew();
}

function showNew() {
  const more = countedAtSearch === null ? 0 : counted - countedAtSearch;
  setText(byId("letters-refresh"), more > 0 ? `Refresh (${count(more)} new)` : "Refresh");
}

/** Offers the declared events in the search. */
export function offerEvents(declared) {
  const names = [...new Set(declared.map(({ event }) => event))];
  const choice = form().elements.event;
  const known = [...choice.options].slice(1).map(({ value }) => value);
  const missing = names.filter((name) => !known.includes(name));
  choice.append(...missing.map((name) => element("option", {}, name)));
}

/** A selection of letters by id; parked letters must be requested. */
const chosenOnes = () => ({ ids: [...chosen], ...value("state") === "parked" ? { parked: true } : {} });

function park() {
  const note = element("input", { type: "text", maxlength: "200", autocomplete: "off" });
  return confirm({
    title: `Park ${plural(chosen.size, "dead letter")}?`,
    text: "Searches and replays leave parked dead letters out unless they are requested.",
    yes: "Park",
    fields: [element("label", {}, "Note", note)],
    act: async () => {
      // The dialog closes, and the job continues.
      parked(await post("/dlq/park", { ...chosenOnes(), note: note.value }));
    },
  });
}

async function parked(job) {
  try {
    const { letters: number } = await result(job, ({ letters: number }) => `Parking: ${count(number)} parked`);
    say(`${plural(number, "dead letter")} parked.`);
  } catch (error) {
    say(`Not all dead letters were parked: ${error.message}`, "bad");
  }
  await searchLetters();
}

/** Reads the list, and shows a running replay. */
export function openLetters() {
  searchLetters();
  followRunning(searchLetters);
}

/** `whenAllowed` runs an action once the operator may act. */
export function startLetters(whenAllowed) {
  allowed = whenAllowed;
  startJobs(whenAllowed);
  form().addEventListener("submit", (event) => {
    event.preventDefault();
    allowed(searchLetters);
  });
  // The fields are empty after the event.
  form().addEventListener("reset", () => setTimeout(() => allowed(searchLetters)));
  byId("letters-refresh").addEventListener("click", () => allowed(searchLetters));
  form().elements.text.addEventListener("input", () => draw());
  byId("letters-older").addEventListener("click", () => allowed(readOlder));
  byId("letters-all").addEventListener("change", ({ target }) => {
    chosen = new Set(target.checked ? shown : []);
    draw();
  });
  byId("letters-replay").addEventListener("click", () => allowed(() => askReplay(chosenOnes(), searchLetters)));
  byId("letters-park").addEventListener("click", () => allowed(park));
  byId("letters-replay-all").addEventListener("click", () => allowed(() => askReplay({ ...conditions(), all: true }, searchLetters)));
}
