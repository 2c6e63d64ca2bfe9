// Questions to the operator, and words to them. A dialog keeps the focus and gives it back to where it came from.

import { byId, element, setText } from "./dom.js";

/** What is outside of an open dialog is neither shown nor read out: words to the operator go where they are. */
function follow() {
  const place = [...document.querySelectorAll("dialog[open]")].at(-1) ?? document.body;
  if (byId("announcer").parentElement !== place) place.append(byId("announcer"), byId("toasts"));
}

// The event does not bubble.
document.addEventListener("close", follow, true);

/** Says it to a screen reader. */
export function announce(text) {
  follow();
  const words = element("p", {}, text);
  // A region that was put somewhere is listened to from the next moment on; what is added to it is read after what came before.
  setTimeout(() => byId("announcer").append(words), 50);
  setTimeout(() => words.remove(), 6000);
}

/** Says it to a screen reader, and shows it for a while. */
export function say(text, level = "ok") {
  announce(text);
  const toast = element("p", { class: "toast", "data-level": level }, text);
  byId("toasts").append(toast);
  setTimeout(() => toast.remove(), 6000);
}

/** Opens a dialog; `submit()` may throw, and its message is then shown. Resolves to whether it was done. */
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

/** Asks for the token; `check(token)` throws where it is not the right one. */
export function askToken(check) {
  const field = byId("token");
  field.value = "";
  return open(byId("token-dialog"), byId("token-error"), () => check(field.value)).finally(() => {
    field.value = "";
  });
}

/**
 * Asks before something is done. `fields` are nodes of the form; `act()` does it and may throw.
 * `danger` puts the focus on the way out.
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
