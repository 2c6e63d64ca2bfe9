// The rows of dead letters. No value of a letter can be trusted: it is shown as text, and may be missing.

import { Rows, byId, element, setLabel, setText, short, textRow } from "./dom.js";
import { dateTime, words } from "./format.js";

/** `topic/partition@offset`. */
function placeOf({ topic, partition, offset }) {
  return topic ? `${topic}/${partition ?? "?"}@${offset ?? "?"}` : "unknown";
}

/** The labels of a letter's state; an open letter has none. */
const STATES = { replayed: "Replayed", parked: "Parked", purged: "Purged", superseded: "Failed again" };

/** The rows of the table. `isChosen(id)` returns whether a letter is selected; the other functions handle clicks. */
export const letterRows = ({ isChosen, choose, open }) => new Rows(byId("letter-rows"), () => {
  let shown = null;
  const box = element("input", { type: "checkbox", change: () => choose(shown.id, box.checked) });
  const link = element("button", { type: "button", class: "link", click: () => open(shown) });
  const row = textRow(byId("letter-rows"), [
    {
      kind: "choice",
      fill: (cell, letter) => {
        if (cell.firstChild === null) cell.append(box);
        box.checked = isChosen(letter.id);
        setLabel(box, `Select ${nameOf(letter)} ${letter.id}`);
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
    { kind: "key", fill: (cell, { key }) => setText(cell, short(key ?? "(no key)")) },
    {
      fill: (cell, { reason, errorCode }) => {
        if (cell.firstChild === null) cell.append(element("div"), element("code"));
        setText(cell.firstChild, words(reason));
        setText(cell.lastChild, errorCode);
      },
    },
    { kind: "why", fill: (cell, { errorMessage }) => setText(cell, short(errorMessage)) },
    { kind: "wide place", fill: (cell, { origin }) => setText(cell, placeOf(origin ?? {})) },
    { kind: "time", fill: (cell, { time }) => setText(cell, dateTime(time)) },
  ]);
  return {
    node: row.node,
    show(letter) {
      shown = letter;
      row.show(letter);
    },
  };
});

const nameOf = ({ eventName }) => short(eventName) || "(unknown event)";
