// Puts what the agent sends in place of what is shown, and keeps ages young. Without it the page is the same, and reloads.
"use strict";
(() => {
  const main = document.getElementById("main");
  const said = document.getElementById("said");
  const icon = document.querySelector("link[rel=icon]");
  // The server's clock counts: ages are its.
  let ahead = 0;

  const age = (seconds) => {
    if (seconds <= 0) return "now";
    if (seconds < 60) return `${seconds} s ago`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
    if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ago`;
    return `${Math.floor(seconds / 86400)} d ago`;
  };

  const grow = () => {
    const now = Math.floor((Date.now() + ahead) / 1000);
    for (const time of main.querySelectorAll("time")) {
      const text = age(now - Math.floor(Date.parse(time.dateTime) / 1000));
      if (time.textContent !== text) time.textContent = text;
    }
  };

  const show = (html) => {
    const folded = new Map();
    for (const one of main.querySelectorAll("details[id]")) folded.set(one.id, one.open);
    const focused = document.activeElement && main.contains(document.activeElement) && document.activeElement.id;
    main.innerHTML = html;
    for (const one of main.querySelectorAll("details[id]")) {
      if (folded.has(one.id)) one.open = folded.get(one.id);
    }
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
    const top = main.querySelector("header");
    document.title = top.dataset.title;
    if (icon.getAttribute("href") !== top.dataset.icon) icon.setAttribute("href", top.dataset.icon);
    const headline = document.getElementById("headline").textContent;
    // Read out only when it changes.
    if (said.textContent !== headline) said.textContent = headline;
  };

  let source, lost;
  const listen = () => {
    source = new EventSource("/live");
    source.addEventListener("now", (event) => {
      ahead = Number(event.data) - Date.now();
    });
    source.addEventListener("page", (event) => {
      clearTimeout(lost);
      document.body.dataset.live = "yes";
      show(event.data);
      grow();
    });
    source.addEventListener("error", () => {
      // A stream ends now and then, and the next one begins at once: that is not worth a word.
      clearTimeout(lost);
      lost = setTimeout(() => { document.body.dataset.live = "no"; }, 3000);
      // It comes back by itself, but for an answer that says no.
      if (source.readyState === EventSource.CLOSED) setTimeout(listen, 10000);
    });
  };

  listen();
  setInterval(grow, 1000);
})();
