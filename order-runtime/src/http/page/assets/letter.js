// One dead letter: everything that is known of it, and what can be done with it.

import { get, post, postText, Refused } from "./api.js";
import { confirm, say } from "./dialogs.js";
import { byId, element, setText, short } from "./dom.js";
import { dateTime, plural, words } from "./format.js";
import { result } from "./jobs.js";
import { askReplay } from "./replay.js";

const route = (id, action = "") => `/dlq/${encodeURIComponent(id)}${action}`;

/** Opens the letter that was found before a place. `changed` is called after something was done with it. */
export async function openLetter({ id, before }, allowed, changed) {
  const dialog = byId("letter-dialog");
  const opener = document.activeElement;
  await show();
  dialog.showModal();
  dialog.querySelector("h2").focus();
  dialog.addEventListener("close", () => {
    // The row that was clicked may be gone.
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
    // What was done may have settled the letter; then there is nothing more to show.
    await show().catch(() => dialog.close());
  }

  function detail(letter) {
    const open = letter.state === "open" || letter.state === "parked";
    const button = (text, act, kind = "") => element("button", { type: "button", class: kind, click: () => allowed(act) }, text);
    const replay = (kind) => button("Replay", () => askReplay({ ids: [id], ...letter.state === "parked" ? { parked: true } : {} }, done), kind);
    // The main action is the one that helps: what is still invalid fails again as it is.
    const main = isInvalid(letter)
      ? [button("Edit", () => edit(letter), "primary"), replay("")]
      : [replay("primary"), button("Edit", () => edit(letter))];
    const actions = !open ? [] : [
      ...main,
      letter.state === "parked" ? button("Take back", unpark) : button("Park", park),
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
    const preview = element("pre", { "aria-label": "What changes", hidden: true });
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
      text: "The event keeps its id, so either the original or the correction counts, not both. The first press shows what changes, the second one sends it.",
      yes: "Check and send",
      fields: [element("label", {}, "Payload", field), errors, preview],
      act: async () => {
        if (preview.hidden) {
          const { diff } = await send(true);
          setText(preview, diff);
          preview.hidden = false;
          throw new Error("This is what changes. Press again to send it.");
        }
        await send(false);
        say("The corrected event is sent.");
        await done();
      },
    });
  }

  function park() {
    const note = element("input", { type: "text", maxlength: "200", autocomplete: "off" });
    return confirm({
      title: "Park this dead letter?",
      text: "It is left out of searches and replays until somebody asks for parked ones.",
      yes: "Park",
      fields: [element("label", {}, "Note", note)],
      act: () => settle("/dlq/park", { note: note.value }, "The dead letter is parked."),
    });
  }

  function unpark() {
    return settle("/dlq/unpark", {}, "The dead letter is back.");
  }

  function purge() {
    return confirm({
      title: "Purge this dead letter?",
      text: "It is left out everywhere from now on. This cannot be undone here; the record's bytes go with its topic's retention.",
      yes: "Purge", danger: true,
      act: () => settle("/dlq/purge", {}, "The dead letter is purged."),
    });
  }

  async function settle(path, more, text) {
    // A question that was asked before closes, and the job goes on.
    settled(await post(path, { ids: [id], ...more }), text);
  }

  async function settled(job, text) {
    try {
      const { letters: number } = await result(job, () => "Looking for the dead letter");
      if (number > 0) say(text);
      else say("Somebody else has dealt with the dead letter meanwhile.", "bad");
    } catch (error) {
      say(`The dead letter is as it was: ${error.message}`, "bad");
    }
    await done();
  }
}

/** The text where it is JSON: its numbers keep their digits. */
function checked(text) {
  try {
    JSON.parse(text);
    return text;
  } catch (error) {
    throw new Error(`This is no JSON: ${error.message}`);
  }
}

/** Whether a replay would fail again before a processor sees it. */
const isInvalid = ({ trial, flaw }) => Boolean(trial?.errors) && !flaw;

/** What this build would do with the letter, in a sentence. */
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
  no_letter: "it is no dead letter of a kind that is known",
  damaged: "its headers do not say where it came from",
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

/** The service's text: numbers that were read here and written again would be others. */
function payloadText({ payloadText: text }) {
  return text ?? "";
}

function headers(letter) {
  const list = (letter.headers ?? []).map(([name, value]) => [element("dt", {}, name), element("dd", {}, value ?? "(null)")]);
  return element("details", {}, element("summary", {}, plural(list.length, "header")),
    element("dl", { class: "facts" }, ...list.flat()));
}
