// Keeps the page live: replaces its changing part with what the server sends, and leaves open what was opened.
"use strict";
const main = document.getElementById("main");
const live = document.getElementById("live");
let seen = 0;
live.textContent = "connecting";

function show(html) {
  seen = Date.now();
  live.textContent = "live";
  live.className = "";
  if (!getSelection().isCollapsed) return; // somebody is about to copy something
  const open = [...main.querySelectorAll("details[open]")].map((each) => each.id);
  const scrolled = [...main.querySelectorAll(".scroll, pre")].map((each) => each.scrollLeft);
  const focused = document.activeElement.closest?.("details")?.id;
  main.innerHTML = html; // everything foreign in it is escaped by the server
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  main.querySelectorAll(".scroll, pre").forEach((each, index) => (each.scrollLeft = scrolled[index] ?? 0));
  if (focused) document.getElementById(focused)?.querySelector("summary").focus({ preventScroll: true });
}

function connect() {
  const events = new EventSource("events");
  events.onmessage = (event) => show(JSON.parse(event.data));
  events.onerror = () => {
    if (events.readyState === EventSource.CLOSED) setTimeout(connect, 5000); // refused: too many watch, or no token
  };
}

setInterval(() => {
  if (Date.now() - seen > 4000) {
    live.textContent = seen ? "not live: no connection" : "connecting";
    live.className = seen ? "stale" : "";
  }
}, 1000);
connect();
