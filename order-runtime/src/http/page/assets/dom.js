// The few things this page does with the document. Whatever comes from outside is put in as text.

export const byId = (id) => document.getElementById(id);

/** An element. `properties` are attributes; functions are listeners; what follows are nodes or texts. */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Sets a text where it is another one: an unchanged node is neither laid out nor read out again. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** The rows of a table by key: those that stay keep their nodes, and with them focus and selection. */
export class Rows {
  #body;
  #make;
  #rows = new Map();

  /** `make()` answers `{ node, show(item) }`. */
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

/** A row of cells that are filled by functions of the item. On a narrow screen each is shown with its column's name. */
export function textRow(body, columns) {
  const labels = [...body.parentElement.tHead.rows[0].cells].map((cell) => cell.textContent.trim());
  // With roles of their own, rows and cells stay what they are when a style lays them out as cards.
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
