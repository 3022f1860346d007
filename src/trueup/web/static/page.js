// What the pages do beyond forms and links. Everything essential works without it.

import { watch } from "./run.js";

const FADE_MS = 5000;

/** Messages of success go by themselves; all others stay. */
function fade(root) {
  for (const note of root.querySelectorAll(".note.fades:not([data-fading])")) {
    note.dataset.fading = "";
    setTimeout(() => {
      note.classList.add("gone");
      setTimeout(() => note.remove(), 500);
    }, FADE_MS);
  }
}

/** A form is sent once: its buttons rest until the next page is there. */
function once(event) {
  const form = event.target;
  if (form.method !== "post" || form.dataset.sent) return;
  form.dataset.sent = "yes";
  setTimeout(() => {
    for (const button of form.querySelectorAll("button")) button.disabled = true;
  });
}

/** Ticks are kept on the server as they are made, and the count follows. */
let sending = null;
async function ticked(box) {
  const form = box.form;
  const fields = new URLSearchParams(new FormData(form));
  sending?.abort();
  sending = new AbortController();
  const headers = { "HX-Request": "true" };
  try {
    const answer = await fetch(form.action, { method: "post", body: fields, headers, signal: sending.signal });
    if (!answer.ok) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.querySelector("#approve").replaceWith(page.querySelector("#approve"));
  } catch (error) {
    if (error.name === "AbortError") return;
    document.querySelector("#approve [role=status]").textContent = "The selection could not be kept. Is the server there?";
  }
}

/** Shift and a click tick all lines from the last one. */
let last = null;
function range(event) {
  const box = event.target;
  if (!(box instanceof HTMLInputElement) || box.name !== "n") return;
  const boxes = [...box.form.querySelectorAll("input[name=n]")];
  const from = boxes.indexOf(last);
  if (event.shiftKey && from >= 0) {
    const to = boxes.indexOf(box);
    for (const one of boxes.slice(Math.min(from, to), Math.max(from, to) + 1)) one.checked = box.checked;
  }
  last = box;
}

/** What is new on the page: messages, runs. */
export function enliven(root) {
  fade(root);
  for (const section of root.querySelectorAll("[data-run]:not([data-watched])")) watch(section, refreshed);
}

/** After a run: the same page, as it is now, without losing the place; the result gets the focus. */
async function refreshed(run) {
  const address = new URL(location.href);
  address.searchParams.set("told", run);
  const answer = await fetch(address);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.querySelector("main");
  document.querySelector("main").replaceWith(fresh);
  document.title = page.title;
  history.replaceState(null, "", answer.url);
  globalThis.htmx?.process(fresh);
  enliven(fresh);
  (fresh.querySelector("[data-result]") ?? fresh).focus({ preventScroll: true });
}

document.addEventListener("submit", once);
document.addEventListener("click", range);
document.addEventListener("change", (event) => {
  if (event.target instanceof HTMLInputElement && event.target.name === "n") ticked(event.target);
});
document.addEventListener("htmx:afterSwap", (event) => enliven(event.target));
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload(); // its buttons rest, and it is of another moment
});
enliven(document);
