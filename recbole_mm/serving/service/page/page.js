// The page: its address says what is shown, so that back, forward and links work.

import { chooser, itemOption } from "./chooser.js";
import { address, card, element, grid, strip, tile, titleOf, waiting } from "./items.js";
import * as service from "./service.js";

const STEP = 24;
const MOST = 240;
const LATEST = 100; // items of a history
const LISTED = 100; // items that the service finds by title
const PATIENCE = 200; // milliseconds in which what is there stays, before it gives way to empty tiles
const BY = { model: "By the model", image: "By picture", text: "By text" };
const view = document.getElementById("view");
const status = document.getElementById("status");
let current = new AbortController();
let later = 0;
const run = service.facts().catch(() => ({})); // what is served
let picture = null; // the File that was searched by, and its address for an <img>

const field = chooser(document.getElementById("chooser"), {
  user: {
    label: "User",
    hint: "Type a user’s name",
    find: async (words, signal) => (await service.users(words, 8, signal)).users.map((name) => ({ value: name, title: name })),
    choose: (name) => go({ user: name }),
  },
  like: {
    label: "Item",
    hint: "Type an item’s title",
    find: async (words, signal) => (await service.items(words, 8, signal)).items.map(itemOption),
    choose: (name) => go({ like: [...new Set([...asked().getAll("like"), name])] }),
  },
  text: { label: "Search", hint: "Type some words", find: null, submit: (words) => go({ text: words }) },
});

const asked = () => new URLSearchParams(location.search);

