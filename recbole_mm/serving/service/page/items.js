// How items are drawn. Whatever comes from the catalogue becomes a text node or an attribute, never markup.

import { pictureOf } from "./service.js";

const SHAPES = { portrait: 2 / 3, square: 1, landscape: 3 / 2 };
const ENOUGH = 5;
const FITS = 1.2;
const ratios = [];

/** An element with attributes and children; strings become text. Attributes that are null or false are left out. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== false && value !== undefined) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

export const titleOf = (entry) => entry.title || entry.item;

/** The address of the page that shows something: of a user, an item, a search. A list gives its key several times. */
export function address(parameters) {
  const pairs = Object.entries(parameters).flatMap(([key, value]) => [value].flat().map((one) => [key, one]));
  return `?${new URLSearchParams(pairs)}`;
}

/** The picture of an item in a tile, or a quiet placeholder. */
export function tile(entry, eager = false) {
  const box = element("span", { class: "tile" });
  if (!entry.picture) {
    box.append(placeholder(entry));
    return box;
  }
  const image = element("img", { alt: titleOf(entry), decoding: "async", loading: eager ? null : "lazy" });
  image.addEventListener("load", () => measure(image));
  image.addEventListener("error", () => image.replaceWith(placeholder(entry)));
  image.src = pictureOf(entry.item);
  box.append(image);
  return box;
}

/** A card that leads to its item; `aside` is a button that lies over its corner. */
export function card(entry, aside = null) {
  const caption = element("span", { class: "caption", dir: "auto", "aria-hidden": entry.picture ? "true" : null }, titleOf(entry));
  const link = element("a", { class: "card-link", href: address({ item: entry.item }), title: titleOf(entry) }, tile(entry), caption);
  const rank = entry.rank ? element("span", { class: "rank" }, unseen("rank "), String(entry.rank)) : null;
  const value = "score" in entry ? element("span", { class: "score" }, unseen("score "), shortened(entry.score)) : null;
  return element("li", { class: "card" }, link, rank, value, aside);
}

export const grid = (cards) => element("ul", { class: "grid" }, ...cards);

/** Cards in one line that scrolls within itself. */
export const strip = (label, cards) =>
  element("div", { class: "strip", role: "region", "aria-label": `${label}, scrolls sideways`, tabindex: "0" }, element("ul", {}, ...cards));

/** What stands where cards will be. */
export function waiting(count, name = "grid") {
  const cards = Array.from({ length: count }, () =>
    element("li", { class: "card" }, element("span", { class: "tile pale" }), element("span", { class: "line pale" })),
  );
  const list = element("ul", name === "grid" ? { class: "grid" } : {}, ...cards);
  return name === "grid" ? list : element("div", { class: "strip" }, list);
}

const unseen = (words) => element("span", { class: "unseen" }, words);
const shortened = (score) => (Number.isFinite(score) ? score.toPrecision(3) : "");

function placeholder(entry) {
  const letter = [...titleOf(entry).trim()][0] ?? "";
  return element("span", { class: "no-picture", "aria-hidden": "true" }, letter.toUpperCase());
}

/** All tiles get the shape that most pictures have; a picture of quite another shape is shown whole, with a margin. */
function measure(image) {
  if (!image.naturalWidth) return;
  if (ratios.push(image.naturalWidth / image.naturalHeight) === ENOUGH) {
    const middle = [...ratios].sort((a, b) => a - b)[ENOUGH >> 1];
    setShape(Object.keys(SHAPES).reduce((best, name) => (away(SHAPES[name], middle) < away(SHAPES[best], middle) ? name : best)));
  }
  fit(image);
}

function setShape(name) {
  document.documentElement.dataset.shape = name;
  document.querySelectorAll(".tile img").forEach(fit);
  try {
    sessionStorage.setItem("shape", name);
  } catch {
    // a browser that keeps nothing measures again
  }
}

function fit(image) {
  const wanted = SHAPES[document.documentElement.dataset.shape] ?? 1;
  const own = image.naturalWidth / image.naturalHeight;
  image.classList.toggle("whole", away(own, wanted) > Math.log(FITS));
}

const away = (a, b) => Math.abs(Math.log(a / b));

try {
  const known = sessionStorage.getItem("shape");
  if (known in SHAPES) document.documentElement.dataset.shape = known;
} catch {
  // as above
}
