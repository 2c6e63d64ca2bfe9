// Requests to this service, with the administrator's token if there is one.

const KEY = "admin-token";
let token = sessionStorage.getItem(KEY);

/** An error answer of the service, with its text. */
export class Refused extends Error {
  constructor(status, detail, errors = []) {
    super(detail);
    this.status = status;
    this.errors = errors;
  }
}

export const hasToken = () => token !== null;

/** The authorization header, if there is a token. */
export const credentials = () => (token === null ? {} : { authorization: `Bearer ${token}` });

/** What an operator needs to act: nothing (`open`), the token (`token`), or another machine (`closed`). */
let access = null;

export function setAccess(told) {
  access = told;
}

export const needsToken = () => access === "token";

/** The refusal that the service would send, so that the browser logs no error; null if the request may be sent. */
function refusal() {
  if (access === "token" && token === null) return new Refused(401, "The administrator's token is needed.");
  if (access === "closed") return new Refused(403, "Open this page on the service's own machine, or set APP_ADMIN_TOKEN and sign in.");
  return null;
}

/** Keeps the token in this tab; `null` removes it. */
export function setToken(text) {
  token = text;
  if (text === null) sessionStorage.removeItem(KEY);
  else sessionStorage.setItem(KEY, text);
}

export const get = (path, parameters = {}) => {
  const given = Object.entries(parameters).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const query = new URLSearchParams(given).toString();
  return ask("GET", query === "" ? path : `${path}?${query}`);
};

export const post = (path, body) => ask("POST", path, body === undefined ? undefined : JSON.stringify(body));

/** Sends JSON text unchanged, so that numbers keep their digits. */
export const postText = (path, json) => ask("POST", path, json);

export const remove = (path) => ask("DELETE", path);

/** Parses JSON. A number that is too large to be exact becomes its source text, if the browser supports that. */
function parse(text) {
  return JSON.parse(text, (_, value, { source } = {}) =>
    Number.isInteger(value) && !Number.isSafeInteger(value) && source !== undefined ? source : value);
}

async function ask(method, target, body) {
  const refused = refusal();
  if (refused !== null) throw refused;
  const headers = credentials();
  if (body !== undefined) headers["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(target, {
      method, headers, body, cache: "no-store",
    });
  } catch {
    throw new Refused(0, "The service cannot be reached.");
  }
  const kind = response.headers.get("content-type") ?? "";
  const answer = kind.includes("json") ? parse(await response.text()) : null;
  if (response.ok) return answer;
  const detail = answer?.detail ?? `${response.status} ${response.statusText}`;
  throw new Refused(response.status, detail, answer?.errors ?? []);
}