const VIEWS = {
  async user(name, k, signal) {
    field.show("user", name);
    const head = heading("User", name);
    drawLater(head, section("History", waiting(8, "strip")), section("Recommended", waiting(12)));
    const [known, best] = await Promise.all([service.user(name, LATEST, signal), service.recommended(name, k, signal)]);
    const past = [...known.history].reverse();
    const label = `${past.length < LATEST ? "" : "the latest "}${counted(past.length, "item")}, the newest first`;
    draw(
      head,
      section("History", past.length ? strip("History", past.map((entry) => card(entry))) : empty("This user has no items."), label),
      ranking("Recommended", best.items, k, "Nothing is left to recommend: this user has everything."),
    );
    return `${counted(best.items.length, "recommendation")} for user ${name}`;
  },

  async like(_, k, signal) {
    const names = asked().getAll("like");
    field.show("like");
    const head = heading("Recommendations for", counted(names.length, "item"));
    drawLater(head, section("Chosen", waiting(names.length, "strip")), section("Recommended", waiting(12)));
    const [chosen, best] = await Promise.all([
      Promise.all(names.map((name) => service.item(name, signal))),
      service.recommendedFor(names, k, signal),
    ]);
    const without = (name) => names.filter((other) => other !== name);
    const remove = (entry) => corner("×", `Remove ${titleOf(entry)}`, () => go(without(entry.item).length ? { like: without(entry.item) } : {}));
    const add = (entry) => corner("+", `Add ${titleOf(entry)} to the chosen items`, () => go({ like: [...names, entry.item] }));
    draw(
      head,
      section("Chosen", strip("Chosen items", chosen.map((entry) => card(entry, remove(entry)))), "as if somebody had these"),
      ranking("Recommended", best.items, k, "Nothing is left to recommend.", add),
    );
    return `${counted(best.items.length, "recommendation")} for ${counted(names.length, "item")}`;
  },

  async item(name, k, signal) {
    field.show();
    const by = asked().get("by") ?? "model";
    drawLater(hero({ item: name, title: "", picture: false }, "pale"), section("Similar items", waiting(12)));
    const [entry, best] = await Promise.all([service.item(name, signal), service.similar(name, by, k, signal).catch(kept)]);
    const ways = ["model", ...entry.modalities].map((way) =>
      element("a", { href: address({ item: name, ...(way === "model" ? {} : { by: way }) }), "aria-current": way === by ? "true" : null }, BY[way] ?? `By ${way}`),
    );
    const tabs = element("nav", { class: "tabs", "aria-label": "Similar by" }, ...ways);
    const found = best instanceof Error ? section("Similar items", empty(best.message)) : ranking("Similar items", best.items, k, "No item is similar.");
    found.firstElementChild.append(tabs);
    draw(hero(entry), found);
    document.title = `${titleOf(entry)} · Recommendations`;
    return `Items similar to ${titleOf(entry)}`;
  },

  async text(words, k, signal) {
    field.show("text", words);
    const head = heading("Search", `“${words}”`);
    drawLater(head, section("Found", waiting(12)));
    const { encoder = true } = await run;
    const best = encoder ? await service.byText(words, k, signal) : await service.items(words, Math.min(k, LISTED), signal);
    draw(head, ranking("Found", best.items, k, encoder ? "Nothing fits these words." : "No title has these words."));
    return `${counted(best.items.length, "item")} for ${words}`;
  },

  async picture(_, k, signal) {
    field.show("text");
    const head = heading("Search", "by a picture");
    if (!picture) {
      draw(head, empty("A picture is not kept when a page is loaded again. Choose it again, or drop it here."));
      return "No picture";
    }
    const shown = element("span", { class: "tile query" }, element("img", { src: picture.address, alt: "the picture that is searched by", class: "whole" }));
    drawLater(head, shown, section("Found", waiting(12)));
    const best = await service.byPicture(picture.file, k, signal);
    draw(head, shown, ranking("Found", best.items, k, "Nothing looks like this picture."));
    return `${counted(best.items.length, "item")} for the picture`;
  },

  async home(_, k, signal) {
    field.show("user");
    const head = heading("", "What does the model recommend?");
    head.append(element("p", { class: "lead" }, "Choose a user to see what they have and what comes next, choose a few items as if somebody had them, or search by words or a picture."));
    drawLater(head, section("Some items", waiting(12)));
    const [people, things] = await Promise.all([service.users("", 12, signal), service.items("", k, signal)]);
    const names = people.users.map((name) => element("li", {}, element("a", { class: "chip", href: address({ user: name }) }, name)));
    draw(
      head,
      section("Some users", names.length ? element("ul", { class: "chips" }, ...names) : empty("There are no users.")),
      section("Some items", things.items.length ? grid(things.items.map((entry) => card(entry))) : empty("The catalogue is empty.")),
    );
    return "Ready";
  },
};

function heading(kind, name) {
  document.title = `${name} · Recommendations`;
  return element("header", { class: "heading" }, kind ? element("p", { class: "kind" }, kind) : null, element("h1", { tabindex: "-1", dir: "auto" }, name));
}

function section(name, content, note = "") {
  const head = element("div", { class: "section-head" }, element("h2", {}, name), note ? element("p", { class: "note" }, note) : null);
  return element("section", { "aria-label": name }, head, content);
}

function ranking(name, entries, k, nothing, aside = () => null) {
  if (!entries.length) return section(name, empty(nothing));
  const made = section(name, grid(entries.map((entry) => card(entry, aside(entry)))));
  if (entries.length >= k && k < MOST) {
    const more = element("button", { class: "button more", type: "button" }, "Show more");
    more.addEventListener("click", () => {
      const next = asked();
      next.set("k", Math.min(k + STEP, MOST));
      history.replaceState({ ...history.state, y: scrollY }, "", `?${next}`);
      show(scrollY);
    });
    made.append(more);
  }
  return made;
}

function hero(entry, look = "") {
  const start = element("a", { class: "button", href: address({ like: entry.item }) }, "Recommend for this item");
  const words = element("div", { class: "hero-words" }, element("p", { class: "kind" }, entry.title ? entry.item : "Item"), element("h1", { tabindex: "-1", dir: "auto" }, titleOf(entry)), start);
  const box = tile(entry, true);
  if (look) box.classList.add(look);
  return element("header", { class: "hero" }, box, words);
}

