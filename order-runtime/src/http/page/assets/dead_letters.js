// Dead letters: search, selection, and what is done with several at once.

import { get, post } from "./api.js";
import { confirm, say } from "./dialogs.js";
import { Rows, byId, element, setText, textRow } from "./dom.js";
import { count, dateTime, plural } from "./format.js";
import { result, startJobs } from "./jobs.js";
import { openLetter } from "./letter.js";
import { askReplay, followRunning } from "./replay.js";

/** How many letters are shown at first, and at most: the latest. */
const FEW = 50;
const MOST = 1000;
/** Groups that are offered for a closer look. */
const GROUPS = 8;

let letters = [];
let max = FEW;
let matching = 0;
/** Where the list begins and where it goes on, in a topic that is too large to be read for one answer. */
let before = null;
let next = null;
let part = null;
let shown = [];
let chosen = new Set();
let counted = 0;
let countedAtSearch = 0;
let allowed = null;
let searching = 0;

/** `topic/partition@offset`. */
function placeOf({ topic, partition, offset }) {
  return topic ? `${topic}/${partition ?? "?"}@${offset ?? "?"}` : "unknown";
}

/** What became of a letter; an open one needs no word. */
const STATES = { replayed: "Replayed", parked: "Parked", purged: "Purged", superseded: "Failed again" };

const rows = new Rows(byId("letter-rows"), () => {
  let id = null;
  const box = element("input", {
    type: "checkbox",
    change: () => {
      if (box.checked) chosen.add(id);
      else chosen.delete(id);
      showChosen();
    },
  });
  const link = element("button", { type: "button", class: "link", click: () => open(id) });
  const row = textRow(byId("letter-rows"), [
    {
      kind: "choice",
      fill: (cell, letter) => {
        if (cell.firstChild === null) cell.append(box);
        box.checked = chosen.has(letter.id);
        box.setAttribute("aria-label", `Select ${nameOf(letter)} ${letter.id}`);
      },
    },
    {
      name: true,
      fill: (cell, letter) => {
        if (cell.firstChild === null) cell.append(link, element("small"));
        setText(link, nameOf(letter));
        setText(cell.lastChild, STATES[letter.state] ? ` ${STATES[letter.state]}` : "");
      },
    },
    { kind: "key", fill: (cell, { key }) => setText(cell, key ?? "(no key)") },
    {
      fill: (cell, { reason, errorCode }) => {
        if (cell.firstChild === null) cell.append(element("div"), element("code"));
        setText(cell.firstChild, reason.replaceAll("_", " "));
        setText(cell.lastChild, errorCode);
      },
    },
    { kind: "why", fill: (cell, { errorMessage }) => setText(cell, errorMessage) },
    { kind: "wide place", fill: (cell, { origin }) => setText(cell, placeOf(origin)) },
    { kind: "time", fill: (cell, { time }) => setText(cell, dateTime(time)) },
  ]);
  return {
    node: row.node,
    show(letter) {
      id = letter.id;
      row.show(letter);
    },
  };
});

const nameOf = ({ eventName }) => eventName === "" ? "(unknown event)" : eventName;

const form = () => byId("letters-filter");
const value = (name) => form().elements[name].value.trim();
/** The conditions that the service checks; an empty one is none. */
const conditions = () => {
  const given = ["event", "reason", "code", "key"].map((name) => [name, value(name)]).filter(([, text]) => text !== "");
  if (value("state") === "parked") given.push(["parked", true]);
  return Object.fromEntries(given);
};

/** Reads the latest letters that the form means. */
export function searchLetters() {
  return searchBefore(null);
}

/** The same among those before a place. */
async function searchBefore(place) {
  before = place;
  max = FEW;
  chosen = new Set();
  await read();
}

async function read() {
  const turn = ++searching;
  const countedBefore = counted;
  byId("letters-table").setAttribute("aria-busy", "true");
  try {
    const all = value("state") === "all" ? true : null;
    const answer = await get("/dlq", { ...conditions(), all, max, before });
    // An answer to an earlier question does not overtake.
    if (turn !== searching) return;
    letters = answer.letters.toReversed();
    matching = answer.matching;
    next = answer.next ?? null;
    part = answer.partial ? answer : null;
    offerGroups(answer.counts);
    draw();
  } catch (error) {
    if (turn !== searching) return;
    letters = [];
    matching = 0;
    [next, part] = [null, null];
    offerGroups([]);
    draw(cannotSee(error));
  } finally {
    countedAtSearch = countedBefore;
    showNew();
    byId("letters-table").removeAttribute("aria-busy");
  }
}

/** Letters by reason, event and error code, the largest groups first: each is a search. */
function offerGroups(counts) {
  const largest = counts.toSorted((one, other) => other.letters - one.letters).slice(0, GROUPS);
  byId("letters-groups").replaceChildren(...largest.length < 2 ? [] : largest.map(({ reason, event, errorCode, letters: number }) =>
    element("li", {}, element("button", {
      type: "button", class: "small",
      click: () => {
        const { elements } = form();
        [elements.reason.value, elements.event.value, elements.code.value] = [reason, event, errorCode];
        allowed(searchLetters);
      },
    }, [event, reason.replaceAll("_", " "), errorCode].filter((part) => part !== "").join(" · "),
    element("span", { class: "count" }, count(number))))));
}

