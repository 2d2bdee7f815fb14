// What the page does by itself: times from now, parts that are kept up to date, the chart, copying. Without it all works
// but for these.
"use strict";
(() => {
  const POINTS = 150; // of the chart: five minutes
  const SPANS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const AGAIN = 5000; // ms after which a stream that was refused is asked for again, and up to as many more
  let stream = null;
  let again = 0;
  let skew = 0; // of this clock to the server's, in ms

  const two = (n) => String(n).padStart(2, "0");
  const local = (t) =>
    `${t.getFullYear()}-${two(t.getMonth() + 1)}-${two(t.getDate())} ${two(t.getHours())}:${two(t.getMinutes())}:${two(t.getSeconds())}`;

  function away(t) {
    const seconds = (t - (Date.now() + skew)) / 1000;
    const most = Math.abs(seconds);
    if (most < 1) return "now";
    const [unit, size] = SPANS.find(([, size]) => most >= size);
    const span = `${Math.floor(most / size)} ${unit}`;
    return seconds > 0 ? `in ${span}` : `${span} ago`;
  }

  function writeTimes(root) {
    for (const one of root.querySelectorAll("time[datetime]")) {
      const t = new Date(one.dateTime);
      const text = one.dataset.form === "ago" ? away(t) : local(t);
      if (one.textContent !== text) one.textContent = text;
      const title = `${local(t)} here, ${one.dateTime.slice(0, 19).replace("T", " ")} UTC`;
      if (one.title !== title) one.title = title;
    }
  }

  // Makes `old` like `fresh`, and leaves what is the same: focus, marks and open details stay.
  function morph(old, fresh) {
    if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || old.dataset?.key !== fresh.dataset?.key) {
      old.replaceWith(fresh.cloneNode(true));
      return;
    }
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    if (old.nodeName === "TIME" && old.dateTime === fresh.dateTime) return;
    for (const { name } of [...old.attributes])
      if (!fresh.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(name);
    for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    const before = [...old.childNodes];
    const after = [...fresh.childNodes];
    after.forEach((child, at) => (at < before.length ? morph(before[at], child) : old.append(child.cloneNode(true))));
    before.slice(after.length).forEach((child) => child.remove());
  }

  function say(kind, text) {
    const note = document.getElementById("away");
    if (!note) return;
    note.hidden = !kind;
    if (kind) note.textContent = text;
  }

  function draw(region) {
    const figures = region.querySelector("[data-done]");
    const chart = document.getElementById("chart");
    if (!figures || !chart) return;
    let points = [];
    try {
      points = JSON.parse(sessionStorage.getItem("tocsin-chart") || "[]");
    } catch {
      points = [];
    }
    const now = Date.now();
    points.push([now, Number(figures.dataset.done), Number(figures.dataset.failing)]);
    points = points.filter(([t]) => now - t < POINTS * 2000).slice(-POINTS);
    try {
      sessionStorage.setItem("tocsin-chart", JSON.stringify(points));
    } catch {
      // a browser that keeps nothing
    }
    const most = Math.max(1, ...points.map(([, done, failing]) => Math.max(done, failing)));
    for (const [name, at] of [["done", 1], ["failing", 2]]) {
      const line = points.map((p) => `${600 - (now - p[0]) / (POINTS * 2000) * 600},${100 - p[at] / most * 96}`);
      chart.querySelector(`.${name}`).setAttribute("points", line.join(" "));
    }
    document.getElementById("chart-most").textContent = most >= 10 ? Math.round(most) : most.toFixed(1);
    document.getElementById("chart-done").textContent = figures.dataset.done;
    document.getElementById("chart-failing").textContent = figures.dataset.failing;
  }

  function watch() {
    clearTimeout(again);
    if (stream) stream.close();
    stream = null;
    const region = document.getElementById("live");
    if (!region || !region.dataset.live || document.hidden) return;
    stream = new EventSource(region.dataset.live);
    stream.addEventListener("picture", (event) => {
      const fresh = region.cloneNode(false);
      fresh.innerHTML = event.data;
      const state = (root) => root.querySelector("[data-state]")?.dataset.state;
      if (state(region) !== state(fresh) && !document.querySelector(".actions [open]")) {
        location.reload(); // other things can be done with it now
        return;
      }
      morph(region, fresh);
      writeTimes(region);
      draw(region);
      say("", "");
      region.dataset.pictures = Number(region.dataset.pictures || 0) + 1;
    });
    stream.addEventListener("away", (event) => say("away", `${event.data} What is shown is how it was last.`));
    stream.addEventListener("trouble", (event) => say("away", event.data));
    stream.addEventListener("login", () => location.reload());
    stream.onerror = () => {
      const refused = stream && stream.readyState === EventSource.CLOSED; // browsers ask again where a link broke, alone
      if (refused) again = setTimeout(watch, AGAIN * (1 + Math.random()));
      say("away", `${refused ? "This page is not kept up to date now" : "The server does not answer"}. What is shown is how it was last; it is asked again.`);
    };
  }

  function begin() {
    const now = document.querySelector("meta[name=now]");
    if (now) skew = Number(now.content) - Date.now();
    writeTimes(document);
    document.querySelector(".nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
    const region = document.getElementById("live");
    if (region) draw(region);
    watch();
  }

  document.addEventListener("DOMContentLoaded", begin);
  document.addEventListener("htmx:afterSettle", begin);
  // A page that nobody looks at asks for nothing.
  document.addEventListener("visibilitychange", watch);
  addEventListener("pagehide", () => stream && stream.close());
  setInterval(() => document.hidden || writeTimes(document), 1000);

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button.copy");
    if (!button) return;
    event.preventDefault();
    try {
      await navigator.clipboard.writeText(button.parentElement.querySelector("pre").textContent);
      button.textContent = "copied";
    } catch {
      getSelection().selectAllChildren(button.parentElement.querySelector("pre"));
      button.textContent = "marked";
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    const search = document.querySelector("[data-search]");
    if (search) {
      event.preventDefault();
      search.focus();
    }
  });
  // The last picture stays where the server does not answer.
  document.addEventListener("htmx:sendError", () => say("away", "The server does not answer. Try again."));
})();