function corner(sign, label, act) {
  const made = element("button", { class: "corner", type: "button", "aria-label": label, title: label }, sign);
  made.addEventListener("click", act);
  return made;
}

const empty = (line) => element("p", { class: "message" }, line);
const counted = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;

function draw(...parts) {
  clearTimeout(later);
  view.replaceChildren(...parts);
}

/** Draws what stands for an answer, unless that is drawn soon. */
function drawLater(...parts) {
  clearTimeout(later);
  later = setTimeout(() => view.replaceChildren(...parts), PATIENCE);
}

/** A refusal as a value, where the rest of the page should stand; an aborted request stays an error. */
function kept(error) {
  if (error instanceof service.Refused) return error;
  throw error;
}

function failed(error) {
  const again = element("button", { class: "button", type: "button" }, "Try again");
  again.addEventListener("click", () => show());
  const line = error instanceof service.Refused ? error.message : "The page has failed. The browser’s console says where.";
  if (!(error instanceof service.Refused)) console.error(error);
  draw(heading("", "That did not work"), element("div", { class: "message wrong", role: "alert" }, element("p", {}, line), again));
}

/** Shows what the address says. */
async function show(y = 0, focus = false) {
  current.abort();
  current = new AbortController();
  const { signal } = current;
  const parameters = asked();
  const name = Object.keys(VIEWS).find((key) => parameters.has(key)) ?? "home";
  const k = Math.min(Math.max(Number.parseInt(parameters.get("k"), 10) || STEP, 1), MOST);
  view.setAttribute("aria-busy", "true");
  status.textContent = "Loading";
  try {
    const said = await VIEWS[name](parameters.get(name), k, signal);
    if (signal.aborted) return;
    status.textContent = said;
  } catch (error) {
    if (signal.aborted) return;
    status.textContent = "";
    failed(error);
  }
  view.removeAttribute("aria-busy");
  scrollTo(0, y);
  if (focus) view.querySelector("h1")?.focus({ preventScroll: true });
}

function go(parameters) {
  history.replaceState({ ...history.state, y: scrollY }, "");
  history.pushState({}, "", address(parameters));
  show(0, true);
}

function searchBy(file) {
  if (!file) return;
  if (picture) URL.revokeObjectURL(picture.address);
  picture = { file, address: URL.createObjectURL(file) };
  go({ picture: file.name || "picture" });
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='?']");
  if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  history.replaceState({ ...history.state, y: scrollY }, "");
  history.pushState({}, "", link.getAttribute("href"));
  show(0, true);
});

document.getElementById("random").addEventListener("click", async () => {
  try {
    const { users } = await service.randomUser();
    if (users.length) go({ user: users[0] });
  } catch (error) {
    failed(error);
  }
});

const input = document.getElementById("picture");
input.addEventListener("change", () => {
  searchBy(input.files[0]);
  input.value = "";
});

const drop = document.getElementById("drop");
const hasFile = (event) => input.isConnected && [...(event.dataTransfer?.types ?? [])].includes("Files");
document.addEventListener("dragover", (event) => {
  if (!hasFile(event)) return;
  event.preventDefault();
  drop.hidden = false;
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) drop.hidden = true;
});
document.addEventListener("drop", (event) => {
  drop.hidden = true;
  if (!hasFile(event)) return;
  event.preventDefault();
  searchBy(event.dataTransfer.files[0]);
});

history.scrollRestoration = "manual";
addEventListener("popstate", (event) => show(event.state?.y ?? 0, true));
show();
run.then(({ model, dataset, users, items, encoder = true }) => {
  const said = [model, dataset, users && counted(users, "user"), items && counted(items, "item")];
  document.getElementById("facts").textContent = said.filter(Boolean).join(" · ");
  if (!encoder) input.parentElement.remove(); // without one, no picture can be read
});
