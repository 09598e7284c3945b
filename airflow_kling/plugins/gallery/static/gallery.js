"use strict";

const byId = (id) => document.getElementById(id);
// Screen readers read this out.
const announce = (text) => {
  byId("announcement").textContent = text;
};

// Shows times in the time zone of the browser.
const localTimes = (root) => {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    if (Number.isNaN(moment.getTime())) continue;
    time.title = time.textContent;
    const parts = { month: "short", day: "numeric", hour: "numeric", minute: "2-digit" };
    if (moment.getFullYear() !== new Date().getFullYear()) parts.year = "numeric";
    time.textContent = moment.toLocaleString(undefined, parts);
  }
};

// Replaces an image that cannot be loaded by a text, and then by the reason that the gallery gives.
const unavailable = async (image) => {
  const frame = image.closest(".thumb, .references a");
  if (!frame) return;
  if (frame.classList.contains("video")) {
    // The poster alone is missing: the video may play.
    image.remove();
    frame.classList.add("plain");
    return;
  }
  const address = image.currentSrc || image.src;
  frame.classList.add("missing");
  frame.replaceChildren(frame.classList.contains("thumb") ? "Not available" : "?");
  try {
    const answer = await fetch(address, { headers: { Accept: "application/json" } });
    if (answer.ok) return;
    frame.title = (await answer.json()).detail;
    if (frame.classList.contains("thumb")) frame.replaceChildren(`Not shown: ${frame.title}`);
  } catch {
    // the server does not answer
  }
};
const watchImages = (root) => {
  for (const image of root.querySelectorAll(".card img")) {
    if (image.complete && image.naturalWidth === 0 && image.currentSrc) unavailable(image);
  }
};

// Airflow shows this page in a sandboxed frame that may not open or leave windows, nor download before Airflow 3.3; a
// link of the outer page may.
const framed = window.parent !== window;
const followOutside = (link, event) => {
  if (!framed) return;
  let outer;
  try {
    outer = window.parent.document;
  } catch {
    return; // a page of another origin shows the frame: follow the link within it
  }
  event.preventDefault();
  const twin = outer.createElement("a");
  twin.href = link.href;
  twin.rel = "noopener noreferrer";
  if (link.hasAttribute("download")) twin.download = "";
  const inNewTab = link.hasAttribute("data-leave") || event.ctrlKey || event.metaKey || event.shiftKey;
  if (inNewTab) twin.target = "_blank";
  outer.body.append(twin);
  twin.click();
  twin.remove();
};

const copy = async (text) => {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Over plain http there is no clipboard object.
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "unseen";
    (byId("viewer").open ? byId("viewer") : document.body).append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
};
const copyFrom = async (button) => {
  await copy(button.dataset.copy);
  const label = button.textContent;
  button.textContent = "Copied";
  announce("Copied");
  setTimeout(() => {
    button.textContent = label;
  }, 1500);
};

// The viewer shows one picture large, or plays one video, and goes to the one before or after it.
const viewer = byId("viewer");
let shown = null;
const views = () => [...document.querySelectorAll("a[data-view]:not(.missing)")];
const show = (link) => {
  const image = byId("viewer-image");
  const video = byId("viewer-video");
  stop(video);
  image.hidden = "video" in link.dataset;
  video.hidden = !image.hidden;
  if (image.hidden) {
    image.removeAttribute("src");
    // It loads and plays when somebody says so; until then there is its poster.
    if (link.dataset.video) video.poster = link.dataset.video;
    video.setAttribute("aria-label", link.getAttribute("aria-label"));
    video.src = link.href;
  } else {
    image.src = link.href;
    image.alt = link.querySelector("img")?.alt ?? "";
  }
};
const stop = (video) => {
  byId("viewer-problem").hidden = true;
  video.pause();
  video.removeAttribute("poster");
  video.removeAttribute("src");
  video.load(); // ends the download
};
const view = (link) => {
  const all = views();
  const position = all.indexOf(link);
  shown = link;
  show(link);
  byId("viewer-text").textContent = link.dataset.text ?? "";
  byId("viewer-position").textContent = `${position + 1} of ${all.length}`;
  byId("viewer-original").hidden = !link.dataset.original;
  if (link.dataset.original) byId("viewer-original").href = link.dataset.original;
  byId("viewer-copy").dataset.copy = link.dataset.uri ?? "";
  byId("viewer-previous").disabled = position <= 0;
  byId("viewer-next").disabled = position >= all.length - 1;
  if (!viewer.open) viewer.showModal();
  // Not the player, which Chromium focuses even while it is hidden: arrows would go to and fro in it, not to the next one.
  viewer.focus();
};
const step = (by) => {
  const all = views();
  const next = all[all.indexOf(shown) + by];
  if (next) view(next);
};
viewer.addEventListener("close", () => {
  byId("viewer-image").removeAttribute("src");
  stop(byId("viewer-video"));
  shown?.focus();
});
viewer.addEventListener("click", (event) => {
  if (event.target === viewer) viewer.close();
});
// Says why a video does not play, as the gallery answers to a request for one byte of it.
byId("viewer-video").addEventListener("error", async () => {
  const video = byId("viewer-video");
  const address = video.src;
  if (!address) return;
  let reason = "This browser cannot play it.";
  try {
    const answer = await fetch(address, { headers: { Accept: "application/json", Range: "bytes=0-0" } });
    if (!answer.ok) reason = (await answer.json()).detail;
  } catch {
    reason = "The server does not answer.";
  }
  if (video.src !== address) return;
  byId("viewer-problem").textContent = `Not shown: ${reason}`;
  byId("viewer-problem").hidden = false;
});
byId("viewer-close").addEventListener("click", () => viewer.close());
byId("viewer-previous").addEventListener("click", () => step(-1));
byId("viewer-next").addEventListener("click", () => step(1));

