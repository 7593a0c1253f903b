// Keeps an open page up to date. The page is whole without this file.
//
// It asks the JSON of the API for a change every few seconds, which the server answers
// with 304 and no body while there is none. Only after a change it fetches the page
// again and exchanges the parts that differ. Nothing is held open, and a page that
// nobody looks at asks for nothing.
"use strict";

const BUSY_MS = 3000;
const IDLE_MS = 15000;
const LONGEST_MS = 120000;
const main = document.querySelector("[data-poll]");
const liveness = document.querySelector("[data-liveness]");

// The same words as words.py: relative() and duration().
function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  for (const [length, name] of [[86400, "day"], [3600, "h"], [60, "min"], [1, "s"]]) {
    if (whole >= length) {
      const number = Math.floor(whole / length);
      return `${number} ${name}${name === "day" && number > 1 ? "s" : ""}`;
    }
  }
  return "0 s";
}

function relative(moment, now) {
  if (moment > now + 1) return `in ${duration(moment - now + 0.5)}`;
  return now - moment < 5 ? "just now" : `${duration(now - moment)} ago`;
}

function tell(root) {
  for (const element of root.querySelectorAll("time[data-relative]")) {
    const words = relative(Date.parse(element.dateTime) / 1000, Date.now() / 1000);
    if (element.textContent !== words) element.textContent = words;
  }
  for (const element of root.querySelectorAll("time[data-lasting]")) {
    const words = duration((Date.now() - Date.parse(element.dateTime)) / 1000);
    if (element.textContent !== words) element.textContent = words;
  }
}

function offerCopying(root) {
  for (const button of root.querySelectorAll("[data-copy]")) {
    // The clipboard is there on https and on this machine only.
    button.hidden = !navigator.clipboard;
  }
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  await navigator.clipboard.writeText(source.textContent);
  const label = button.querySelector("span");
  label.textContent = "Copied";
  setTimeout(() => { label.textContent = "Copy"; }, 1500);
});

function parts(root) {
  return [...root.querySelectorAll("[data-part]")].map((part) => part.dataset.part).join();
}

function exchange(fresh) {
  if (parts(fresh) !== parts(document)) {
    // It has become another page: the first of a list, an image that has come to be known.
    location.reload();
    return;
  }
  for (const part of document.querySelectorAll("[data-part]")) {
    const other = fresh.querySelector(`[data-part="${part.dataset.part}"]`);
    tell(other);
    offerCopying(other);
    if (part.innerHTML === other.innerHTML && part.className === other.className) continue;
    // Whoever is at a link by keyboard stays at it.
    const focused = part.contains(document.activeElement) && document.activeElement;
    const href = focused && focused.getAttribute("href");
    part.className = other.className;
    part.replaceChildren(...other.childNodes);
    if (href) {
      const again = [...part.querySelectorAll("a")].find((a) => a.getAttribute("href") === href);
      if (again) again.focus();
    }
  }
  document.title = fresh.title;
}

let seen = null;
let failures = 0;

async function look() {
  let busy = document.querySelector("progress") !== null;
  try {
    const answer = await fetch(main.dataset.poll, { cache: "no-cache" });
    const tag = answer.headers.get("ETag");
    if (!answer.ok && answer.status !== 404) throw new Error(answer.statusText);
    if (tag === null || tag !== seen) {
      // The page is older than this answer, so the first one counts as a change too.
      const page = await fetch(location.href, { cache: "no-store" });
      if (!page.ok && page.status !== 404) throw new Error(page.statusText);
      exchange(new DOMParser().parseFromString(await page.text(), "text/html"));
      seen = tag;
      busy = document.querySelector("progress") !== null;
    }
    failures = 0;
    if (liveness) liveness.textContent = "Up to date by itself";
  } catch {
    failures += 1;
    if (liveness) liveness.textContent = "The server does not answer; trying again";
  }
  const wait = (busy ? BUSY_MS : IDLE_MS) * 2 ** Math.min(failures, 5);
  setTimeout(next, Math.min(wait, LONGEST_MS));
}

function next() {
  if (!document.hidden) look();
  else document.addEventListener("visibilitychange", next, { once: true });
}

tell(document);
offerCopying(document);
setInterval(() => tell(document), 1000);
if (main) {
  if (liveness) liveness.textContent = "Up to date by itself";
  setTimeout(next, BUSY_MS);
}
