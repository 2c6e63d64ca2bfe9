// One dead letter: its details and actions.

import { get, post, postText, Refused } from "./api.js";
import { confirm, say } from "./dialogs.js";
import { byId, element, setText, short } from "./dom.js";
import { dateTime, plural, words } from "./format.js";
import { result } from "./jobs.js";
import { askReplay } from "./replay.js";

const route = (id, action = "") => `/dlq/${encodeURIComponent(id)}${action}`;

/** Opens a letter, searched before the cursor `before`. `changed` is called after an action on it. */
export async function openLetter({ id, before }, allowed, changed) {
  const dialog = byId("letter-dialog");
  const opener = document.activeElement;
  await show();
  dialog.showModal();
  dialog.querySelector("h2").focus();
  dialog.addEventListener("close", () => {
    // The clicked row may have been removed.
    if (!opener.isConnected) byId("letters-refresh").focus();
  }, { once: true });

  async function show() {
    const letter = await get(route(id), { before });
    if (letter?.state === undefined) throw new Refused(404, "The service does not know this dead letter.");
    byId("letter").replaceChildren(detail(letter));
    dialog.querySelector("h2").focus();
  }

  async function done() {
    await changed();
    // The action may have settled the letter; then the dialog closes.
    await show().catch(() => dialog.close());
  }

  function detail(letter) {
    const open = letter.state === "open" || letter.state === "parked";
    const button = (text, act, kind = "") => element("button", { type: "button", class: kind, click: () => allowed(act) }, text);
    const replay = (kind) => button("Replay", () => askReplay({ ids: [id], ...letter.state === "parked" ? { parked: true } : {} }, done), kind);
    // The primary action is the one that helps: an invalid event would fail again without a correction.
    const main = isInvalid(letter)
      ? [button("Edit", () => edit(letter), "primary"), replay("")]
      : [replay("primary"), button("Edit", () => edit(letter))];
    const actions = !open ? [] : [
      ...main,
      letter.state === "parked" ? button("Unpark", unpark) : button("Park", park),
      button("Purge", purge, "danger"),
    ];
    return element("div", { class: "stack" },
      element("div", { class: "head" },
        element("h2", { id: "letter-title", tabindex: "-1" }, short(letter.eventName) || "Dead letter"),
        element("button", { type: "button", "aria-label": "Close", click: () => dialog.close() }, "Close")),
      verdict(letter),
      element("div", { class: "controls", role: "group", "aria-label": "Actions" }, ...actions),
      facts(letter),
      element("h3", {}, "Payload"),
      element("pre", { tabindex: "0", "aria-label": "Payload" }, payloadText(letter)),
      headers(letter));
  }

  function edit(letter) {
    const field = element("textarea", { spellcheck: "false", "aria-describedby": "edit-errors" });
    const preview = element("pre", { "aria-label": "Changes", hidden: true });
    const errors = element("ul", { id: "edit-errors", class: "error" });
    field.value = payloadText(letter);
    field.addEventListener("input", () => {
      preview.hidden = true;
    });
    const send = async (dryRun) => {
      errors.replaceChildren();
      try {
        return await postText(route(id, "/edit") + (before === null ? "" : `?before=${before}`), `{"event": ${checked(field.value)}, "dryRun": ${dryRun}}`);
      } catch (error) {
        errors.replaceChildren(...(error.errors ?? []).map(({ path, message }) => element("li", {}, `${path}: ${message}`)));
        throw error;
      }
    };
    return confirm({
      title: "Edit and replay",
      text: "The event keeps its id, so either the original or the correction counts, not both. The first press shows the changes, the second one sends the event.",
      yes: "Check and send",
      fields: [element("label", {}, "Payload", field), errors, preview],
      act: async () => {
        if (preview.hidden) {
          const { diff } = await send(true);
          setText(preview, diff);
          preview.hidden = false;
          throw new Error("These are the changes. Press again to send the event.");
        }
        await send(false);
        say("The corrected event was sent.");
        await done();
      },
    });
  }

  function park() {
    const note = element("input", { type: "text", maxlength: "200", autocomplete: "off" });
    return confirm({
      title: "Park this dead letter?",
      text: "Searches and replays leave it out unless parked dead letters are requested.",
      yes: "Park",
      fields: [element("label", {}, "Note", note)],
      act: () => settle("/dlq/park", { note: note.value }, "The dead letter is parked."),
    });
  }

  function unpark() {
    return settle("/dlq/unpark", {}, "The dead letter is open again.");
  }

  function purge() {
    return confirm({
      title: "Purge this dead letter?",
      text: "It is left out everywhere from now on. This cannot be undone; the topic's retention deletes the record's bytes.",
      yes: "Purge", danger: true,
      act: () => settle("/dlq/purge", {}, "The dead letter is purged."),
    });
  }

  async function settle(path, more, text) {
    // The confirmation dialog closes, and the job continues.
    settled(await post(path, { ids: [id], ...more }), text);
  }

  async function settled(job, text) {
    try {
      const { letters: number } = await result(job, () => "Looking for the dead letter");
      if (number > 0) say(text);
      else say("Another operator has already acted on the dead letter.", "bad");
    } catch (error) {
      say(`The dead letter is unchanged: ${error.message}`, "bad");
    }
    await done();
  }
}

