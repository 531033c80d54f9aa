// SPDX-License-Identifier: Apache-2.0
// Every page can be read without this file; it only spares reloading, sorting and copying by hand.
"use strict";

for (const job of document.querySelectorAll("[data-job]")) {
  const log = document.getElementById("log");
  let seen = 0;
  let wait = 1000;
  const look = async () => {
    try {
      const answer = await fetch(`${job.dataset.job}?after=${seen}`, { cache: "no-store" });
      if (!answer.ok) throw new Error(String(answer.status));
      const state = await answer.json();
      job.querySelector("[data-state]").textContent = state.word;
      job.querySelector("[data-stage]").textContent = state.stage;
      job.querySelector("[data-progress]").value = state.percent;
      if (log && state.lines.length) {
        if (seen === 0) log.textContent = "";
        const follow = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
        log.append(state.lines.map((line) => `${line}\n`).join(""));
        if (follow) log.scrollTop = log.scrollHeight;
      }
      seen = state.last;
      wait = 1000;
      if (!state.live) {
        location.reload();
        return;
      }
    } catch {
      wait = Math.min(wait * 2, 15000);
    }
    setTimeout(look, wait);
  };
  setTimeout(look, wait);
}

for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  const words = button.textContent;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = `${words} ✓`;
    setTimeout(() => { button.textContent = words; }, 2000);
  });
}

for (const table of document.querySelectorAll("table[data-sortable]")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = (row) => {
        const cell = row.cells[column];
        const text = cell.dataset.value ?? cell.textContent.trim();
        const value = Number.parseFloat(text.replace("\u2212", "-"));
        return Number.isNaN(value) ? text : value;
      };
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        const order = typeof x === "number" && typeof y === "number"
          ? x - y : String(x).localeCompare(String(y));
        return up ? order : -order;
      });
      table.tBodies[0].append(...rows);
    });
  });
}

// A one-time secret stands behind the address's "#", so that no server's log ever holds it.
for (const field of document.querySelectorAll("[data-from-address]")) {
  const secret = decodeURIComponent(location.hash.slice(1));
  if (!secret) continue;
  field.value = secret;
  history.replaceState(null, "", location.pathname);
}

// On a narrow screen the filters would push what they filter out of sight.
if (matchMedia("(max-width: 61.99rem)").matches) {
  for (const filters of document.querySelectorAll("details.facets")) filters.open = false;
}

for (const menu of document.querySelectorAll("details.menu")) {
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
  document.addEventListener("click", (event) => {
    if (!menu.contains(event.target)) menu.open = false;
  });
  menu.addEventListener("focusout", (event) => {
    if (event.relatedTarget && !menu.contains(event.relatedTarget)) menu.open = false;
  });
}
