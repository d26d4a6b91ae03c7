// The field at the top: it finds users or items while one types, and takes words to search by.

import { element, titleOf } from "./items.js";
import { pictureOf } from "./service.js";

const WAIT = 120; // milliseconds after a key

/**
 * @param form the form around the field.
 * @param modes by name: {label, hint, find(words, signal) -> [{value, title, note, picture}] or null, choose(value), submit(words)}.
 * @returns {show(mode, words)}, which sets the field and does nothing else; without a mode it keeps its own.
 */
export function chooser(form, modes) {
  const input = form.querySelector("#words");
  const list = form.querySelector("#found");
  const label = form.querySelector("#words-label");
  let found = [];
  let active = -1;
  let timer = 0;
  let asked = new AbortController();

  const mode = () => modes[form.elements.mode.value];

  function close() {
    asked.abort();
    clearTimeout(timer);
    found = [];
    active = -1;
    list.hidden = true;
    list.replaceChildren();
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function mark(place) {
    active = place;
    [...list.children].forEach((option, at) => option.setAttribute("aria-selected", String(at === place)));
    if (place < 0) return input.removeAttribute("aria-activedescendant");
    input.setAttribute("aria-activedescendant", list.children[place].id);
    list.children[place].scrollIntoView({ block: "nearest" });
  }

  function draw(answers, words) {
    found = answers;
    active = -1;
    list.replaceChildren(...answers.map(option));
    if (!answers.length) list.append(element("li", { class: "nothing" }, words ? `Nothing has “${words}” in its name.` : "There is nothing here."));
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
  }

  function option(answer, place) {
    const picture = answer.picture ? element("img", { src: pictureOf(answer.value), alt: "" }) : element("span", { class: "dot" });
    const note = answer.note ? element("small", {}, answer.note) : null;
    const made = element("li", { id: `found-${place}`, role: "option", "aria-selected": "false" }, picture, element("span", {}, answer.title), note);
    made.addEventListener("pointerdown", (event) => event.preventDefault()); // the field keeps the focus
    made.addEventListener("click", () => take(answer));
    return made;
  }

  function take(answer) {
    const chosen = mode();
    close();
    input.value = "";
    chosen.choose(answer.value);
  }

  async function look() {
    const { find } = mode();
    const words = input.value.trim();
    close();
    if (!find) return;
    asked = new AbortController();
    try {
      draw(await find(words, asked.signal), words);
    } catch (error) {
      if (error.name !== "AbortError") draw([], words);
    }
  }

  function later() {
    clearTimeout(timer);
    timer = setTimeout(look, WAIT);
  }

  function show(name = form.elements.mode.value, words = "") {
    const { label: text, hint, find } = modes[name];
    close();
    form.elements.mode.value = name;
    label.textContent = text;
    input.placeholder = hint;
    input.value = words;
    input.setAttribute("aria-autocomplete", find ? "list" : "none");
    for (const own of form.querySelectorAll("[data-mode]")) own.hidden = own.dataset.mode !== name;
  }

  form.addEventListener("change", (event) => {
    if (event.target.name === "mode") {
      show(event.target.value);
      if (event.target.matches(":not(:focus-visible)")) input.focus();
    }
  });
  input.addEventListener("input", later);
  input.addEventListener("focus", () => input.select());
  input.addEventListener("click", () => list.hidden && look());
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    event.preventDefault();
    if (list.hidden) return look();
    if (found.length) mark((active + (event.key === "ArrowDown" ? 1 : active < 0 ? 0 : -1) + found.length) % found.length);
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const words = input.value.trim();
    if (!mode().find) {
      close();
      return words && mode().submit(words);
    }
    if (active >= 0) return take(found[active]);
    if (!words) return look();
    await look();
    if (found.length) take(found[0]);
  });
  return { show };
}

/** How suggestions of items look. */
export const itemOption = (entry) => ({
  value: entry.item,
  title: titleOf(entry),
  note: entry.title ? entry.item : null,
  picture: entry.picture,
});
