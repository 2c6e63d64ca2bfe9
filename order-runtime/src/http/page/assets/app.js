// The page: receives the service's updates, keeps the state, and shows it.

import { get, hasToken, needsToken, setAccess, setToken, Refused } from "./api.js";
import { Charts } from "./charts.js";
import { offerEvents, openLetters, searchLetters, showLetterCount, startLetters } from "./dead_letters.js";
import { askToken, say } from "./dialogs.js";
import { byId, setText } from "./dom.js";
import { EventStream } from "./event_stream.js";
import { time } from "./format.js";
import { showDisconnected, showOverview, startConsumption } from "./overview.js";
import { showProcessors, trackProcessors } from "./processors.js";
import { showPartitions } from "./tables.js";
import { refreshWaiting, showWaiting, startWaiting } from "./waiting.js";

/** Seconds of history that are kept. */
const POINTS = 300;
/** Delay before reconnecting, in milliseconds; longer if too many pages are open. */
const SOON = 2_000;
const LATER = 10_000;

const state = {
  points: [], point: null, stats: null, paused: false, notLive: [], notReady: [], warnings: [], orphans: [], partitions: [], counters: [], declared: [],
};
let frozen = false;
let heard = null;
let isOpened = false;

const charts = new Charts();

function apply(told) {
  state.stats = told.stats;
  state.paused = told.paused;
  state.notLive = told.notLive;
  state.notReady = told.notReady;
  state.warnings = told.warnings;
  state.orphans = told.orphans;
  state.partitions = changed(state.partitions, told.partitions);
  state.counters = changed(state.counters, told.processors);
  heard = new Date();
}

/** Merges changed rows by index; a whole table replaces the former one. */
function changed(rows, { whole, rows: news }) {
  const now = whole ? [] : rows;
  for (const [place, row] of news) now[place] = row;
  return now;
}

function show() {
  if (frozen || state.stats === null) return;
  showOverview(state);
  charts.draw(state.points);
  showPartitions(state.partitions);
  showProcessors(state.declared, state.counters);
  showWaiting(state.partitions, state.orphans);
  showLetterCount(state.stats.deadLettered);
}

function listen() {
  const stream = new EventStream("/page/live");
  stream.addEventListener("hello", ({ data }) => {
    const told = JSON.parse(data);
    state.declared = told.declared;
    state.points = told.history;
    state.point = told.history.at(-1) ?? null;
    apply(told);
    trackProcessors(state.point?.at ?? 0, state.counters, true);
    setText(byId("version"), told.version);
    byId("embedded").hidden = !told.embeddedBroker;
    connected(true);
    offerEvents(told.declared);
    setAccess(told.access);
    show();
    openOnce();
  });
  stream.addEventListener("tick", ({ data }) => {
    const told = JSON.parse(data);
    state.point = told.point;
    state.points.push(told.point);
    if (state.points.length > POINTS) state.points.shift();
    apply(told);
    trackProcessors(told.point.at, state.counters, false);
    show();
  });
  stream.addEventListener("error", () => {
    connected(false, stream.refused);
    // Before the first update, the refusal shows what the service requires.
    if (stream.refused === 401) setAccess("token");
    if (stream.refused === 403) setAccess("closed");
    showAccess();
    openOnce();
    setTimeout(listen, stream.refused === 503 ? LATER : SOON);
  });
}

function connected(is, refused = 0) {
  const notice = byId("connection");
  document.body.classList.toggle("stale", !is);
  notice.hidden = is;
  if (is) return;
  showDisconnected();
  if (refused === 401) return setText(notice, "Sign in to see the service's state.");
  if (refused === 403) return setText(notice, "The service has no token configured, so it shows its state to nobody.");
  const since = heard === null ? "" : ` The page shows the state of ${time(heard)}.`;
  setText(notice, `The service cannot be reached; reconnecting.${since}`);
}

// --- the administrator's token

/** Runs an action; asks for the token if the service requires it. */
async function whenAllowed(action) {
  try {
    await action();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (error.status !== 401) return say(error.message, "bad");
    setToken(null);
    showAccess();
    if (await signIn()) await whenAllowed(action);
  }
}

/** The cheapest request that only an administrator may send. */
const tryToken = () => get("/waiting", { limit: 1 });

async function signIn() {
  const done = await askToken(async (token) => {
    setToken(token);
    try {
      await tryToken();
    } catch (error) {
      setToken(null);
      throw error.status === 401 ? new Error("The token is wrong.") : error;
    }
  });
  showAccess();
  if (done) {
    refreshWaiting();
    openLetters();
  }
  return done;
}

function showAccess() {
  setText(byId("access"), hasToken() ? "Sign out" : "Sign in");
  // Without a required token, signing in is not possible.
  byId("access").hidden = !needsToken() && !hasToken();
}

function startAccess() {
  byId("access").addEventListener("click", async () => {
    if (!hasToken()) return signIn();
    setToken(null);
    showAccess();
    say("Signed out.");
    refreshWaiting();
    searchLetters();
  });
  showAccess();
}

/** Loads the dead letters once the page knows what access it has. */
function openOnce() {
  showAccess();
  if (isOpened) return;
  isOpened = true;
  openLetters();
}

// --- theme

function startTheme() {
  const choice = byId("theme");
  choice.value = localStorage.getItem("theme") ?? "auto";
  const set = () => {
    document.documentElement.dataset.theme = choice.value;
    localStorage.setItem("theme", choice.value);
    charts.recolour();
  };
  choice.addEventListener("change", set);
  set();
}

function startFreeze() {
  byId("freeze").addEventListener("click", () => {
    frozen = !frozen;
    byId("freeze").setAttribute("aria-pressed", String(frozen));
    document.body.classList.toggle("frozen", frozen);
    show();
  });
}

startTheme();
startFreeze();
startConsumption(() => state, whenAllowed);
startWaiting(whenAllowed);
startLetters(whenAllowed);
startAccess();
listen();
