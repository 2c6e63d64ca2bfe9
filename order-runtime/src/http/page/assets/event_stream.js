// Server-sent events, with the token: the browser's own EventSource cannot send one.

import { credentials, setToken } from "./api.js";

/** Fires the service's events, and `error` once when the stream ends or is refused. */
export class EventStream extends EventTarget {
  /** The status with which the stream was refused; 0 if it was not refused. */
  refused = 0;

  constructor(target) {
    super();
    this.#listen(target).catch(() => {}).then(() => this.dispatchEvent(new Event("error")));
  }

  async #listen(target) {
    const headers = { accept: "text/event-stream", ...credentials() };
    const response = await fetch(target, { headers, cache: "no-store" });
    if (!response.ok) {
      this.refused = response.status;
      // The service would count a wrong token as a guess at each further attempt.
      if (response.status === 401) setToken(null);
      return;
    }
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      rest += value;
      const events = rest.split("\n\n");
      rest = events.pop();
      events.forEach((event) => this.#fire(event));
    }
  }

  #fire(event) {
    const field = (name) => event.split("\n").find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
    const [name, data] = [field("event"), field("data")];
    if (name !== undefined && data !== undefined) this.dispatchEvent(new MessageEvent(name, { data }));
  }
}
