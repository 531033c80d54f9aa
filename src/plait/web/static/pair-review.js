// SPDX-License-Identifier: Apache-2.0
// Answering pairs from the keyboard: y, n, s and u. Without it the same form is filled in by hand.
"use strict";

for (const form of document.querySelectorAll("form[data-review]")) {
  const pairs = [...form.querySelectorAll(".pair")];
  const keys = form.querySelector(".keys");
  const state = keys.querySelector(".told");
  const history = [];
  let current = 0;
  keys.hidden = false;

  const show = (focus) => {
    pairs.forEach((pair, place) => pair.classList.toggle("current", place === current));
    const given = pairs.filter((pair) => pair.querySelector("input[type=radio]:checked")?.value);
    state.textContent = state.dataset.text.replace("{n}", given.length).replace("{of}", pairs.length);
    if (!focus) return;
    const target = pairs[current] ?? form.querySelector("button.primary");
    target.focus({ preventScroll: true });
    target.scrollIntoView({ block: "center" });
  };
  const answer = (key) => {
    const pair = pairs[current];
    if (!pair) return;
    const box = pair.querySelector(`input[data-key=${key}]`);
    history.push([current, pair.querySelector("input[type=radio]:checked")]);
    box.checked = true;
    current += 1;
    show(true);
  };
  const undo = () => {
    const last = history.pop();
    if (!last) return;
    current = last[0];
    last[1].checked = true;
    show(true);
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("input:not([type=radio]):not([type=checkbox]), textarea, select")) return;
    const key = event.key.toLowerCase();
    if (key === "u") undo();
    else if (key === "y" || key === "n" || key === "s") answer(key);
    else return;
    event.preventDefault();
  });
  form.addEventListener("change", (event) => {
    const place = pairs.indexOf(event.target.closest(".pair"));
    if (place >= 0) current = place + 1;
    show(false);
  });
  form.addEventListener("focusin", (event) => {
    const place = pairs.indexOf(event.target.closest(".pair"));
    if (place >= 0 && place !== current) { current = place; show(false); }
  });
  show(false);
}
