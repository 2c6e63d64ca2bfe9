// The curves, drawn by uPlot. The last values are beside each chart as text, for screen readers.

import uPlot from "./vendor/uPlot.esm.js";
import { byId, element, setText } from "./dom.js";
import { brief, count, duration, minute, rate, time } from "./format.js";

/** Seconds that the curves show. */
const SPAN = 300;
const HEIGHT = 170;

/** 1, 2 and 5 times the powers of ten from `first` on. */
const decades = (first) => Array.from({ length: 48 }, (_, place) => [1, 2, 5][place % 3] * 10 ** (first + Math.floor(place / 3)));
const [SECOND, HOUR] = [1000, 3_600_000];

// The steps of an axis, chosen so that labels differ: no tenths if labels are whole numbers.
const STEPS = {
  rate: decades(-1),
  count: decades(0),
  duration: [
    0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, ...[1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800].map((step) => step * SECOND),
    ...[1, 2, 6, 12, 24, 48, 120, 240, 480, 1200, 2400, 4800, 12_000, 24_000, 48_000, 120_000].map((step) => step * HOUR),
  ],
};

// Curves differ by dashes as well as by colour.
const CHARTS = [
  {
    title: "Throughput", unit: "events per second", show: rate, axis: brief, steps: STEPS.rate,
    curves: [
      { name: "handled", field: "ok", colour: "--curve-1", fill: true },
      { name: "retries", field: "retried", colour: "--curve-3", dash: [2, 3] },
      { name: "dead letters", field: "deadLettered", colour: "--curve-2", dash: [7, 4] },
    ],
  },
  {
    title: "Age at commit", unit: "since the record was written", show: duration, axis: duration, steps: STEPS.duration,
    curves: [
      { name: "p50", field: "p50", colour: "--curve-1", fill: true },
      { name: "p99", field: "p99", colour: "--curve-2", dash: [7, 4] },
    ],
  },
  {
    title: "Backlog", unit: "records and events", show: count, axis: brief, steps: STEPS.count,
    curves: [
      { name: "lag", field: "lag", colour: "--curve-1", fill: true },
      { name: "waiting", field: "waiting", colour: "--curve-2", dash: [7, 4] },
    ],
  },
];

const probe = element("span", { hidden: true });

/** A colour of the theme in a form that the canvas accepts. */
function colour(name, opacity = 1) {
  probe.style.color = `var(${name})`;
  const value = getComputedStyle(probe).color;
  return opacity === 1 ? value : value.replace(/^rgb\((.*)\)$/, `rgba($1, ${opacity})`);
}

class Chart {
  #chart;
  #definition;
  #plot = element("div", { class: "plot", "aria-hidden": "true" });
  #values = [];
  #at = element("span", { class: "at" });
  #data = [];

  constructor(definition) {
    this.#definition = definition;
    const legend = definition.curves.map((curve, index) => {
      const value = element("span", { class: "value" }, "–");
      this.#values.push(value);
      return element("li", { class: `curve-${index + 1}` },
        element("span", { class: curve.dash ? "line dashed" : "line", "data-colour": curve.colour, "aria-hidden": "true" }),
        `${curve.name} `, value);
    });
    this.node = element("figure", {},
      element("figcaption", {},
        element("h3", {}, definition.title, " ", element("small", {}, definition.unit)),
        element("ul", { class: "legend" }, ...legend), this.#at),
      this.#plot);
  }

  /** Creates the drawing again, in the colours of the theme. */
  build() {
    this.#chart?.destroy();
    const { curves, axis: words, steps } = this.#definition;
    const axis = {
      stroke: colour("--muted"), font: "12px system-ui, sans-serif",
      grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false },
    };
    this.#chart = new uPlot({
      width: Math.max(200, this.#plot.clientWidth), height: HEIGHT, legend: { show: false }, padding: [8, 18, 0, 0],
      cursor: { y: false, points: { size: 7 }, drag: { x: false, y: false } },
      scales: { x: { time: true }, y: { range: (_, low, high) => [Math.min(0, low ?? 0), Math.max(1, (high ?? 1) * 1.1)] } },
      axes: [
        { ...axis, grid: { show: false }, size: 26, gap: 6, incrs: [60, 120], space: 45, values: (_, ticks) => ticks.map((tick) => minute(tick * 1000)) },
        { ...axis, size: 58, gap: 6, space: 34, incrs: steps, values: (_, ticks) => ticks.map((tick) => words(tick)) },
      ],
      series: [{}, ...curves.map((curve) => ({
        stroke: colour(curve.colour), width: 2, dash: curve.dash, spanGaps: false, points: { show: false },
        fill: curve.fill ? colour(curve.colour, 0.12) : undefined,
      }))],
      hooks: { setCursor: [() => this.#showValues()] },
    }, this.#data, this.#plot);
  }

  draw(points) {
    const now = points.at(-1)?.at ?? Date.now() / 1000;
    this.#data = [points.map((point) => point.at),
      ...this.#definition.curves.map(({ field }) => points.map((point) => point[field]))];
    this.#chart.batch(() => {
      this.#chart.setData(this.#data, false);
      this.#chart.setScale("x", { min: now - SPAN, max: now });
    });
    this.#showValues();
  }

  resize() {
    const width = this.#plot.clientWidth;
    if (width > 0 && width !== this.#chart.width) this.#chart.setSize({ width, height: HEIGHT });
  }

  /** Shows the values under the pointer, or the last ones. */
  #showValues() {
    const pointed = this.#chart?.cursor.idx;
    const [times = []] = this.#data;
    const index = pointed ?? times.length - 1;
    this.#values.forEach((node, curve) => setText(node, this.#definition.show(this.#data[curve + 1]?.[index])));
    setText(this.#at, pointed === null || pointed === undefined ? "" : `at ${time(times[index] * 1000)}`);
  }
}

/** All charts. */
export class Charts {
  #charts = CHARTS.map((definition) => new Chart(definition));

  constructor() {
    const place = byId("charts");
    place.append(probe, ...this.#charts.map((chart) => chart.node));
    this.#build();
    new ResizeObserver(() => this.#charts.forEach((chart) => chart.resize())).observe(place);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.recolour());
  }

  draw(points) {
    this.#points = points;
    for (const chart of this.#charts) chart.draw(points);
  }

  /** Redraws the charts after a change of the theme. */
  recolour() {
    this.#build();
    this.draw(this.#points);
  }

  #points = [];

  #build() {
    for (const chart of this.#charts) chart.build();
  }
}
