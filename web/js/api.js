// HTTP to the daemon: where it is, the token if it asks for one, deadlines, and its errors in words.

const KEY = "fac.token";
const DEADLINE_MS = 10_000;
let askForToken;

/** The view that asks for the token; its promise resolves once there is a new one. */
export function onLocked(ask) {
  askForToken = ask;
}

/** Relative to the page, so that the dashboard also works below a path of a proxy. */
export const address = (path) => new URL(path, document.baseURI);

export function setToken(token) {
  sessionStorage.setItem(KEY, token);
}

export function authorisation() {
  const token = sessionStorage.getItem(KEY);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/** A socket to the daemon. Browsers cannot set headers on it, so the token travels as a subprotocol. */
export function openSocket(path) {
  const url = address(path);
  url.protocol = url.protocol.replace("http", "ws");
  const token = sessionStorage.getItem(KEY);
  if (!token) return new WebSocket(url);
  const base64 = btoa(String.fromCharCode(...new TextEncoder().encode(token)));
  const name = base64.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
  return new WebSocket(url, ["fac.v1", `fac.token.${name}`]);
}

/** The daemon's `{"error": {"code", "message"}}`, or what can be said without it; status 0: no answer. */
export function refusal(status, body) {
  try {
    return new Error(JSON.parse(body).error.message);
  } catch {
    return new Error(status ? `The daemon answered ${status}.` : "The daemon cannot be reached.");
  }
}

/** Ask; gets a token where one is needed. `accepted` is a further status that is an answer. */
async function ask(path, { accepted = 200, deadlineMs = DEADLINE_MS, headers = {}, ...options } = {}) {
  for (;;) {
    const asked = { ...options, headers: { ...authorisation(), ...headers }, signal: AbortSignal.timeout(deadlineMs) };
    const response = await fetch(address(path), asked).catch(() => Promise.reject(refusal(0, "")));
    if (response.status === 401) await askForToken();
    else if (response.ok || response.status === accepted) return response;
    else throw refusal(response.status, await response.text());
  }
}

export const get = (path, accepted, deadlineMs) => ask(path, { accepted, deadlineMs });

export async function postJson(path, body) {
  const headers = { "Content-Type": "application/json" };
  return (await ask(path, { method: "POST", headers, body: JSON.stringify(body) })).json();
}

export const getJson = async (path, deadlineMs) => (await get(path, 200, deadlineMs)).json();

/** The predecessor's status. Also the way to find out, before a socket or an upload, whether a token is needed. */
export const getModel = async () => (await get("api/model/status", 503)).json();