/** The unchanged text, so that numbers keep their digits; throws if it is not JSON. */
function checked(text) {
  try {
    JSON.parse(text);
    return text;
  } catch (error) {
    throw new Error(`This is not JSON: ${error.message}`);
  }
}

/** Whether a replay would fail again before a processor is called. */
const isInvalid = ({ trial, flaw }) => Boolean(trial?.errors) && !flaw;

/** The letter's state and how this build would handle its event, as text. */
function verdict({ state, trial, flaw, mark }) {
  const settled = {
    replayed: "It was replayed.", purged: "It is purged.", superseded: "Its event has failed again since.",
    parked: `It is parked${mark?.note ? `: “${mark.note}”` : ""}.`,
  }[state];
  const by = mark ? ` By ${mark.by}, ${dateTime(mark.at)}.` : "";
  if (settled && state !== "parked") return element("p", { class: "verdict" }, settled + by);
  const now = flaw ? `It cannot be replayed as it is: ${FLAWS[flaw] ?? flaw}.` : prospect(trial);
  return element("p", { class: "verdict" }, [settled ? settled + by : "", now].filter((text) => text !== "").join(" "));
}

function prospect(trial) {
  if (trial?.processor) return `A replay would be handled by ${trial.processor}.`;
  if (trial?.errors) {
    const errors = trial.errors.map(({ path, message }) => `${path}: ${message}`);
    return `A replay would still be invalid${errors.length > 0 ? `: ${errors.join("; ")}` : ""}.`;
  }
  return "";
}

const FLAWS = {
  no_letter: "it has no dead-letter headers of a known format",
  damaged: "its headers are damaged: they do not say where it came from",
  foreign_topic: "it came from a topic that this service does not read",
  altered: "its payload is not the one that was dead-lettered",
};

function facts(letter) {
  const place = ({ topic, partition, offset }) => topic ? `${topic}/${partition ?? "?"}@${offset ?? "?"}` : "unknown";
  const known = [
    ["Error", [letter.errorCode, letter.errorMessage].filter(Boolean).join(": ")],
    ["Reason", words(letter.reason)],
    ["Key", letter.key ?? "(no key)"],
    ["Event id", letter.eventId],
    ["Came from", place(letter.origin ?? {})],
    ["Processor", letter.processor],
    ["Attempts", letter.attempts],
    ["Replays", letter.replays],
    ["Written", dateTime(letter.time)],
    ["Id", letter.id],
    ["Earlier", letter.earlier?.length > 0 ? plural(letter.earlier.length, "earlier failure") : ""],
  ];
  return element("dl", { class: "facts" }, ...known.filter(([, value]) => value !== "" && value !== null && value !== undefined)
    .flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, String(value))]));
}

/** The service's text, because parsing and writing it again would change numbers. */
function payloadText({ payloadText: text }) {
  return text ?? "";
}

function headers(letter) {
  const list = (letter.headers ?? []).map(([name, value]) => [element("dt", {}, name), element("dd", {}, value ?? "(null)")]);
  return element("details", {}, element("summary", {}, plural(list.length, "header")),
    element("dl", { class: "facts" }, ...list.flat()));
}
