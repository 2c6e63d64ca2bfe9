// Helpers for the document. External values are always inserted as text.

export const byId = (id) => document.getElementById(id);

/** Invisible characters, and characters that change how the text around them is shown: control characters and direction marks. */
const UNSEEN = /(?![\n\t])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** An external text with invisible characters replaced by their code points. */
export function visible(text) {
  return String(text ?? "").replace(UNSEEN, (sign) => `⟨U+${sign.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);
}

/** The beginning of a long text. */
export function short(text, most = 300) {
  const signs = [...String(text ?? "").slice(0, 2 * most)];
  return signs.length > most ? `${signs.slice(0, most).join("")}…` : String(text ?? "");
}

/** Creates an element. `properties` are attributes, or listeners if they are functions; the rest are child nodes or texts. */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, visible(value));
  }
  const given = children.filter((child) => child !== null && child !== undefined);
  made.append(...given.map((child) => child instanceof Node ? child : visible(child)));
  return made;
}

/** Sets a text only if it differs, so that an unchanged node is neither laid out nor read out again. */
export function setText(node, text) {
  const shown = visible(text);
  if (node.textContent !== shown) node.textContent = shown;
}

/** Sets the name for screen readers. */
export function setLabel(node, text) {
  node.setAttribute("aria-label", visible(text));
}

/** A long list that shows its first items, and all of them on demand. */
export class Fold {
  #button;
  #few;
  #words;
  #open = false;

  /** `words(open, number)` is the button's text; `draw()` draws the list again. */
  constructor(button, few, words, draw) {
    [this.#button, this.#few, this.#words] = [button, few, words];
    button.addEventListener("click", () => {
      this.#open = !this.#open;
      draw();
    });
  }

  /** The shown items. */
  of(items) {
    this.#button.hidden = items.length <= this.#few;
    this.#button.setAttribute("aria-expanded", String(this.#open));
    setText(this.#button, this.#words(this.#open, items.length));
    return this.#open ? items : items.slice(0, this.#few);
  }
}

/** The rows of a table by key. Remaining rows keep their nodes, and with them focus and selection. */
export class Rows {
  #body;
  #make;
  #rows = new Map();

  /** `make()` returns `{ node, show(item) }`. */
  constructor(body, make) {
    this.#body = body;
    this.#make = make;
  }

  update(items, keyOf) {
    const former = this.#rows;
    this.#rows = new Map();
    let place = this.#body.firstElementChild;
    for (const item of items) {
      const key = keyOf(item);
      const row = former.get(key) ?? this.#make();
      former.delete(key);
      this.#rows.set(key, row);
      row.show(item);
      if (row.node === place) place = place.nextElementSibling;
      else this.#body.insertBefore(row.node, place);
    }
    for (const row of former.values()) row.node.remove();
  }
}

/** A row whose cells are filled by functions of the item. On a narrow screen, each cell is shown with its column's name. */
export function textRow(body, columns) {
  const labels = [...body.parentElement.tHead.rows[0].cells].map((cell) => cell.textContent.trim());
  // Explicit roles keep rows and cells accessible when the style lays them out as cards.
  const cells = columns.map(({ kind = "", name = false }, index) => element(name ? "th" : "td", {
    class: kind || null, scope: name ? "row" : null, role: name ? "rowheader" : "cell", "data-label": labels[index],
  }));
  return {
    node: element("tr", { role: "row" }, ...cells),
    show(item) {
      columns.forEach(({ fill }, index) => fill(cells[index], item));
    },
  };
}

/** Calls at most once in `milliseconds`; calls in between become one at the end. */
export function throttled(milliseconds, call) {
  let last = -Infinity;
  let timer = null;
  return () => {
    if (timer !== null) return;
    const left = last + milliseconds - performance.now();
    timer = setTimeout(() => {
      timer = null;
      last = performance.now();
      call();
    }, Math.max(0, left));
  };
}