document.addEventListener("click", (event) => {
  const target = event.target.closest("[data-view], [data-airflow], [data-leave], [data-copy]");
  if (!target) return;
  if (target.matches("[data-copy]")) copyFrom(target);
  else if (target.matches("[data-airflow], [data-leave]")) followOutside(target, event);
  else if (!target.classList.contains("missing") && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    view(target);
  }
});

const playOrPause = (video) => {
  if (video.paused) video.play().catch(() => {}); // the error event says why
  else video.pause();
};

// Arrow keys move the focus from image to image: along the page, or to the nearest one above or below.
const nearest = (from, down) => {
  const here = from.getBoundingClientRect();
  let best = null;
  for (const link of views()) {
    const there = link.getBoundingClientRect();
    const distance = down ? there.top - here.bottom : here.top - there.bottom;
    if (distance < -4) continue;
    const score = distance + Math.abs(there.left + there.width / 2 - here.left - here.width / 2) * 2;
    if (!best || score < best.score) best = { link, score };
  }
  return best?.link;
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
  if (viewer.open) {
    if (event.target.matches("video")) return; // the player has keys of its own
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
    if (event.key === " " && !event.target.matches("a, button") && !byId("viewer-video").hidden) {
      event.preventDefault();
      playOrPause(byId("viewer-video"));
    }
    return;
  }
  if (event.key === "/") {
    event.preventDefault();
    document.querySelector("input[name=q]").focus();
    return;
  }
  if (!event.key.startsWith("Arrow")) return;
  const here = document.activeElement.closest?.("a[data-view]");
  const all = views();
  const moves = {
    ArrowLeft: () => all[all.indexOf(here) - 1],
    ArrowRight: () => all[all.indexOf(here) + 1],
    ArrowUp: () => nearest(here, false),
    ArrowDown: () => nearest(here, true),
  };
  const next = here ? moves[event.key]?.() : event.key === "ArrowRight" ? all[0] : null;
  if (next) {
    event.preventDefault();
    next.focus();
  }
});

// An empty field filters nothing: leave it out of the address.
document.querySelector("form.filters").addEventListener("formdata", (event) => {
  for (const [name, value] of [...event.formData]) if (!value) event.formData.delete(name);
});

// Asks for the states of unfinished generations: less and less often, and not while the page is hidden. The page itself is
// fetched only when a state has changed.
const SHORTEST_PAUSE = 5000; // milliseconds
const LONGEST_PAUSE = 60000;
let pause = SHORTEST_PAUSE;
const refresh = async () => {
  const open = [...document.querySelectorAll(".card[data-open]")];
  if (!open.length) return;
  if (!document.hidden && !viewer.open) {
    try {
      const query = new URLSearchParams(open.map((card) => ["id", card.dataset.kling]));
      const answer = await fetch(`states?${query}`, { headers: { Accept: "application/json" } });
      if (answer.status === 401 || answer.status === 403) return;
      const states = answer.ok ? await answer.json() : {};
      const now = (card) => states[card.dataset.generation];
      const changed = open.filter((card) => now(card) && now(card) !== card.dataset.state);
      pause = changed.length ? SHORTEST_PAUSE : Math.min(pause * 1.5, LONGEST_PAUSE);
      if (changed.length) await replaceCards(changed, states);
    } catch {
      pause = LONGEST_PAUSE; // the server does not answer
    }
  }
  setTimeout(refresh, pause);
};
const MAX_SINGLE = 10; // cards that are fetched one by one, each time
const fetchPage = async (address) => {
  const answer = await fetch(address, { headers: { Accept: "text/html" } });
  if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
  return new DOMParser().parseFromString(await answer.text(), "text/html");
};
// A Kling task id alone is no name: two DAGs can have a card of the same one.
const cardIn = (page, card) => page.querySelector(`.card[data-generation="${CSS.escape(card.dataset.generation)}"]`);
const replaceCards = async (cards, states) => {
  const page = await fetchPage(location.href);
  // An archive is newer than its request, so its card may be on another page now, or outside of these dates.
  let single = 0;
  for (const card of cards) {
    let now = cardIn(page, card);
    if (!now) {
      single += 1;
      if (single > MAX_SINGLE) continue; // next time
      now = cardIn(await fetchPage(`gallery?${new URLSearchParams({ kling_task_id: card.dataset.kling })}`), card);
    }
    if (now) replaceCard(card, document.importNode(now, true));
    else setState(card, states[card.dataset.generation]);
  }
  const totals = page.querySelector(".totals");
  if (totals) document.querySelector(".totals").replaceWith(document.importNode(totals, true));
};
const replaceCard = (card, fresh) => {
  card.replaceWith(fresh);
  localTimes(fresh);
  if (fresh.dataset.state === "archived") announce("Results have arrived");
};
// The card is on no page that these filters allow: it keeps its content and gets the new state.
const setState = (card, state) => {
  card.dataset.state = state;
  delete card.dataset.open;
};

document.addEventListener(
  "error",
  (event) => {
    if (event.target instanceof HTMLImageElement) unavailable(event.target);
  },
  true,
);
localTimes(document);
watchImages(document);
setTimeout(refresh, SHORTEST_PAUSE);
