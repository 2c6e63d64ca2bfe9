// Dialogs and messages for the operator. A dialog traps the focus, and returns it when it closes.

import { byId, element, setText } from "./dom.js";

/** Moves the message regions into the open dialog, because regions outside of it are neither shown nor read out. */
function follow() {
  const place = [...document.querySelectorAll("dialog[open]")].at(-1) ?? document.body;
  if (byId("announcer").parentElement !== place) place.append(byId("announcer"), byId("toasts"));
}

// The close event does not bubble.
document.addEventListener("close", follow, true);

/** Announces a text to screen readers. */
export function announce(text) {
  follow();
  const words = element("p", {}, text);
  // A screen reader notices a moved region only after a moment. New texts are read after earlier ones.
  setTimeout(() => byId("announcer").append(words), 50);
  setTimeout(() => words.remove(), 6000);
}

/** Announces a text to screen readers, and shows it for a while. */
export function say(text, level = "ok") {
  announce(text);
  const toast = element("p", { class: "toast", "data-level": level }, text);
  byId("toasts").append(toast);
  setTimeout(() => toast.remove(), 6000);
}

/** Opens a dialog. If `submit()` throws, the dialog shows the message. Resolves to whether the form was submitted. */
function open(dialog, problem, submit) {
  const form = dialog.querySelector("form");
  const buttons = dialog.querySelectorAll("button");
  problem.textContent = "";
  return new Promise((resolve) => {
    const listening = new AbortController();
    const options = { signal: listening.signal };
    let done = false;
    const close = () => dialog.close();
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      problem.textContent = "";
      for (const button of buttons) button.disabled = true;
      try {
        await submit();
        done = true;
        close();
      } catch (error) {
        setText(problem, error.message);
      } finally {
        for (const button of buttons) button.disabled = false;
      }
    }, options);
    dialog.querySelector('button[value="cancel"]').addEventListener("click", close, options);
    dialog.addEventListener("close", () => {
      listening.abort();
      resolve(done);
    }, options);
    dialog.showModal();
  });
}

/** Asks for the token; `check(token)` throws if it is wrong. */
export function askToken(check) {
  const field = byId("token");
  field.value = "";
  return open(byId("token-dialog"), byId("token-error"), () => check(field.value)).finally(() => {
    field.value = "";
  });
}

/**
 * Asks for confirmation. `fields` are nodes of the form; `act()` does the action and may throw.
 * `danger` puts the focus on the cancel button.
 */
export function confirm({ title, text, yes, danger = false, fields = [], act }) {
  setText(byId("confirm-title"), title);
  setText(byId("confirm-text"), text);
  byId("confirm-fields").replaceChildren(...fields);
  const button = byId("confirm-yes");
  button.textContent = yes;
  button.classList.toggle("danger", danger);
  button.classList.toggle("primary", !danger);
  const answered = open(byId("confirm-dialog"), byId("confirm-error"), act);
  const first = byId("confirm-fields").querySelector("input, textarea, select");
  (first ?? (danger ? byId("confirm-dialog").querySelector('[value="cancel"]') : button)).focus();
  return answered;
}
