// What the page asks the service. Everything is relative to the page, so that the service may lie below a path.

/** A refusal; its message is one line for the reader. */
export class Refused extends Error {}

const LARGEST = 2 ** 21;
const SIDE = 1024;

/** The JSON of an answer. `parameters` make the query; those without a value are left out. */
async function ask(path, parameters, options) {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== "");
  const query = new URLSearchParams(given).toString();
  let answer;
  try {
    answer = await fetch(query ? `${path}?${query}` : path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The service does not answer. It may have been stopped, or the network is down.");
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(typeof body.detail === "string" ? body.detail : `The service answered with status ${answer.status}.`);
  return body;
}

const part = encodeURIComponent;

export const pictureOf = (item) => `items/${part(item)}/picture`;
export const facts = () => ask("health", {}, {});
export const users = (query, limit, signal) => ask("users", { query, limit }, { signal });
export const randomUser = () => ask("users", { random: true, limit: 1 }, {});
export const items = (query, limit, signal) => ask("items", { query, limit }, { signal });
export const user = (name, limit, signal) => ask(`users/${part(name)}`, { limit }, { signal });
export const item = (name, signal) => ask(`items/${part(name)}`, {}, { signal });
export const recommended = (name, k, signal) => ask(`recommend/${part(name)}`, { k }, { signal });
export const similar = (name, by, k, signal) => ask(`similar/${part(name)}`, { by, k }, { signal });
export const byText = (text, k, signal) => ask("search", { text, k }, { signal });

/** Recommendations for whoever has these items. */
export const recommendedFor = (history, k, signal) =>
  ask("recommend", {}, { signal, method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ history, k }) });

/** Items that look like a picture, a File. A large one is made smaller here, before it is sent. */
export async function byPicture(file, k, signal) {
  const body = file.size > LARGEST ? await smaller(file) : file;
  return ask("search", { k }, { signal, method: "POST", headers: { "Content-Type": body.type || "application/octet-stream" }, body });
}

async function smaller(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    return file; // the service says what is wrong with it
  }
  const scale = Math.min(1, SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return new Promise((made) => canvas.toBlob((blob) => made(blob ?? file), "image/jpeg", 0.9));
}