function cannotSee({ status, message }) {
  if (status === 401) return "Sign in to see dead letters.";
  if (status === 404) return "This build answers no questions about dead letters over HTTP; the command “dlq list” shows them.";
  return message;
}

/** Shows the letters in which the text of the search is found. */
function draw(problem = "") {
  const wanted = value("text").toLowerCase();
  const found = letters.filter((letter) => [letter.eventName, letter.key, letter.eventId, letter.errorCode, letter.errorMessage, letter.id]
    .some((text) => text?.toLowerCase().includes(wanted)));
  rows.update(found, ({ id, replays }) => `${id} ${replays}`);
  shown = found.map(({ id }) => id);
  chosen = new Set(shown.filter((id) => chosen.has(id)));
  byId("letters-table").hidden = found.length === 0;
  const empty = problem !== "" ? problem : "No dead letter matches.";
  byId("letters-empty").hidden = found.length > 0;
  setText(byId("letters-empty"), empty);
  byId("letters-more").hidden = letters.length >= matching || max >= MOST;
  byId("letters-replay-all").hidden = matching === 0 || value("state") === "all";
  setText(byId("letters-found"), matching === 0 ? "" : `${count(found.length)} shown of ${count(matching)}`);
  showPart();
  showChosen();
}

/** Says where a list is not of the whole topic, and offers the rest. */
function showPart() {
  byId("letters-partial").hidden = part === null;
  byId("letters-older").hidden = next === null;
  byId("letters-latest").hidden = before === null;
  if (part === null) return;
  const which = before === null ? `the latest ${count(part.read)} of ${count(part.of)} records` : `${count(part.read)} records, of ${count(part.of)} from there on`;
  setText(byId("letters-read"), `This is not all: the list is of ${which}.`);
}

function showChosen() {
  byId("letters-selection").hidden = chosen.size === 0;
  byId("letters-park").hidden = value("state") !== "open";
  setText(byId("letters-selected"), `${plural(chosen.size, "dead letter")} selected`);
  const all = byId("letters-all");
  all.checked = chosen.size > 0 && chosen.size === shown.length;
  all.indeterminate = chosen.size > 0 && chosen.size < shown.length;
}

function open(id) {
  allowed(() => openLetter({ id, before }, allowed, () => searchBefore(before)));
}

/** How many there are since the start: more than at the last search means that there are new ones. */
export function showLetterCount(number) {
  counted = number;
  showNew();
}

function showNew() {
  const more = counted - countedAtSearch;
  setText(byId("letters-refresh"), more > 0 ? `Refresh (${count(more)} new)` : "Refresh");
}

/** Offers the declared events in the search. */
export function offerEvents(declared) {
  const names = [...new Set(declared.map(({ event }) => event))];
  const choice = form().elements.event;
  const known = [...choice.options].slice(1).map(({ value }) => value);
  if (names.join() === known.join()) return;
  choice.replaceChildren(choice.options[0], ...names.map((name) => element("option", {}, name)));
}

/** A selection of letters by id; parked ones have to be asked for. */
const chosenOnes = () => ({ ids: [...chosen], ...value("state") === "parked" ? { parked: true } : {} });

function park() {
  const note = element("input", { type: "text", maxlength: "200", autocomplete: "off" });
  return confirm({
    title: `Park ${plural(chosen.size, "dead letter")}?`,
    text: "Parked dead letters are left out of searches and replays until somebody asks for them.",
    yes: "Park",
    fields: [element("label", {}, "Note", note)],
    act: async () => {
      // The dialog closes, and the job goes on.
      parked(await post("/dlq/park", { ...chosenOnes(), note: note.value }));
    },
  });
}

async function parked(job) {
  try {
    const { letters: number } = await result(job, ({ letters: number }) => `Parking: ${count(number)} parked`);
    say(`${plural(number, "dead letter")} parked.`);
  } catch (error) {
    say(`Not all of them are parked: ${error.message}`, "bad");
  }
  await searchLetters();
}

/** `whenAllowed` runs an action once the operator may act. */
export function startLetters(whenAllowed) {
  allowed = whenAllowed;
  startJobs(whenAllowed);
  followRunning(searchLetters);
  form().addEventListener("submit", (event) => {
    event.preventDefault();
    allowed(searchLetters);
  });
  byId("letters-refresh").addEventListener("click", () => allowed(searchLetters));
  form().elements.text.addEventListener("input", () => draw());
  byId("letters-more").addEventListener("click", () => {
    max = Math.min(max * 4, MOST);
    allowed(read);
  });
  byId("letters-older").addEventListener("click", () => allowed(() => searchBefore(next)));
  byId("letters-latest").addEventListener("click", () => allowed(searchLetters));
  byId("letters-all").addEventListener("change", ({ target }) => {
    chosen = new Set(target.checked ? shown : []);
    draw();
  });
  byId("letters-replay").addEventListener("click", () => allowed(() => askReplay(chosenOnes(), searchLetters)));
  byId("letters-park").addEventListener("click", () => allowed(park));
  byId("letters-replay-all").addEventListener("click", () => allowed(() => askReplay({ ...conditions(), all: true }, searchLetters)));
}
