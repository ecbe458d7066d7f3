// HTTP to the daemon: where it is, the token if it asks for one, deadlines, and its errors in words.

const KEY = "fac.token";
const DEADLINE_MS = 10_000;
let askForToken = () => Promise.reject(new ApiError(401, "unauthorised", "The daemon asks for a token."));

/** The view that asks for the token; it resolves once there is a new one. */
export function onLocked(ask) {
  askForToken = ask;
}

/** What the daemon, or the way to it, refused. */
export class ApiError extends Error {
  /** @param {number} status 0 where there was no answer @param {string} code @param {string} message */
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** Relative to the page, so that the dashboard also works below a path of a proxy. */
export const address = (path) => new URL(path, document.baseURI);

export function setToken(token) {
  sessionStorage.setItem(KEY, token);
}

/** @returns {Record<string, string>} */
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

/** @returns {ApiError} the daemon's `{"error": {"code", "message"}}`, or what can be said without it */
export function refusal(status, body) {
  try {
    const { code, message } = JSON.parse(body).error;
    return new ApiError(status, String(code), String(message));
  } catch {
    return new ApiError(status, "http", status ? `The daemon answered ${status}.` : "The daemon cannot be reached.");
  }
}

/**
 * GET; asks for the token when the daemon does. A 503 with a body of JSON is an answer too (no model loaded).
 * @param {string} path
 * @returns {Promise<Response>}
 */
export async function get(path) {
  for (;;) {
    let response;
    try {
      response = await fetch(address(path), { headers: authorisation(), signal: AbortSignal.timeout(DEADLINE_MS) });
    } catch {
      throw refusal(0, "");
    }
    if (response.status === 401) await askForToken();
    else if (response.ok) return response;
    else throw Object.assign(refusal(response.status, await response.clone().text()), { response });
  }
}

/** @param {string} path @returns {Promise<any>} */
export const getJson = async (path) => (await get(path)).json();
